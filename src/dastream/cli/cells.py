"""The columns of an event as text that is safe on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

import msgspec

from dastream.event import Event

__all__ = ["Cells", "cells", "counted", "duration", "escape", "event_time", "moment", "one_line"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cells(NamedTuple):
    """An event as people read it. What is not known is None or empty; no text acts on a terminal.

    `outcome` is `ok` or `failed`, `reason` says why it failed, `params` is a JSON array, and
    `client` is address, port and what the client calls itself.
    """

    time: datetime | None
    user: str
    database: str
    command: str
    command_class: str
    object: str
    rows: int | None
    duration_us: int | None
    outcome: str
    reason: str
    statement: str
    params: str
    client: str


def cells(event: Event, zone: tzinfo | None, *, chars_max: int | None = None) -> Cells:
    """The cells of an event, its time in `zone` (None is the machine's).

    `chars_max` is how much of the long ones (statement, params, reason) is looked at.
    """
    columns = event.columns
    reason = " ".join(filter(None, (columns.exit_code, columns.error)))
    params = msgspec.json.encode(columns.params).decode() if columns.params else ""
    return Cells(
        time=event_time(event, zone),
        user=escape(columns.user or ""),
        database=escape(columns.database or ""),
        command=escape(columns.command or ("heartbeat" if event.kind == "heartbeat" else "")),
        command_class=columns.command_class or "",
        object=escape(columns.object_name or ""),
        rows=columns.row_count,
        duration_us=columns.duration_us,
        outcome={True: "ok", False: "failed", None: ""}[columns.succeeded],
        reason=one_line(reason[:chars_max]),
        statement=one_line(_statement(event)[:chars_max]),
        params=escape(params[:chars_max]),
        client=_client(event),
    )


def event_time(event: Event, zone: tzinfo | None) -> datetime | None:
    """The time of an event, else its arrival's, in `zone` (None is the machine's)."""
    time_us, arrival_ms = event.columns.time_us, event.origin.arrival_ms
    if time_us is None and arrival_ms is not None:
        time_us = arrival_ms * 1000
    return moment(time_us, zone)


def moment(time_us: int | None, zone: tzinfo | None) -> datetime | None:
    """Microseconds since 1970 as a time in `zone` (None is the machine's)."""
    if time_us is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).astimezone(zone)
    except (OverflowError, ValueError):  # an entry may claim the year 1 or 9999
        return None


def _statement(event: Event) -> str:
    if "entry" in event.columns.misfits:
        return event.entry.decode(errors="replace")  # no JSON object, so nothing else to show
    return event.columns.statement or ""


def _client(event: Event) -> str:
    """Where a session came from, and what the client calls itself."""
    columns = event.columns
    address = ":".join(filter(None, (columns.remote_host, columns.remote_port)))
    return escape(" ".join(filter(None, (address, columns.client_application))))


def one_line(text: str) -> str:
    """Text on one line: its line breaks as `↵`, control characters made visible."""
    parts = (part.strip(" \t\r").replace("\t", " ") for part in text.split("\n"))
    return escape(" ↵ ".join(filter(None, parts)))


def escape(text: str) -> str:
    r"""Text in which no character acts on a terminal: such as ESC become `\x1b`.

    That is every character that Unicode does not call printable: controls of both ranges, marks
    that turn or hide text, separators of lines, and what has no meaning yet.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 event`, `1,204 events`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(duration_us: int | None) -> str:
    """A duration in three figures or so: `0.08 ms`, `1.24 s`, `2m 05s`, `26h 03m`."""
    if duration_us is None:
        return ""
    for unit, unit_us in (("ms", 1_000), ("s", 1_000_000)):
        value = duration_us / unit_us
        if value < (1000 if unit == "ms" else 60):
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    minutes, seconds = divmod(duration_us // 1_000_000, 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02}s"
    return f"{minutes // 60}h {minutes % 60:02}m"
