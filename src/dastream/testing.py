"""Fakes at dastream's own interfaces, for tests of transforms, sinks and whole pipelines.

They keep everything in memory and hold to the same contracts as the real sources, sinks and
storages: one suite of tests runs over both. The fake among the checkpoint stores is
`dastream.checkpoint.MemoryCheckpoints`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from dastream.errors import SinkError
from dastream.event import Event
from dastream.notice import Notice
from dastream.record import (
    DAY_MS,
    BatchName,
    EventBatch,
    Extent,
    Record,
    RecordBatch,
    is_reached,
)
from dastream.sources import BatchLimits, StreamDescription
from dastream.sources.batcher import Batcher
from dastream.storage import StoredObject

__all__ = ["MemorySink", "MemorySource", "MemoryStorage"]


class MemorySource:
    """A source of given records, which ends when all have been read.

    Every record has a position in `stream` and an arrival time, and those of one shard are in
    order. A batch holds `batch_records_max` of them, or fewer.
    """

    def __init__(
        self, stream: str, records: Iterable[Record], *, batch_records_max: int = 100
    ) -> None:
        self.stream = stream
        self.lag_ms: Mapping[str, int] = {}
        self._batch_records_max = batch_records_max
        self._is_stopped = False
        self._shards: dict[str, list[Record]] = {}
        for record in records:
            assert record.position is not None, "a stream's record has a position"
            self._shards.setdefault(record.position.shard, []).append(record)

    def describe(self) -> StreamDescription:
        arrivals = [_arrival_ms(record) for shard in self._shards.values() for record in shard]
        return StreamDescription(
            created_ms=0,
            now_ms=max(arrivals, default=0),
            retention_ms=max(arrivals, default=0) - min(arrivals, default=0) + DAY_MS,
            start_ms=0,
            shards=dict.fromkeys(self._shards, BEGINNING),
        )

    def ahead(self) -> Iterable[Record] | None:
        return None  # the end tells soon

    def batches(
        self, progress: Mapping[str, str], start_ms: int = 0, lost_ms: int = 0
    ) -> Iterator[RecordBatch]:
        del lost_ms  # nothing expires here
        for shard, records in self._shards.items():
            after = progress.get(shard)
            skipped = 0 if after else sum(_arrival_ms(record) < start_ms for record in records)
            yield from self._shard_batches(shard, after or BEGINNING, records[skipped:])

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None:
        """Nothing to let go of."""

    def _shard_batches(
        self, shard: str, after: str, records: Iterable[Record]
    ) -> Iterator[RecordBatch]:
        batcher = Batcher(self.stream, shard, after, _NO_LIMITS)
        unread = (record for record in records if not is_reached(_sequence(record), by=after))
        for count, record in enumerate(unread, start=1):
            if self._is_stopped:
                break
            batcher.add(record)
            if count % self._batch_records_max == 0:
                yield from batcher.rest()
        yield from batcher.rest()


BEGINNING = "0"
"""The sequence number that every shard in memory began with."""

_NO_LIMITS = BatchLimits(flush_bytes_max=1 << 62, flush_age_seconds_max=float("inf"))


def _arrival_ms(record: Record) -> int:
    assert record.arrival_ms is not None, "a stream's record has an arrival time"
    return record.arrival_ms


def _sequence(record: Record) -> str:
    assert record.position is not None, "a stream's record has a position"
    return record.position.sequence


class MemorySink:
    """Keeps batches by their names, in the order in which they came. The first one wins."""

    def __init__(self) -> None:
        self.batches: dict[BatchName, EventBatch] = {}
        self.notices: dict[tuple[str, str], Notice] = {}

    @property
    def events(self) -> list[Event]:
        """The events of all batches."""
        return [event for batch in self.batches.values() for event in batch.events]

    def names(self, resource_id: str, day: str) -> Iterator[BatchName]:
        return (name for name in self.batches if (name.resource_id, name.day) == (resource_id, day))

    def holds(self, resource_id: str) -> bool:
        return any(name.resource_id == resource_id for name in self.batches)

    def extent(self, name: BatchName) -> Extent | None:
        held = self.batches.get(name)
        return Extent(held.through, len(held.records), is_whole=True) if held else None

    def deliver(self, batch: EventBatch) -> bool:
        held = self.batches.get(batch.name)
        if held is None:
            self.batches[batch.name] = batch
        elif not batch.is_held_as(held.through, held.digest):
            raise SinkError("memory sink: the batch's name holds other records")
        return held is None

    def notify(self, resource_id: str, notice: Notice) -> None:
        self.notices.setdefault((resource_id, notice.name), notice)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryStorage:
    """Keeps objects by their keys. May be shared between threads."""

    url = "memory:"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = data
            return True

    def get(self, key: str, bytes_max: int | None = None, *, start: int = 0) -> bytes | None:
        data = self.objects.get(key)
        return data if data is None else data[start:][:bytes_max]

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield StoredObject(key, len(self.objects[key]))
