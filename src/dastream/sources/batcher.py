"""Cutting the records of one shard into batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from dastream.record import (
    DAY_MS,
    RECORD_OVERHEAD_BYTES,
    SHARD_END,
    Gap,
    Record,
    RecordBatch,
)

__all__ = ["BatchLimits", "Batcher"]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is due: bytes of its records, or seconds since its first was read.

    `read_bytes_max` is how much memory the records that wait in all shards together may take:
    from then on the largest batch is due.
    """

    flush_bytes_max: int = 16 * 1024 * 1024
    flush_age_seconds_max: float = 60
    read_bytes_max: int = 128 * 1024 * 1024


class Batcher:
    """Gathers the records of one shard from `after` on; a batch ends with its UTC day, too."""

    def __init__(
        self,
        stream: str,
        shard: str,
        after: str,
        limits: BatchLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._shard = shard
        self._after = after
        self._limits = limits
        self._clock = clock
        self._full: list[RecordBatch] = []
        self._records: list[Record] = []
        self._gap: Gap | None = None
        self._bytes = 0
        self._since = 0.0

    @property
    def waiting_bytes(self) -> int:
        """What the records that are not due yet take in memory, about."""
        return self._bytes + RECORD_OVERHEAD_BYTES * len(self._records)

    @property
    def ahead(self) -> Iterator[Record]:
        """The records that are not given in a batch yet."""
        yield from chain.from_iterable(batch.records for batch in self._full)
        yield from self._records

    def add(self, record: Record, gap: Gap | None = None) -> None:
        """Take the shard's next record, and what may be missing before it."""
        if self._records and (gap or _day(record) != _day(self._records[0])):
            self._cut()
        self._gap = self._gap or gap
        if not self._records:
            self._since = self._clock()
        self._records.append(record)
        self._bytes += len(record.data)
        if self._bytes >= self._limits.flush_bytes_max:
            self._cut()

    def ready(self) -> Iterator[RecordBatch]:
        """The batches that are due."""
        if self._records and self._clock() - self._since >= self._limits.flush_age_seconds_max:
            self._cut()
        while self._full:
            yield self._full.pop(0)

    def rest(self) -> Iterator[RecordBatch]:
        """All that is left, due or not."""
        if self._records:
            self._cut()
        yield from self.ready()

    def end(self, gap: Gap | None = None) -> Iterator[RecordBatch]:
        """All that is left, and the end of the shard as a batch without records."""
        yield from self.rest()
        yield RecordBatch(self._stream, self._shard, self._after, SHARD_END, (), gap)

    def _cut(self) -> None:
        through = _sequence(self._records[-1])
        records = tuple(self._records)
        batch = RecordBatch(self._stream, self._shard, self._after, through, records, self._gap)
        self._full.append(batch)
        self._after, self._records, self._bytes, self._gap = through, [], 0, None


def _day(record: Record) -> int:
    assert record.arrival_ms is not None, "a stream's record has an arrival time"
    return record.arrival_ms // DAY_MS


def _sequence(record: Record) -> str:
    assert record.position is not None, "a stream's record has a position"
    return record.position.sequence
