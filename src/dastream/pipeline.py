"""The only loop: read, decode, transform, deliver, commit.

What it holds to:

1. A range is committed only after every sink's `deliver` returned.
2. Every record is delivered, dropped by a named and counted transform, or a dead letter.
3. A batch that was delivered but not committed when a run ended is formed again with the same
   extent, so that its sinks find it and nothing is delivered twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dastream.checkpoint import Checkpoints
from dastream.decode import Decoder
from dastream.errors import ConfigError, DecryptError, RecordError, SinkError
from dastream.event import Event
from dastream.record import (
    BatchName,
    DeadLetter,
    EventBatch,
    Record,
    RecordBatch,
    digest,
    is_reached,
    utc_day,
)
from dastream.sinks import Sink
from dastream.sources import Source
from dastream.transforms import NamedTransform, apply

__all__ = ["Counters", "Pipeline"]

REFUSED_RECORDS_MAX = 100
"""Records that do not decrypt, one after another, before a run stops: no accident does that."""


@dataclass
class Counters:
    """What has been committed so far. `dropped` by transform, `dead_letters` by error."""

    records: int = 0
    record_bytes: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)


class Pipeline:
    """Moves one stream from a source through decode and transforms into sinks.

    `resource_id` is the cluster or instance whose stream it is.
    """

    def __init__(
        self,
        source: Source,
        decode: Decoder,
        transforms: Sequence[NamedTransform],
        sinks: Sequence[Sink],
        checkpoints: Checkpoints,
        *,
        resource_id: str,
    ) -> None:
        self.counters = Counters()
        self._source = source
        self._decode = decode
        self._transforms = transforms
        self._sinks = sinks
        self._checkpoints = checkpoints
        self._resource_id = resource_id
        self._is_stopped = False
        self._refused_in_a_row = 0

    def run(self) -> Counters:
        """Run until the source ends. Raises ServiceError; ConfigError if no record decrypts."""
        progress = self._checkpoints.progress(self._source.stream)
        resumption = _Resumption(self._held)
        for read in self._source.batches(progress):
            for batch in resumption(read):
                self._deliver(batch)
        if resumption.is_waiting and not self._is_stopped:
            raise SinkError(
                "sink: a batch is held further than the stream reaches",
                hint="the stream was recreated or its records expired: deliver to another place",
            )
        return self.counters

    def stop(self) -> None:
        """Deliver what has been read and return from `run`. For signal handlers and threads."""
        self._is_stopped = True
        self._source.stop()

    def _deliver(self, batch: RecordBatch) -> None:
        if batch.records:
            delivery = self._transformed(batch)
            for sink in self._sinks:
                sink.deliver(delivery)
            self._count(batch, delivery)
        self._checkpoints.commit(batch.stream, batch.shard, batch.through)

    def _transformed(self, batch: RecordBatch) -> EventBatch:
        events: list[Event] = []
        dropped: Counter[str] = Counter()
        dead_letters: list[DeadLetter] = []
        for record in batch.records:
            try:
                events += self._events(record, dropped)
            except RecordError as error:
                dead_letters.append(DeadLetter(record, error.with_traceback(None)))
        return EventBatch(
            name=self._name(batch),
            through=batch.through,
            records=len(batch.records),
            digest=digest(batch.records),
            events=tuple(events),
            dropped=dropped,
            dead_letters=tuple(dead_letters),
        )

    def _events(self, record: Record, dropped: Counter[str]) -> list[Event]:
        try:
            events = self._decode(record)
        except DecryptError as error:
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= REFUSED_RECORDS_MAX:
                raise ConfigError(
                    f"decrypt: {self._refused_in_a_row} records in a row did not open: {error}",
                    hint="the resource id or the KMS key is not that of this stream",
                ) from None
            raise
        self._refused_in_a_row = 0
        dropped_here: Counter[str] = Counter()
        kept = apply(self._transforms, events, dropped_here)
        dropped += dropped_here
        return kept

    def _held(self, batch: RecordBatch) -> str | None:
        """How far the sinks hold the batch that starts where this one does."""
        if not batch.records:
            return None
        name = self._name(batch)
        extents = {sink.extent(name) for sink in self._sinks} - {None}
        if len(extents) > 1:
            raise SinkError(
                "sink: the sinks hold different batches under one name",
                hint="deliver to places that were filled together, or to new ones",
            )
        return extents.pop() if extents else None

    def _name(self, batch: RecordBatch) -> BatchName:
        arrival_ms = batch.records[0].arrival_ms
        assert arrival_ms is not None, "a stream's record has an arrival time"
        return BatchName(self._resource_id, utc_day(arrival_ms), batch.shard, batch.start)

    def _count(self, batch: RecordBatch, delivery: EventBatch) -> None:
        self.counters.records += delivery.records
        self.counters.record_bytes += sum(len(record.data) for record in batch.records)
        self.counters.events += len(delivery.events)
        self.counters.dropped.update(delivery.dropped)
        self.counters.dead_letters.update(
            type(letter.error).__name__ for letter in delivery.dead_letters
        )


class _Resumption:
    """Gives the first batches of each shard the extent that sinks already hold.

    A run that ended between delivery and commit left a batch under the name that the shard's
    first batch now has. Records are gathered until they reach as far as that batch, and cut
    there. Once nothing is held from a start, nothing further on is.
    """

    def __init__(self, held: Callable[[RecordBatch], str | None]) -> None:
        self._held = held
        self._waiting: dict[str, tuple[RecordBatch, str]] = {}
        self._settled: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def __call__(self, batch: RecordBatch) -> Iterator[RecordBatch]:
        rest: RecordBatch | None = batch
        while rest is not None and rest.shard not in self._settled:
            rest, extent = self._gathered(rest)
            if extent is None:
                self._settled.add(rest.shard)
            elif not is_reached(extent, by=rest.through):
                self._waiting[rest.shard] = (rest, extent)
                return
            else:
                again, rest = rest.split(extent)
                yield again
        if rest is not None:
            yield rest

    def _gathered(self, batch: RecordBatch) -> tuple[RecordBatch, str | None]:
        if batch.shard not in self._waiting:
            return batch, self._held(batch)
        earlier, extent = self._waiting.pop(batch.shard)
        return earlier.joined(batch), extent
