"""The order of what was found: as the database logged it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from dastream.event import Event

__all__ = ["Held", "Match", "Place", "place"]


_DIGITS_MAX = 20


class Match(NamedTuple):
    """An event that was found, the line that holds it, and its time (else its arrival's)."""

    event: Event
    line: bytes
    time_us: int | None


class Place(NamedTuple):
    """Where an event stands among others.

    A session's entries are logged one after another, so the time of the log keeps their order.
    The start does not: a server of one's own logs milliseconds, of which a duration is taken,
    and a session's end may carry the start of the session. What was logged in the same
    millisecond there is told apart by the statement's number within its session.
    """

    logged_us: int
    session: str
    statement: int
    substatement: int


def place(match: Match) -> Place:
    """The place of a match; an event without a log time has its own time, or its arrival's."""
    columns = match.event.columns
    logged_us = match.time_us if columns.log_time_us is None else columns.log_time_us
    number = columns.statement_id or ""
    return Place(
        logged_us or 0,
        columns.session_id or "",
        # SQL Server has a random id in its place, and an entry may claim any.
        int(number) if number.isdecimal() and len(number) <= _DIGITS_MAX else 0,
        columns.substatement_id or 0,
    )


class Held:
    """Matches that wait for those that may come before them, up to `bytes_max` of lines.

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
        heapq.heappush(self._heap, (place(match), self._pushed, match))
        self._pushed += 1  # equal places keep the order in which they came
        self._bytes += len(match.line)
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
        self._bytes -= len(match.line)
        self.is_in_order &= self._last is None or where >= self._last
        self._last = where
        return match
