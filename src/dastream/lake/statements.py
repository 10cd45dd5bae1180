"""The events of a statement put together: Aurora MySQL writes one more for each object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dastream.event import Engine, Event
from dastream.lake.matching import Query, hold
from dastream.lake.order import Match, place, size, time_us

__all__ = ["MYSQL", "Statements", "fold"]

MYSQL = "aurora-mysql"
"""The engine whose statements have auxiliary events."""

WAITING_MAX = 10_000
WAITING_BYTES_MAX = 16 << 20
"""Statements of which an event may still come, and how much of them. They come within moments of
one another, in any order and perhaps in different objects."""


@dataclass(slots=True, eq=False)
class _Statement:
    """What has come of a statement.

    `is_own` tells that its own event matches but for the object, `is_found` that it was given away.
    """

    main: Match | None = None
    auxiliaries: list[Event] = field(default_factory=list)
    is_own: bool = False
    is_found: bool = False
    size: int = 0
    logged_us: int = 0

    def add(self, event: Event) -> None:
        self.size += size(event)
        self.logged_us = max(self.logged_us, place(event).logged_us)
        if event.columns.is_auxiliary:
            self.auxiliaries.append(event)
        else:
            self.main = Match(event, self.auxiliaries)


class Statements:
    """Takes the events of a lake one by one, in any order, and gives the statements it finds.

    A statement is found when its own event matches, with an object in any of its events. An
    auxiliary event whose statement does not come is given by itself if it matches by itself.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._tests = query.tests()
        self._waiting: dict[Any, _Statement] = {}
        self._bytes = 0

    def wants(self, event: Event) -> bool:
        """Whether an event is found, or may help another one of its statement to be."""
        return (
            self._query.is_in_time(time_us(event))
            and self._query.is_from(event.origin)
            and hold(self._tests.shared, event.columns)
            and (event.origin.engine.name == MYSQL or self._is_found(Match(event, [])))
        )

    def add(self, event: Event) -> Iterator[Match]:
        """Take in an event that it wants; gives what is found now."""
        if event.origin.engine.name != MYSQL:
            yield Match(event, [])
            return
        yield from self._put(event)
        while len(self._waiting) > WAITING_MAX or self._bytes > WAITING_BYTES_MAX:
            yield from self._release(next(iter(self._waiting)))

    def before(self, moment_us: int) -> Iterator[Match]:
        """What was logged before a time, and whose statement will not come any more."""
        for key, statement in list(self._waiting.items()):
            if statement.logged_us < moment_us:
                yield from self._release(key)

    def rest(self) -> Iterator[Match]:
        """All of that."""
        for key in list(self._waiting):
            yield from self._release(key)

    def _put(self, event: Event) -> Iterator[Match]:
        key = _key(event)
        held = self._waiting.get(key)
        if held and held.main and not event.columns.is_auxiliary:
            yield from self._release(key)  # its numbers come again, for another statement
        statement = self._waiting.setdefault(key, _Statement())
        statement.add(event)
        self._bytes += size(event)
        if statement.main and not statement.is_found and self._completes(statement, event):
            statement.is_found = True
            yield statement.main

    def _completes(self, statement: _Statement, event: Event) -> bool:
        """Whether a statement is found with the event that came last.

        Those before it are not compared again, of which there may be thousands.
        """
        if event.columns.is_auxiliary:
            return statement.is_own and hold(self._tests.object, event.columns)
        statement.is_own = hold(self._tests.own, event.columns)
        return statement.is_own and any(
            hold(self._tests.object, one.columns) for one in (event, *statement.auxiliaries)
        )

    def _release(self, key: Any) -> Iterator[Match]:
        statement = self._waiting.pop(key)
        self._bytes -= statement.size
        if statement.main is None:
            yield from filter(self._is_found, (Match(event, []) for event in statement.auxiliaries))

    def _is_found(self, match: Match) -> bool:
        events = (match.event, *match.auxiliaries)
        return hold(self._tests.own, match.event.columns) and any(
            hold(self._tests.object, event.columns) for event in events
        )


def fold(match: Match) -> Event:
    """The event of a statement with the objects of all its events, to be shown; no entry has that.

    They stand in its `object_name`, separated by commas.
    """
    if not match.auxiliaries:
        return match.event
    events = (match.event, *match.auxiliaries)
    names = dict.fromkeys(event.columns.object_name for event in events)
    columns = msgspec.structs.replace(
        match.event.columns, object_name=", ".join(filter(None, names)) or None
    )
    engine = Engine(MYSQL, lambda _: columns)
    origin = msgspec.structs.replace(match.event.origin, engine=engine)
    return Event(match.event.id, match.event.entry, origin)


def _key(event: Event) -> Any:
    """What the events of one statement have in common; a number alone comes again one day."""
    columns = event.columns
    return (
        event.origin.instance_id,
        columns.pid,
        columns.session_id,
        columns.statement_id,
        columns.start_time_us,
    )
