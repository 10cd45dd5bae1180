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
from dastream.errors import DecryptError, KeyServiceError, RecordError, SinkError
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
"""Records in a row that do not decrypt, before a run stops: no accident does that."""

EVENT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of entries that are held in memory before they are delivered."""


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

    `resource_id` is the cluster or instance whose stream it is. A batch whose events come to
    `event_bytes_max` is delivered in parts.
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
        event_bytes_max: int = EVENT_BYTES_MAX,
    ) -> None:
        self.counters = Counters()
        self._source = source
        self._decode = decode
        self._transforms = transforms
        self._sinks = sinks
        self._checkpoints = checkpoints
        self._resource_id = resource_id
        self._event_bytes_max = event_bytes_max
        self._is_stopped = False
        self._refused_in_a_row = 0

    def run(self) -> Counters:
        """Run until the source ends. Raises ServiceError, also if all records are refused."""
        progress = self._checkpoints.progress(self._source.stream)
        resumption = _Resumption(self._held)
        for read in self._source.batches(progress):
            for batch, is_held in resumption(read):
                self._deliver(batch, whole=is_held)
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

    def _deliver(self, batch: RecordBatch, *, whole: bool) -> None:
        rest: RecordBatch | None = batch
        while rest is not None:
            batch, part, rest = self._part(rest, whole=whole)
            if batch.records:
                delivery = self._event_batch(batch, part)
                for sink in self._sinks:
                    sink.deliver(delivery)
                self._count(batch, delivery)
            self._checkpoints.commit(batch.stream, batch.shard, batch.through)

    def _part(
        self, batch: RecordBatch, *, whole: bool
    ) -> tuple[RecordBatch, _Part, RecordBatch | None]:
        """As much of a batch as memory is for, what it became, and what is left of the batch.

        A record may decompress to a hundred times its size, so bytes on the wire are no bound.
        """
        part = _Part()
        for record in batch.records:
            self._add(record, part)
            if part.event_bytes >= self._event_bytes_max and not whole:
                assert record.position is not None, "a stream's record has a position"
                first, rest = batch.split(record.position.sequence)
                return first, part, rest
        return batch, part, None

    def _add(self, record: Record, part: _Part) -> None:
        dropped: Counter[str] = Counter()
        try:
            events = apply(self._transforms, self._decoded(record), dropped)
        except RecordError as error:
            part.dead_letters.append(DeadLetter(record, _bare(error)))
            return
        part.dropped += dropped
        part.events += events
        part.event_bytes += sum(len(event.entry) for event in events)

    def _decoded(self, record: Record) -> list[Event]:
        try:
            events = self._decode(record)
        except DecryptError as error:
            self._refused_in_a_row += 1
            if self._refused_in_a_row < REFUSED_RECORDS_MAX:
                raise
            raise KeyServiceError(
                f"decrypt: {self._refused_in_a_row} records in a row did not open: {error}",
                hint="the resource id or the KMS key is not that of this stream, or its messages "
                "are of a new kind",
            ) from None
        self._refused_in_a_row = 0
        return events

    def _event_batch(self, batch: RecordBatch, part: _Part) -> EventBatch:
        return EventBatch(
            name=self._name(batch),
            through=batch.through,
            records=len(batch.records),
            digest=digest(batch.records),
            events=tuple(part.events),
            dropped=part.dropped,
            dead_letters=tuple(part.dead_letters),
        )

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
        counters = self.counters
        counters.records += delivery.records
        counters.record_bytes += sum(len(record.data) for record in batch.records)
        counters.events += len(delivery.events)
        # New counters, not changed ones: a thread that shows progress may be reading the old.
        counters.dropped = counters.dropped + Counter(delivery.dropped)
        counters.dead_letters = counters.dead_letters + Counter(
            type(letter.error).__name__ for letter in delivery.dead_letters
        )


@dataclass
class _Part:
    """What the records of a batch have become so far."""

    events: list[Event] = field(default_factory=list)
    event_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: list[DeadLetter] = field(default_factory=list)


def _bare(error: RecordError) -> RecordError:
    """The error without what led to it: frames and causes hold the record's content."""
    error.__context__ = None
    return error.with_traceback(None)


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

    def __call__(self, batch: RecordBatch) -> Iterator[tuple[RecordBatch, bool]]:
        """The same records as batches, each with whether sinks hold it already."""
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
                yield again, True
        if rest is not None:
            yield rest, False

    def _gathered(self, batch: RecordBatch) -> tuple[RecordBatch, str | None]:
        if batch.shard not in self._waiting:
            return batch, self._held(batch)
        earlier, extent = self._waiting.pop(batch.shard)
        return earlier.joined(batch), extent
