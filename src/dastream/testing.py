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
from dastream.record import BatchName, EventBatch, Record, RecordBatch, is_reached
from dastream.sources import BatchLimits
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

    def batches(self, progress: Mapping[str, str]) -> Iterator[RecordBatch]:
        for shard in self._shards:
            yield from self._shard_batches(shard, progress.get(shard))

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None:
        """Nothing to let go of."""

    def _shard_batches(self, shard: str, after: str | None) -> Iterator[RecordBatch]:
        batcher = Batcher(self.stream, shard, after, _NO_LIMITS)
        for count, record in enumerate(self._unread(shard, after), start=1):
            if self._is_stopped:
                break
            batcher.add(record)
            if count % self._batch_records_max == 0:
                yield from batcher.rest()
        yield from batcher.rest()

    def _unread(self, shard: str, after: str | None) -> Iterator[Record]:
        for record in self._shards[shard]:
            assert record.position is not None, "checked when it was given"
            if after is None or not is_reached(record.position.sequence, by=after):
                yield record


_NO_LIMITS = BatchLimits(flush_bytes_max=1 << 62, flush_age_seconds_max=float("inf"))


class MemorySink:
    """Keeps batches by their names, in the order in which they came. The first one wins."""

    def __init__(self) -> None:
        self.batches: dict[BatchName, EventBatch] = {}

    @property
    def events(self) -> list[Event]:
        """The events of all batches."""
        return [event for batch in self.batches.values() for event in batch.events]

    def extent(self, name: BatchName) -> str | None:
        held = self.batches.get(name)
        return held.through if held else None

    def deliver(self, batch: EventBatch) -> None:
        held = self.batches.setdefault(batch.name, batch)
        if (held.through, held.digest) != (batch.through, batch.digest):
            raise SinkError("memory sink: the batch's name holds other records")

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
