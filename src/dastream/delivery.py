"""From a batch of records to what every sink holds: decode, transform, deliver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dastream.errors import DecryptError, KeyServiceError, RecordError, SinkError
from dastream.event import Event
from dastream.record import (
    BatchName,
    DeadLetter,
    EventBatch,
    Record,
    RecordBatch,
    digest,
    utc_day,
)
from dastream.sinks import Sink
from dastream.transforms import NamedTransform, apply

__all__ = ["Deliverer", "Delivery"]

REFUSED_RECORDS_MAX = 100
"""Records in a row that do not decrypt, before a run stops."""

EVENT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of entries that are held in memory before they are delivered."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the records through a position, all of which every sink holds.

    `dropped` counts events by transform, `dead_letters` records by error.
    """

    through: str
    records: int = 0
    record_bytes: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)


class Deliverer:
    """Brings batches of records through decode and transforms into sinks.

    `resource_id` is the cluster or instance whose stream it is. A batch whose events come to
    `event_bytes_max` is delivered in parts. When `refused_records_max` records in a row do not
    decrypt, it stops, since no accident does that; None goes on, and each is a dead letter.
    """

    def __init__(
        self,
        decode: Callable[[Record], list[Event]],
        transforms: Sequence[NamedTransform],
        sinks: Sequence[Sink],
        *,
        resource_id: str,
        event_bytes_max: int = EVENT_BYTES_MAX,
        refused_records_max: int | None = REFUSED_RECORDS_MAX,
    ) -> None:
        self._decode = decode
        self._transforms = transforms
        self._sinks = sinks
        self._resource_id = resource_id
        self._event_bytes_max = event_bytes_max
        self._refused_records_max = refused_records_max
        self._refused_in_a_row = 0

    def __call__(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """Deliver a batch, as one if it is to stay `whole`, and tell of each part of it.

        Raises ServiceError, also if record after record is refused.
        """
        rest: RecordBatch | None = batch
        while rest is not None:
            batch, part, rest = self._part(rest, whole=whole)
            if batch.records:
                yield self._deliver(batch, part)
            else:
                yield Delivery(batch.through)

    def extent(self, batch: RecordBatch) -> str | None:
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
            most = self._refused_records_max
            if most is None or self._refused_in_a_row < most:
                raise
            raise KeyServiceError(
                f"decrypt: {self._refused_in_a_row} records in a row did not open: {error}",
                hint="the resource id or the KMS key is not that of this stream, or its messages "
                "are of a new kind",
            ) from None
        self._refused_in_a_row = 0
        return events

    def _deliver(self, batch: RecordBatch, part: _Part) -> Delivery:
        events = EventBatch(
            name=self._name(batch),
            through=batch.through,
            records=len(batch.records),
            digest=digest(batch.records),
            events=tuple(part.events),
            dropped=part.dropped,
            dead_letters=tuple(part.dead_letters),
        )
        for sink in self._sinks:
            sink.deliver(events)
        return Delivery(
            through=batch.through,
            records=events.records,
            record_bytes=sum(len(record.data) for record in batch.records),
            events=len(events.events),
            dropped=part.dropped,
            dead_letters=Counter(type(letter.error).__name__ for letter in part.dead_letters),
        )

    def _name(self, batch: RecordBatch) -> BatchName:
        arrival_ms = batch.records[0].arrival_ms
        assert arrival_ms is not None, "a stream's record has an arrival time"
        return BatchName(self._resource_id, utc_day(arrival_ms), batch.shard, batch.start)


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
