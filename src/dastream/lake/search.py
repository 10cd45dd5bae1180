"""Search: the statements in delivered objects that a query describes."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dastream.event import Event
from dastream.lake.candidates import Candidates, Wanted
from dastream.lake.counts import Counts, Damage
from dastream.lake.matching import Query
from dastream.lake.order import LOGGED, Held, Match, Order
from dastream.lake.reader import DeliveredObject, is_dead_letter, once, recognise
from dastream.lake.recent_ids import IDS_MAX, RecentIds
from dastream.lake.statements import Statements
from dastream.storage import Storage

__all__ = ["EARLY_US_MAX", "LATE_US_MAX", "Search", "may_hold"]

LATE_US_MAX = 48 * 3600 * 1_000_000
"""How long after its own time an event may arrive. An event's time is the start of its statement,
its entry is written at the end; and a stream keeps what a slow reader leaves for a day."""

EARLY_US_MAX = 3600 * 1_000_000
"""How far an event's time may lie after its folder. The database's clock is not Kinesis', and
Firehose goes on filling an object for up to 15 minutes after the hour that it is named by."""

HELD_BYTES_MAX = 64 << 20
"""Entries that are held until they are in order; with what they decode to about 300 MB."""

FOLLOW_SECONDS = 2.0
"""Between two looks at what is new; more where a look takes long, so that it is a tenth at most."""


def may_hold(item: DeliveredObject, query: Query) -> bool:
    """Whether events of the time asked for may lie in an object, by its place."""
    return query.reaches(item.from_us - LATE_US_MAX, item.until_us + EARLY_US_MAX)


class Search:
    """One search, to be iterated over once; its `counts` grow while it runs.

    Matches come in the order in which the database logged them (`dastream.lake.order`), as soon
    as nothing can come before them, or when more than `HELD_BYTES_MAX` of entries would wait.
    With a `limit` they are the greatest of `order`, which is the newest if nothing is said, at
    most `limit`, and objects that can only hold older ones are not read. Another order than
    that of the log needs a limit. Of Parquet files written without entries, events have columns
    only, unless it `needs_entries`. What cannot be read is told to `on_damage`, and the rest
    goes on. Raises ServiceError if the storage fails.
    """

    def __init__(
        self,
        storage: Storage,
        query: Query,
        *,
        limit: int | None = None,
        order: Order = LOGGED,
        needs_entries: bool = False,
        on_damage: Callable[[Damage], None],
    ) -> None:
        self.counts = Counts()
        self._storage = storage
        self._query = query
        self._limit = limit
        self._order = order
        wanted = Wanted(query, order, limit, needs_entries)
        self._candidates = Candidates(storage, wanted, self.counts, on_damage)
        self._statements = Statements(query)
        self._ids = RecentIds[str](IDS_MAX)
        self._batches: set[str] = set()

    def __iter__(self) -> Iterator[Match]:
        items = self._new_items()
        if self._limit is None:
            yield from self._all(items)
        else:
            yield from self._greatest(items, self._limit)

    def follow(self, wait: Callable[[float], bool]) -> Iterator[Match]:
        """What comes after that, object by object, until `wait` (for seconds) says to stop."""
        seconds = FOLLOW_SECONDS
        while not wait(seconds):
            began = time.monotonic()
            yield from self._all(self._new_items())
            seconds = max(FOLLOW_SECONDS, 9 * (time.monotonic() - began))

    def _new_items(self) -> list[DeliveredObject]:
        """The objects to read that were not there before."""
        delivered = []
        self.counts.dead_letters = self.counts.others = 0
        for stored in self._storage.list():
            item = recognise(stored)
            if item is None:
                self.counts.dead_letters += is_dead_letter(stored)
                self.counts.others += not is_dead_letter(stored)
            elif item.batch not in self._batches:
                delivered.append(item)
        self._candidates.lines = {item.batch: item for item in delivered if not item.is_parquet}
        delivered = once(delivered)
        for item in delivered:
            self._batches.add(item.batch)
            self.counts.add(item.from_us, item.until_us)
        return [item for item in delivered if may_hold(item, self._query)]

    def _all(self, items: list[DeliveredObject]) -> Iterator[Match]:
        """From the oldest object on; what is held is let go when no object can come before it."""
        held = Held(HELD_BYTES_MAX)
        items.sort(key=lambda item: (item.from_us, item.key))
        for item, events in self._candidates.of(items):
            oldest_us = item.from_us - LATE_US_MAX
            for match in self._counted(self._statements.before(oldest_us)):
                yield from held.push(match)
            yield from held.before(oldest_us)
            for match in self._matches(events):
                yield from held.push(match)
        for match in self._counted(self._statements.rest()):
            yield from held.push(match)
        yield from held.rest()
        self.counts.is_in_order &= held.is_in_order

    def _greatest(self, items: list[DeliveredObject], limit: int) -> list[Match]:
        """From the newest object back; a heap holds the greatest so far, the least one first."""
        order, rank = self._order, self._order.rank
        greatest: list[tuple[Any, int, int, Match]] = []

        def push(index: int, matches: Iterable[Match]) -> None:
            for number, match in enumerate(matches):
                # Equal ranks keep the order of objects and events.
                heapq.heappush(greatest, (rank(match.event), index, number, match))
                if len(greatest) > limit:
                    heapq.heappop(greatest)

        items.sort(key=lambda item: (item.until_us, item.key))
        numbers = reversed(range(len(items)))
        for index, (item, events) in zip(numbers, self._candidates.of(items[::-1]), strict=True):
            latest_us = item.until_us + EARLY_US_MAX
            if (
                order.is_of_time
                and len(greatest) == limit
                and greatest[0][0].logged_us >= latest_us
            ):
                self.counts.objects_older = index + 1
                break
            push(index, self._matches(events))
        push(-1, self._counted(self._statements.rest()))
        return [match for *_, match in sorted(greatest, reverse=order.is_reversed)]

    def _matches(self, events: Iterator[Event]) -> Iterator[Match]:
        """What is found now that the events of an object come, and was not found before."""
        for event in filter(self._statements.wants, events):
            if self._ids.add(event.id):
                yield from self._counted(self._statements.add(event))
            else:
                self.counts.duplicates += 1

    def _counted(self, matches: Iterable[Match]) -> Iterator[Match]:
        for match in matches:
            self.counts.matched += 1
            yield match
