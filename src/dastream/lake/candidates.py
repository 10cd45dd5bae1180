"""The events of one object that may be looked for, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dastream.event import Event
from dastream.lake.counts import Counts, Damage
from dastream.lake.matching import Query, may_match
from dastream.lake.object_file import ObjectFile, with_ends
from dastream.lake.order import Order
from dastream.lake.reader import DamageError, DeliveredObject, read_event, read_lines
from dastream.lake.statements import MYSQL
from dastream.storage import Storage

__all__ = ["Candidates", "Wanted"]

_MYSQL = b'"engine":"%s"' % MYSQL.encode()


class Wanted(NamedTuple):
    """What a search needs: the greatest `limit` of an order, None for all that match.

    With `needs_entries` the events have to have their bytes.
    """

    query: Query
    order: Order
    limit: int | None
    needs_entries: bool


class Candidates:
    """Reads objects, and gives the events that may match.

    What cannot match is passed over, if that can be told without decoding it. `lines` are
    objects of JSON lines by the name of their batch: they are read where entries are needed
    that the Parquet file of the batch does not have.
    """

    def __init__(
        self,
        storage: Storage,
        wanted: Wanted,
        counts: Counts,
        on_damage: Callable[[Damage], None],
    ) -> None:
        self.lines: dict[str, DeliveredObject] = {}
        self._storage = storage
        self._wanted = wanted
        self._counts = counts
        self._on_damage = on_damage
        self._needles = wanted.query.needles()
        self._mysql_needles = wanted.query.shared_needles()

    def of(
        self, items: Iterable[DeliveredObject]
    ) -> Iterator[tuple[DeliveredObject, Iterator[Event]]]:
        """Each object and its events. What cannot be read is told, and the rest goes on."""
        for item, end in with_ends(self._storage, items):
            yield item, self._of_object(item, end)

    def _of_object(self, item: DeliveredObject, end: bytes) -> Iterator[Event]:
        self._counts.objects_read += 1
        yield from self._of_rows(item, end) if item.is_parquet else self._of_lines(item)

    def _of_rows(self, item: DeliveredObject, end: bytes) -> Iterator[Event]:
        from dastream.lake import parquet, rows  # noqa: PLC0415 - they need an extra

        query, order, limit, needs_entries = self._wanted
        filter = rows.RowFilter(query, rows.Cut(order, limit) if limit else None)
        file = ObjectFile(self._storage, item, end)
        found = parquet.read_rows(file, filter, needs_entries=needs_entries)
        try:
            for group in found:
                if group.events is None:
                    self._counts.events_skipped += group.number
                else:
                    self._counts.events += group.number
                    yield from group.events
            self._counts.matched += filter.left_out
        except parquet.WithoutEntriesError as error:
            if item.batch not in self.lines:
                self._tell(Damage(item.key, str(error)))
                return
            yield from self._of_lines(self.lines[item.batch])
        except DamageError as error:
            self._tell(Damage(item.key, str(error)))

    def _of_lines(self, item: DeliveredObject) -> Iterator[Event]:
        number = first_damaged = damaged = 0
        try:
            for number, delivered in read_lines(self._storage, item):
                self._counts.events += 1
                try:
                    event = self._event(delivered)
                except DamageError:
                    first_damaged, damaged = first_damaged or number, damaged + 1
                    continue
                if event is not None:
                    yield event
        except DamageError as error:
            self._tell(Damage(item.key, str(error), number + 1, None))
        if damaged:
            self._tell(Damage(item.key, "not a delivered line", first_damaged, damaged))

    def _event(self, delivered: bytes) -> Event | None:
        """The event of a line if it may match. Raises DamageError if the line is none of ours."""
        if not (delivered.startswith(b'{"eventId":"') and delivered.endswith(b"}")):
            raise DamageError("not a delivered line")
        needles = self._mysql_needles if _MYSQL in delivered else self._needles
        return read_event(delivered) if may_match(delivered, needles) else None

    def _tell(self, damage: Damage) -> None:
        self._counts.damages += 1
        self._on_damage(damage)
