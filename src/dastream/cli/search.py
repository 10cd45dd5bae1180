"""`dastream search`: events in what was delivered."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

import click
from rich.console import Console

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import escape
from dastream.cli.show import CsvView, JsonView, PlainView, open_console
from dastream.cli.table import Table
from dastream.event import Event
from dastream.lake.search import Counts, Damage, Query, Search
from dastream.lake.times import microseconds, parse_time
from dastream.record import iso_time
from dastream.storage import open_storage

__all__ = ["command"]

TERMINAL_LIMIT = 100


@click.command(
    "search",
    epilog="""\b
Examples:
  dastream search /srv/lake --user davide --since yesterday
  dastream search s3://my-bucket/activity --object orders --command DELETE --json | jq .
  dastream search --failed --since 7d --csv > failed.csv
  dastream search --text 'drop table' --utc""",
)
@click.argument("lake", default=".")
@click.option("--user", metavar="NAME", help="Database user; `*` stands for anything.")
@click.option("--db", "database", metavar="NAME", help="Database.")
@click.option("--command", "sql_command", metavar="NAME", help="Such as SELECT or 'CREATE*'.")
@click.option("--object", metavar="NAME", help="public.orders; or orders, in any schema.")
@click.option("--text", metavar="TEXT", help="Part of the statement.")
@click.option("--app", "application", metavar="NAME", help="What the client calls itself.")
@click.option("--host", metavar="HOST", help="Address or name of the client.")
@click.option("--failed", is_flag=True, help="Only what failed.")
@click.option("--since", metavar="TIME", help="2h, 30m, 7d, today, yesterday, a date or a time.")
@click.option("--until", metavar="TIME", help="The same; the time itself is not included.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Only the newest N, by time. By default {TERMINAL_LIMIT} on a terminal, else all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the delivered lines as they are.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--utc", is_flag=True, help="Read and show times in UTC, not in the local zone.")
def command(
    lake: str,
    user: str | None,
    database: str | None,
    sql_command: str | None,
    object: str | None,
    text: str | None,
    application: str | None,
    host: str | None,
    failed: bool,
    since: str | None,
    until: str | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    utc: bool,
) -> int:
    """Find events in what was delivered, by this program or by Firehose.

    LAKE is a directory, file:///DIR or s3://BUCKET/PREFIX; events are found anywhere below it.
    All that is asked for must hold, and upper and lower case are the same. On a terminal the
    answer is a table; elsewhere it is a line an event, with its fields separated by tabs: time,
    user, database, command, object, rows, milliseconds, outcome, reason, statement, bind values.

    Looked at is what arrived from an hour before --since to two days after --until. What cannot
    be read is reported on standard error, and the exit code is then 3.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    zone = UTC if utc else None
    query = Query(
        user=user,
        database=database,
        command=sql_command,
        object=object,
        application=application,
        host=host,
        text=text,
        failed=failed,
        since_us=_time_us(since, zone),
        until_us=_time_us(until, zone),
    )
    console = open_console()
    if limit is None and console.is_terminal:
        limit = TERMINAL_LIMIT
    search = Search(open_storage(lake), query, limit=limit, on_damage=_report)
    started = time.monotonic()
    if as_json:
        _show_json(search, console)
    else:
        _show(search, console, zone, as_csv=as_csv)
    sys.stdout.flush()  # before the summary, and so that a reader who went away is noticed here
    click.echo(_summary(search.counts, lake, limit, time.monotonic() - started), err=True)
    return NOT_CLEAN if search.counts.damages else DONE


def _time_us(text: str | None, zone: tzinfo | None) -> int | None:
    return (
        None if text is None else microseconds(parse_time(text, now=datetime.now(UTC), zone=zone))
    )


def _show_json(search: Search, console: Console) -> None:
    view = JsonView(console)
    for match in search:
        view.show(match.line)


def _show(search: Search, console: Console, zone: tzinfo | None, *, as_csv: bool) -> None:
    events: Iterable[Event] = (match.event for match in search)
    view: CsvView | PlainView | Table
    if as_csv:
        view = CsvView(console, zone)
    elif not console.is_terminal:
        view = PlainView(console.file, zone)
    else:
        with Console(stderr=True).status(_Progress(search.counts)):
            events = list(events)
        if not events:
            return
        view = Table(console, zone, events)
    for event in events:
        view.show(event)


class _Progress:
    """What a waiting person sees; rendered anew with each turn of the spinner."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def __rich__(self) -> str:
        counts = self._counts
        return f"{counts.objects_read:,} of {counts.objects:,} objects, {counts.matched:,} events"


def _report(damage: Damage) -> None:
    where = f"from line {damage.line} on" if damage.lines is None else f"line {damage.line}"
    more = f" (and {damage.lines - 1} more)" if damage.lines and damage.lines > 1 else ""
    click.echo(f"error: {escape(damage.key)}: {where}: {damage.reason}{more}", err=True)


def _summary(counts: Counts, lake: str, limit: int | None, seconds: float) -> str:
    """One line: what was found, or why nothing was, and what it took."""
    if not counts.objects:
        return (
            f"nothing was delivered at {escape(lake)}: below it is no events/ of a lake and no "
            f"YYYY/MM/DD/HH/ of Firehose ({counts.others:,} other objects)"
        )
    if counts.oldest_us is not None and counts.newest_us is not None and not counts.objects_read:
        return (
            "nothing is of that time: what was delivered arrived from "
            f"{iso_time(counts.oldest_us // 1000)} to {iso_time(counts.newest_us // 1000)}"
        )
    pruned = counts.objects - counts.objects_read
    return (
        f"{_matched(counts, limit)} · {counts.objects_read:,} objects read, {pruned:,} pruned"
        f" · {seconds:.2f} s"
    )


def _matched(counts: Counts, limit: int | None) -> str:
    if counts.is_cut:
        return f"the newest {limit:,} of {counts.matched:,} or more matches; --limit N shows more"
    copies = f", {counts.duplicates:,} copies left out" if counts.duplicates else ""
    return f"{counts.matched:,} of {counts.lines:,} events matched{copies}"
