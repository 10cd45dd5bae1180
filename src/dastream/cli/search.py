"""`dastream search`: events in what was delivered."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import nullcontext
from datetime import tzinfo
from typing import Any

import click
from rich.console import Console

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.found import (
    TableView,
    View,
    gather,
    nothing_delivered,
    open_view,
    report,
    scanned,
)
from dastream.cli.pager import paged
from dastream.cli.queries import (
    cluster_option,
    format_options,
    named_format,
    names_options,
    query,
    time_options,
    zone,
)
from dastream.cli.show import open_console, tell
from dastream.cli.signals import stop_on_signals
from dastream.lake.order import ORDERS
from dastream.lake.search import Search
from dastream.lake.statements import fold
from dastream.storage import open_storage

__all__ = ["command"]

TERMINAL_LIMIT = 100

_FIRST = {"time": "newest", "newest": "newest", "duration": "longest", "rows": "largest"}
"""What a limit leaves, by the order."""


@click.command(
    "search",
    epilog="""\b
Examples:
  dastream search /srv/lake --user davide --since yesterday
  dastream search s3://my-bucket/activity --object orders --command DELETE --json | jq .
  dastream search --failed --since 7d --csv > failed.csv
  dastream search --sort duration --limit 20 --since today
  dastream search --text 'drop table' --follow""",
)
@click.argument("lake", default=".")
@names_options
@cluster_option
@time_options
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Only the newest N, or the first of --sort. By default {TERMINAL_LIMIT} on a terminal "
    "and with another order than that of the time, else all.",
)
@click.option(
    "--sort",
    type=click.Choice([*ORDERS]),
    default="time",
    show_default=True,
    help="As logged; or the newest, the longest, those with most rows first.",
)
@click.option("--follow", is_flag=True, help="Then show what is delivered, until ctrl-c.")
@format_options
def command(
    lake: str,
    since: str | None,
    until: str | None,
    utc: bool,
    limit: int | None,
    sort: str,
    follow: bool,
    as_json: bool,
    as_csv: bool,
    **given: Any,
) -> int:
    """Find events in what was delivered, by this program or by Firehose.

    LAKE is a directory, file:///DIR or s3://BUCKET/PREFIX; events are found anywhere below it.
    All that is asked for must hold, and upper and lower case are the same. On a terminal the
    answer is a table, in $PAGER; elsewhere it is a line an event, with its fields separated by
    tabs: time, user, database, command, object, rows, milliseconds, outcome, reason, statement,
    bind values. A statement of Aurora MySQL, which writes an event for each object too, is one
    line with all its objects; --json and --csv have those events after the statement's.

    The order is that in which the database logged the events, so a statement stands where it
    ended, while its time is that of its start; statements of a session are in their order. What
    was delivered two days late, or behind 64 MiB of other matches, may come out of order, and
    the last line then says so; with --limit the order is always whole.

    Looked at is what arrived from an hour before --since to two days after --until; of Parquet
    files, only the columns that are asked for, where the time can be. What cannot be read is
    reported on standard error, and the exit code is then 3. Dead letters are not searched; the
    last line counts their objects. A place without delivered events is an error.
    """
    if follow and sort != "time":
        raise click.UsageError("--follow shows events as they come: without --sort")
    format = named_format(as_json=as_json, as_csv=as_csv)
    asked = query(given, since=since, until=until, utc=utc)
    console = open_console()
    if limit is None and (console.is_terminal or sort != "time"):
        limit = TERMINAL_LIMIT
    search = Search(
        open_storage(lake),
        asked,
        limit=limit,
        order=ORDERS[sort],
        needs_entries=format == "json",
        on_damage=report,
    )
    started = time.monotonic()
    show = _show(search, console, zone(utc=utc), format, follow=follow)
    sys.stdout.flush()  # before the summary, and so that a reader who went away is noticed here
    if not search.counts.objects and not follow:
        raise nothing_delivered("search", search.counts, lake)
    seconds = time.monotonic() - started
    tell(scanned(search.counts, seconds, limit=limit, first=_FIRST[sort]))
    if follow:
        _follow(search, show)
    return NOT_CLEAN if search.counts.damages else DONE


def _show(
    search: Search, console: Console, zone: tzinfo | None, format: str | None, *, follow: bool
) -> View:
    """Show what is found, and give the way in which more of it is to be shown."""
    if format is None and console.is_terminal:
        events = [fold(match) for match in gather(search, search.counts)]
        with nullcontext(console) if follow or not events else paged() as output:
            table = TableView(output, zone)
            table.show_all(events)
        return table
    view = open_view(console, zone, format or "plain")
    for match in search:
        view(match)
    return view


def _follow(search: Search, show: View) -> None:
    tell("following, ctrl-c ends")
    stopped = threading.Event()
    with stop_on_signals(stopped.set):
        for match in search.follow(stopped.wait):
            show(match)
            sys.stdout.flush()
