"""Search: the events of delivered objects that a query describes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dastream import line
from dastream.event import Event
from dastream.lake.matching import Query, may_match
from dastream.lake.order import Held, Match, Place, place
from dastream.lake.reader import (
    DamageError,
    DeliveredObject,
    is_dead_letter,
    once,
    read_event,
    read_lines,
    recognise,
)
from dastream.lake.recent_ids import IDS_MAX, RecentIds
from dastream.storage import Storage

__all__ = ["Counts", "Damage", "Match", "Query", "Search"]

LATE_US_MAX = 48 * 3600 * 1_000_000
"""How long after its own time an event may arrive. An event's time is the start of its statement,
its entry is written at the end; and a stream keeps what a slow reader leaves for a day."""

EARLY_US_MAX = 3600 * 1_000_000
"""How far an event's time may lie after its folder. The database's clock is not Kinesis', and
Firehose goes on filling an object for up to 15 minutes after the hour that it is named by."""

HELD_BYTES_MAX = 64 << 20
"""Lines that are held until they are in order; with what they decode to about 300 MB."""


class Damage(NamedTuple):
    """What could not be read of an object, and why.

    That is `lines` lines, of which `line` is the first; with None, everything from there on.
    """

    key: str
    reason: str
    line: int
    lines: int | None


@dataclass(slots=True)
class Counts:
    """What a search went through.

    `objects` are the delivered ones, `dead_letters` and `others` were left alone; the records of
    all objects arrived between `oldest_us` and `newest_us`. `objects_older` could only hold
    matches older than the newest, which filled the limit. `is_in_order` is False when matches
    came late, or were more than can wait.
    """

    objects: int = 0
    objects_read: int = 0
    objects_older: int = 0
    dead_letters: int = 0
    others: int = 0
    oldest_us: int | None = None
    newest_us: int | None = None
    lines: int = 0
    matched: int = 0
    duplicates: int = 0
    damages: int = 0
    is_in_order: bool = True


class Search:
    """One search, to be iterated over once; its `counts` grow while it runs.

    Matches come in the order in which the database logged them (`dastream.lake.order`), as soon
    as nothing can come before them, or when more than `HELD_BYTES_MAX` of lines would wait. With
    a `limit` they are the newest, at most `limit`, and objects that can only hold older ones are
    not read. What cannot be read is told to `on_damage`, and the rest goes on. Raises
    ServiceError if the storage fails.
    """

    def __init__(
        self,
        storage: Storage,
        query: Query,
        *,
        limit: int | None = None,
        on_damage: Callable[[Damage], None],
    ) -> None:
        self.counts = Counts()
        self._storage = storage
        self._query = query
        self._needles = query.needles()
        self._limit = limit
        self._on_damage = on_damage
        self._ids = RecentIds[str](IDS_MAX)

    def __iter__(self) -> Iterator[Match]:
        items = self._items()
        if self._limit is None:
            yield from self._all(items)
        else:
            yield from self._newest(items, self._limit)

    def _items(self) -> list[DeliveredObject]:
        """The objects to read."""
        delivered = []
        for stored in self._storage.list():
            item = recognise(stored)
            if item is None:
                self.counts.dead_letters += is_dead_letter(stored)
                self.counts.others += not is_dead_letter(stored)
                continue
            delivered.append(item)
        delivered = once(delivered, parquet_first=False)
        for item in delivered:
            self._count(item)
        return [
            item
            for item in delivered
            if self._query.reaches(item.from_us - LATE_US_MAX, item.until_us + EARLY_US_MAX)
        ]

    def _count(self, item: DeliveredObject) -> None:
        counts = self.counts
        counts.objects += 1
        if counts.oldest_us is None or item.from_us < counts.oldest_us:
            counts.oldest_us = item.from_us
        if counts.newest_us is None or item.until_us > counts.newest_us:
            counts.newest_us = item.until_us

    def _all(self, items: list[DeliveredObject]) -> Iterator[Match]:
        """From the oldest object on; what is held is let go when no object can come before it."""
        held = Held(HELD_BYTES_MAX)
        for item in sorted(items, key=lambda item: (item.from_us, item.key)):
            yield from held.before(item.from_us - LATE_US_MAX)
            for match in self._matches(item):
                yield from held.push(match)
        yield from held.rest()
        self.counts.is_in_order = held.is_in_order

    def _newest(self, items: list[DeliveredObject], limit: int) -> list[Match]:
        """From the newest object back; a heap holds the newest matches so far, oldest first."""
        newest: list[tuple[Place, int, int, Match]] = []
        items.sort(key=lambda item: (item.until_us, item.key))
        for index in reversed(range(len(items))):
            if (
                len(newest) == limit
                and newest[0][0].logged_us >= items[index].until_us + EARLY_US_MAX
            ):
                self.counts.objects_older = index + 1
                break
            for number, match in enumerate(self._matches(items[index])):
                # Equal places keep the order of objects and lines.
                heapq.heappush(newest, (place(match), index, number, match))
                if len(newest) > limit:
                    heapq.heappop(newest)
        return [match for *_, match in sorted(newest)]

    def _matches(self, item: DeliveredObject) -> Iterator[Match]:
        """The matches of one object that were not found before."""
        self.counts.objects_read += 1
        number = first_damaged = damaged = 0
        try:
            for number, delivered in self._lines(item):
                self.counts.lines += 1
                try:
                    match = self._match(delivered)
                except DamageError:
                    first_damaged, damaged = first_damaged or number, damaged + 1
                    continue
                if match is not None and self._is_new(match):
                    yield match
        except DamageError as error:
            self._tell(Damage(item.key, str(error), number + 1, None))
        if damaged:
            self._tell(Damage(item.key, "not a delivered line", first_damaged, damaged))

    def _lines(self, item: DeliveredObject) -> Iterator[tuple[int, bytes]]:
        if not item.is_parquet:
            return read_lines(self._storage, item)
        from dastream.lake.parquet import read_events  # noqa: PLC0415 - needs an extra

        return enumerate(line.write_all(read_events(self._storage, item)), start=1)

    def _match(self, delivered: bytes) -> Match | None:
        """The match that a line is. Raises DamageError if the line is none of ours."""
        if not (delivered.startswith(b'{"eventId":"') and delivered.endswith(b"}")):
            raise DamageError("not a delivered line")
        if not may_match(delivered, self._needles):
            return None
        event = read_event(delivered)
        time_us = _time_us(event)
        return (
            Match(event, delivered, time_us)
            if self._query.matches(event.columns, time_us)
            else None
        )

    def _is_new(self, match: Match) -> bool:
        is_new = self._ids.add(match.event.id)
        self.counts.matched += is_new
        self.counts.duplicates += not is_new
        return is_new

    def _tell(self, damage: Damage) -> None:
        self.counts.damages += 1
        self._on_damage(damage)


def _time_us(event: Event) -> int | None:
    time_us, arrival_ms = event.columns.time_us, event.origin.arrival_ms
    return arrival_ms * 1000 if time_us is None and arrival_ms is not None else time_us
