"""The order of what was found: as the database logged it, or what is most of something."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from dastream.event import Event

__all__ = ["LOGGED", "ORDERS", "Held", "Match", "Order", "Place", "place", "size", "time_us"]

_DIGITS_MAX = 128
"""A sequence number has 56. An entry may claim any number of its statement, of any length."""


class Match(NamedTuple):
    """A statement that was found.

    `auxiliaries` are the events that Aurora MySQL wrote beside its own; the list may still grow.
    """

    event: Event
    auxiliaries: list[Event]

    @property
    def size(self) -> int:
        """Bytes of its own event, about."""
        return size(self.event)


class Place(NamedTuple):
    """Where an event stands among others.

    A session's entries are logged one after another, so the time of the log keeps their order.
    The start does not: a server of one's own logs milliseconds, of which a duration is taken,
    and a session's end may carry the start of the session. What was logged in the same
    millisecond there is told apart by the statement's number within its session; what has none,
    by the record and the place in it.
    """

    logged_us: int
    session: str
    statement: int
    substatement: int
    sequence: int
    entry: int


def size(event: Event) -> int:
    """Bytes of an event, about; one without its entry has columns only."""
    return len(event.entry or event.columns.statement or "")


def time_us(event: Event) -> int | None:
    """The time of an event, else that of its arrival: microseconds since 1970, UTC."""
    own_us, arrival_ms = event.columns.time_us, event.origin.arrival_ms
    return arrival_ms * 1000 if own_us is None and arrival_ms is not None else own_us


def place(event: Event) -> Place:
    """The place of an event; one without a log time has its own time, or its arrival's."""
    columns = event.columns
    logged_us = time_us(event) if columns.log_time_us is None else columns.log_time_us
    position = event.origin.position
    return Place(
        logged_us or 0,
        columns.session_id or "",
        _number(columns.statement_id),  # SQL Server has a random id in its place
        columns.substatement_id or 0,
        _number(position.sequence if position else None),
        _number(event.id.rpartition("-")[2]),
    )


def _number(text: str | None) -> int:
    """Digits as a number, 0 for anything else."""
    return int(text) if text and len(text) <= _DIGITS_MAX and text.isdecimal() else 0


class Order(NamedTuple):
    """An order of matches: by the greatest `rank`, which `column` of a Parquet file bounds.

    Those of the time come as they were logged unless they are `reversed`.
    """

    rank: Callable[[Event], Any]
    column: str
    is_of_time: bool = False
    is_reversed: bool = True


def _duration(event: Event) -> int:
    duration_us = event.columns.duration_us
    return -1 if duration_us is None else duration_us


def _rows(event: Event) -> int:
    rows = event.columns.row_count
    return -1 if rows is None else rows


LOGGED = Order(place, "log_time", is_of_time=True, is_reversed=False)

ORDERS = {
    "time": LOGGED,
    "newest": LOGGED._replace(is_reversed=True),
    "duration": Order(_duration, "duration_us"),
    "rows": Order(_rows, "row_count"),
}
"""The orders by the names that people give."""


class Held:
    """Matches that wait for those that may come before them, up to `bytes_max` of entries.

    `is_in_order` becomes False when a match comes after one that was let go with a later place.
    """

    def __init__(self, bytes_max: int) -> None:
        self.is_in_order = True
        self._bytes_max = bytes_max
        self._bytes = 0
        self._heap: list[tuple[Place, int, Match]] = []
        self._pushed = 0
        self._last: Place | None = None

    def push(self, match: Match) -> Iterator[Match]:
        """Take a match in; gives the first ones if there are too many."""
        heapq.heappush(self._heap, (place(match.event), self._pushed, match))
        self._pushed += 1  # equal places keep the order in which they came
        self._bytes += match.size
        while self._bytes > self._bytes_max:
            yield self._pop()

    def before(self, time_us: int) -> Iterator[Match]:
        """The matches that were logged before a time."""
        while self._heap and self._heap[0][0].logged_us < time_us:
            yield self._pop()

    def rest(self) -> Iterator[Match]:
        """All that are left."""
        while self._heap:
            yield self._pop()

    def _pop(self) -> Match:
        where, _, match = heapq.heappop(self._heap)
        self._bytes -= match.size
        self.is_in_order &= self._last is None or where >= self._last
        self._last = where
        return match
