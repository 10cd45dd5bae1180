"""`dastream search`: events in what was delivered."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

import click
from rich.console import Console

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted, escape
from dastream.cli.show import CsvView, JsonView, PlainView, open_console, tell
from dastream.cli.table import Table
from dastream.errors import ConfigError
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
    help=f"Only the newest N. By default {TERMINAL_LIMIT} on a terminal, else all.",
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

    The order is that in which the database logged the events, so a statement stands where it
    ended, while its time is that of its start; statements of a session are in their order. What
    was delivered two days late, or behind 64 MiB of other matches, may come out of order, and
    the last line then says so; with --limit the order is always whole.

    Looked at is what arrived from an hour before --since to two days after --until. What cannot
    be read is reported on standard error, and the exit code is then 3. Dead letters are not
    searched; the last line counts their objects. A place without delivered events is an error.
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
    if not search.counts.objects:
        raise _nothing_delivered(search.counts, lake)
    tell(_summary(search.counts, limit, time.monotonic() - started))
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
    tell(f"error: {escape(damage.key)}: {where}: {damage.reason}{more}")


def _nothing_delivered(counts: Counts, lake: str) -> ConfigError:
    """An error, and not an empty answer: a typo must not read as "nobody did that"."""
    there = counted(counts.others, "other object") if counts.others else "nothing"
    if counts.dead_letters:
        there = f"only {counted(counts.dead_letters, 'object')} of dead letters"
    return ConfigError(
        f"search: no delivered events at {escape(lake)}, {there} below it",
        hint="give the place of delivery or one above it: below it is events/ of a lake, or "
        "YYYY/MM/DD/HH/ of Firehose",
    )


def _summary(counts: Counts, limit: int | None, seconds: float) -> str:
    """One line: what was found, or why nothing was, and what it took; nothing that is zero."""
    skipped = counts.objects - counts.objects_read - counts.objects_older
    parts = [_matched(counts, limit)]
    if counts.duplicates:
        parts.append(f"{counted(counts.duplicates, 'copy', 'copies')} left out")
    if counts.objects_read:
        parts.append(f"{counted(counts.objects_read, 'object')} read")
        if skipped:
            parts.append(f"{counted(skipped, 'object')} skipped by their time")
    if counts.objects_older:
        parts.append(f"{counted(counts.objects_older, 'older object')} not read")
    parts.append(f"{seconds:.2f} s")
    if not counts.is_in_order:
        parts.append("not all in order (--since, --until and --limit help)")
    if counts.dead_letters:
        parts.append(f"{counted(counts.dead_letters, 'object')} of dead letters not searched")
    return " · ".join(parts)


def _matched(counts: Counts, limit: int | None) -> str:
    if counts.oldest_us is not None and counts.newest_us is not None and not counts.objects_read:
        return (
            "nothing is of that time: what was delivered arrived from "
            f"{iso_time(counts.oldest_us // 1000)} to {iso_time(counts.newest_us // 1000)}"
        )
    if limit is not None and (counts.matched > limit or counts.objects_older):
        more = " or more" if counts.objects_older else ""
        return f"the newest {limit:,} of {counts.matched:,}{more} matches (--limit N shows more)"
    return f"{counts.matched:,} of {counted(counts.lines, 'event')} matched"
