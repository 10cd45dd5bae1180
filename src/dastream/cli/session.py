"""`dastream session`: one session from its login to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta, tzinfo

import click
from rich.console import Console
from rich.text import Text

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted, duration, escape, event_time
from dastream.cli.found import gather, nothing_delivered, open_view, report, scanned
from dastream.cli.pager import paged
from dastream.cli.queries import (
    cluster_option,
    format_options,
    lake_option,
    named_format,
    query,
    time_options,
    zone,
)
from dastream.cli.show import open_console, tell
from dastream.cli.table import Table
from dastream.lake.search import Search
from dastream.lake.sessions import Session, part
from dastream.lake.statements import fold
from dastream.storage import open_storage

__all__ = ["command"]

EVENTS_MAX = 10_000


@click.command(
    "session",
    epilog="""\b
Examples:
  dastream session 5ce73c6f.7e64
  dastream session 71 --lake s3://my-bucket/activity --since yesterday
  dastream session 8150 --cluster db-ABC --csv > session.csv""",
)
@click.argument("id")
@lake_option
@cluster_option
@time_options
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=EVENTS_MAX,
    show_default=True,
    metavar="N",
    help="Only the newest N events.",
)
@format_options
def command(
    id: str,
    lake: str,
    cluster: str | None,
    since: str | None,
    until: str | None,
    utc: bool,
    limit: int,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Show a session in order: who, from where, each statement and its outcome, the end.

    ID is the session's, as `dastream search --csv` and `dastream query` have it in
    `session_id`. Ids come again: on another instance, and except for PostgreSQL's on the same
    one. All sessions that have it are shown, one after another; --cluster, --since and --until
    choose. Another one begins with a login, after a logout, and with another client.

    On a terminal it is a table, in $PAGER; elsewhere lines as `dastream search` prints them,
    and what is told of each session is on standard error.
    """
    format = named_format(as_json=as_json, as_csv=as_csv)
    given = {"session": id, "cluster": cluster}
    search = Search(
        open_storage(lake),
        query(given, since=since, until=until, utc=utc),
        limit=limit,
        needs_entries=format == "json",
        on_damage=report,
    )
    started = time.monotonic()
    sessions = part(gather(search, search.counts))
    if not search.counts.objects:
        raise nothing_delivered("session", search.counts, lake)
    _show(sessions, zone(utc=utc), format)
    sys.stdout.flush()  # before the summary, and so that a reader who went away is noticed here
    if len(sessions) > 1:
        tell(f"{len(sessions)} sessions have this id: --cluster, --since and --until choose")
    tell(scanned(search.counts, time.monotonic() - started, limit=limit))
    return NOT_CLEAN if search.counts.damages else DONE


def _show(sessions: Sequence[Session], zone: tzinfo | None, format: str | None) -> None:
    console = open_console()
    if format is None and console.is_terminal:
        with paged() if sessions else nullcontext(console) as output:
            for session in sessions:
                _show_table(session, output, zone)
        return
    view = open_view(console, zone, format or "plain")
    for session in sessions:
        tell("\n".join(_about(session, zone)))
        for match in session.matches:
            view(match)


def _show_table(session: Session, console: Console, zone: tzinfo | None) -> None:
    first, *more = _about(session, zone)
    console.print(Text(first, "bold"))
    for text in more:
        console.print(Text(text))
    console.print()
    events = [fold(match) for match in session.matches]
    table = Table(console, zone, events, has_user=False)
    for event in events:
        table.show(event)
    console.print(Text(_end(session, zone), "italic"))
    console.print()


def _about(session: Session, zone: tzinfo | None) -> Iterator[str]:
    """What is told of a session before its statements."""
    known = session.known
    user, database = known("user") or "unknown", known("database")
    who = f"{user}@{database}" if database else user
    yield escape(f"session {known('session_id')} of {who}")
    address = ":".join(filter(None, (known("remote_host"), known("remote_port"))))
    yield escape("  from    " + (" ".join(filter(None, (address, known("client_application"))))))
    places = session.instance_id or session.cluster_id, known("server_host")
    version = known("server_version")
    engine = session.matches[0].event.origin.engine.name
    yield escape("  on      " + ", ".join(filter(None, (*places, engine, version))))
    begin = "" if session.has_begin else ", the login is not among the events"
    yield f"  began   {_moment(_times(session, zone)[0])}{begin}"
    failed = sum(columns.succeeded is False for columns in session.statements)
    yield f"  ran     {counted(len(session.statements), 'statement')}, {failed:,} failed"


def _end(session: Session, zone: tzinfo | None) -> str:
    first, last = _times(session, zone)
    if first is None or last is None:
        return "no times"
    length = duration((last - first) // timedelta(microseconds=1))
    if session.has_end:
        return f"ended {_moment(last)}, after {length}"
    return f"no logout among the events; the last one is of {_moment(last)}, after {length}"


def _times(session: Session, zone: tzinfo | None) -> tuple[datetime | None, datetime | None]:
    """When a session's first event was, and its last."""
    times = [time for m in session.matches if (time := event_time(m.event, zone)) is not None]
    return (min(times), max(times)) if times else (None, None)


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}" if time else "unknown"
