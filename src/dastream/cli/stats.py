"""`dastream stats`: how a database is used."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted
from dastream.cli.lakes import open_database, tell_damages, why_nothing
from dastream.cli.queries import cluster_option, names_options, query, time_options, zone
from dastream.cli.show import tell

__all__ = ["command"]

LIMIT = 10


@click.command(
    "stats",
    epilog="""\b
Examples:
  dastream stats /srv/lake --since 7d
  dastream stats s3://my-bucket/activity --user 'app_*' --since yesterday --until today
  dastream stats --failed --json | jq .users""",
)
@click.argument("lake", default=".")
@names_options
@cluster_option
@time_options
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=LIMIT,
    show_default=True,
    metavar="N",
    help="Of each list, only the first N.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    lake: str,
    since: str | None,
    until: str | None,
    utc: bool,
    limit: int,
    as_json: bool,
    **given: Any,
) -> int:
    """Show how a database is used: by whom, with what, when, on what, with which statements.

    LAKE and what is asked for are as in `dastream search`. Lists are of users, applications,
    hosts, objects, hours of the day, shapes of statements, what took longest, what failed most,
    and what is new: names that are in the time asked for, but not in the 30 days before it.

    A shape is a statement without its literals, numbers and comments, so what is shown holds no
    data of a statement. Its tables and columns are told where it can be parsed.

    Events are counted by the engine's own words: those of Aurora MySQL's objects are no
    statements, and count for their object only.
    """
    asked = query(given, since=since, until=until, utc=utc)
    database = open_database("stats", lake)
    from dastream.cli import stats_json, stats_report  # noqa: PLC0415 - they need the extra
    from dastream.lake.stats import read_stats  # noqa: PLC0415 - the same

    started = time.monotonic()
    with database:
        stats = read_stats(database, asked, limit=limit, zone=zone(utc=utc))
    show = stats_json.show_json if as_json else stats_report.show
    show(stats, limit, zone(utc=utc))
    sys.stdout.flush()  # before the summary, and so that a reader who went away is noticed here
    tell_damages(database)
    objects = counted(len(database.catalog.parquet) + len(database.catalog.lines), "object")
    found = why_nothing(database.catalog, asked)
    if stats.total.events:
        found = counted(stats.total.events, "event")
    tell(f"{found} · {objects} in the lake · {time.monotonic() - started:.2f} s")
    return NOT_CLEAN if database.damages else DONE
