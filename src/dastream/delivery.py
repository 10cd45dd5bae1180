"""From a batch of records to what every sink holds: decode, transform, deliver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dastream import holdings
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.errors import DecryptError, EnvelopeError, RecordError
from dastream.event import Event
from dastream.holdings import Held
from dastream.keys import CachingUnwrap, open_unwrap
from dastream.notice import Notice
from dastream.record import (
    BatchName,
    DeadLetter,
    EventBatch,
    Extent,
    Record,
    RecordBatch,
    digest,
    utc_day,
)
from dastream.settings import Settings
from dastream.sinks import Sink, open_sink, require_entries
from dastream.sources import StreamDescription
from dastream.transforms import NamedTransform, apply, open_transforms

__all__ = ["EVENT_BYTES_MAX", "Deliverer", "Delivery", "DeliveryPlan", "memory_bytes"]

EVENT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of events that are held in memory before they are delivered."""

DEAD_SPANS_MAX = 100
"""Spans of dead letters in a batch: a receipt tells them, and has room for so many. In a batch
that must not be delivered in parts, all that follows is in the last span."""

LETTER_OVERHEAD_BYTES = 900
"""What a dead letter takes beside its record and its line, measured."""

EVENT_OVERHEAD_BYTES = 200
"""What an event takes beside its entry, measured; entries may be as short as `{}`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the records through a position, all of which every sink holds.

    `dropped` counts events by transform, `dead_letters` records by error, `key_hits` and
    `key_misses` the data keys that the cache had and that KMS was asked for. `arrival_ms` is that
    of the last record, `seen_ms` that of each instance's last one, before any transform.
    """

    through: str
    records: int = 0
    record_bytes: int = 0
    events: int = 0
    events_held: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    key_hits: int = 0
    key_misses: int = 0
    arrival_ms: int = 0
    seen_ms: Mapping[str, int] = field(default_factory=dict)


class Deliverer:
    """Brings batches of records through decode and transforms into sinks.

    `resource_id` is the cluster or instance whose stream it is, `key_cache` the unwrap of
    `decode` if it counts. A batch whose events come to `event_bytes_max` is delivered in parts.
    """

    def __init__(
        self,
        decode: Callable[[Record], list[Event]],
        transforms: Sequence[NamedTransform],
        sinks: Sequence[Sink],
        *,
        resource_id: str,
        key_cache: CachingUnwrap | None = None,
        event_bytes_max: int = EVENT_BYTES_MAX,
    ) -> None:
        self._decode = decode
        self._transforms = transforms
        self._sinks = sinks
        self._resource_id = resource_id
        self._key_cache = key_cache
        self._keys_told = 0, 0
        self._event_bytes_max = event_bytes_max

    def __call__(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """Deliver a batch, as one if it is to stay `whole`, and tell of each part of it.

        Raises ServiceError.
        """
        rest: RecordBatch | None = batch
        while rest is not None:
            delivery, rest = self._next(rest, whole=whole)
            yield delivery

    def again(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """Deliver a batch that another deliverer may have begun, and died before it told of it.

        What it left is formed again with the same extent, as a run does at its start.
        """
        rest: RecordBatch | None = batch
        if not whole and (held := self.extent(batch)):
            first, rest = batch.split(held.through)
            yield from self(first, whole=True)
        if rest is not None:
            yield from self(rest, whole=whole)

    def opens(self, record: Record) -> bool | None:
        """Whether a record decrypts, None where there is nothing to decrypt.

        Raises KeyServiceError.
        """
        try:
            self._decode(record)
        except DecryptError:
            return False
        except EnvelopeError:
            return None
        except RecordError:
            """It did, and what was in it is no activity."""
        return True

    def extent(self, batch: RecordBatch) -> Extent | None:
        """How much the sinks hold of the batch that starts where this one does.

        Raises SinkError.
        """
        return holdings.extent(self._sinks, self._name(batch)) if batch.records else None

    def held(self, stream: StreamDescription, shards: Iterable[str]) -> Iterator[Held]:
        """How far the sinks hold some shards. Raises SinkError."""
        return holdings.progress(self._sinks, self._resource_id, stream, shards)

    def holds_anything(self) -> bool:
        """Whether any sink holds anything of the stream, however old. Raises SinkError."""
        return any(sink.holds(self._resource_id) for sink in self._sinks)

    def notify(self, notice: Notice) -> None:
        """Bring a notice into every sink. Raises SinkError."""
        for sink in self._sinks:
            sink.notify(self._resource_id, notice)

    def close(self) -> None:
        """Close the sinks."""
        for sink in self._sinks:
            sink.close()

    def _next(self, batch: RecordBatch, *, whole: bool) -> tuple[Delivery, RecordBatch | None]:
        """Deliver a part of a batch, and let go of it before there is another one."""
        batch, part, rest = self._part(batch, whole=whole)
        if not batch.records:
            return Delivery(batch.through), rest
        return self._deliver(batch, part, is_again=whole), rest

    def _part(
        self, batch: RecordBatch, *, whole: bool
    ) -> tuple[RecordBatch, _Part, RecordBatch | None]:
        """As much of a batch as memory is for, what it became, and what is left of the batch.

        A record may decompress to a hundred times its size, so bytes on the wire are no bound.
        """
        part = _Part()
        for record in batch.records:
            self._add(record, part)
            if self._is_full(part) and not whole:
                assert record.position is not None, "a stream's record has a position"
                first, rest = batch.split(record.position.sequence)
                return first, part, rest
        return batch, part, None

    def _is_full(self, part: _Part) -> bool:
        is_listed = part.dead_spans >= DEAD_SPANS_MAX
        return is_listed or part.event_bytes >= self._event_bytes_max

    def _add(self, record: Record, part: _Part) -> None:
        try:
            _check_listable(part)
            decoded = self._decode(record)
            part.see(record, decoded)
            part.add(apply(self._transforms, decoded, part.dropped))
        except RecordError as error:
            part.add_letter(DeadLetter(record, _bare(error)))

    def _deliver(self, batch: RecordBatch, part: _Part, *, is_again: bool) -> Delivery:
        events = EventBatch(
            name=self._name(batch),
            through=batch.through,
            records=batch.records,
            digest=digest(batch.records),
            events=tuple(part.events),
            dropped=part.dropped,
            dead_letters=tuple(part.dead_letters),
            has_gap=batch.gap is not None,
            is_again=is_again,
        )
        stored = [sink.deliver(events) for sink in self._sinks]
        is_new = any(stored)
        hits, misses = self._keys_used()
        return Delivery(
            through=batch.through,
            records=len(batch.records),
            record_bytes=sum(len(record.data) for record in batch.records),
            events=len(events.events) if is_new else 0,
            events_held=0 if is_new else len(events.events),
            dropped=part.dropped,
            dead_letters=Counter(type(letter.error).__name__ for letter in part.dead_letters),
            key_hits=hits,
            key_misses=misses,
            arrival_ms=batch.records[-1].arrival_ms or 0,
            seen_ms=part.seen_ms,
        )

    def _keys_used(self) -> tuple[int, int]:
        """Hits and misses since this was asked last."""
        if self._key_cache is None:
            return 0, 0
        before, self._keys_told = self._keys_told, (self._key_cache.hits, self._key_cache.misses)
        return self._keys_told[0] - before[0], self._keys_told[1] - before[1]

    def _name(self, batch: RecordBatch) -> BatchName:
        arrival_ms = batch.records[0].arrival_ms
        assert arrival_ms is not None, "a stream's record has an arrival time"
        return BatchName(self._resource_id, utc_day(arrival_ms), batch.shard, batch.start)


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """What a deliverer is made from, in a form that can be handed to another process.

    `resource_id` is the cluster or instance whose stream it is, `region` that of its KMS key,
    None for the one that boto3 finds, `role_arn` a role that is assumed to use the key.
    """

    settings: Settings
    sink_urls: Sequence[str]
    resource_id: str
    region: str | None = None
    role_arn: str | None = None

    def open(self) -> Deliverer:
        """A deliverer with sinks, transforms and a key cache of its own. Raises ConfigError."""
        sinks = [open_sink(url) for url in self.sink_urls]
        require_entries(sinks)
        kms = open_client("kms", region=self.region, role_arn=self.role_arn)
        unwrap = open_unwrap(self.settings, kms)
        return Deliverer(
            Decoder.from_settings(self.settings, unwrap),
            open_transforms(self.settings.transforms),
            sinks,
            resource_id=self.resource_id,
            key_cache=unwrap,
        )


@dataclass
class _Part:
    """What the records of a batch have become so far."""

    events: list[Event] = field(default_factory=list)
    event_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    dead_spans: int = 0
    is_in_dead_span: bool = False
    seen_ms: dict[str, int] = field(default_factory=dict)

    def add(self, events: Sequence[Event]) -> None:
        """Add what became of the next record."""
        self.events += events
        self.event_bytes += memory_bytes(events)
        self.is_in_dead_span = False

    def add_letter(self, letter: DeadLetter) -> None:
        """Add the next record as a dead letter."""
        self.dead_letters.append(letter)
        self.event_bytes += LETTER_OVERHEAD_BYTES + 2 * len(letter.record.data)
        self.dead_spans += not self.is_in_dead_span
        self.is_in_dead_span = True

    def see(self, record: Record, events: Iterable[Event]) -> None:
        """Note that an instance was heard of, also by a heartbeat."""
        assert record.arrival_ms is not None, "a stream's record has an arrival time"
        for event in events:
            if event.origin.instance_id is not None:
                self.seen_ms[event.origin.instance_id] = record.arrival_ms
                return  # the events of one record are of one instance


def _check_listable(part: _Part) -> None:
    """Raise RecordError if a receipt has no room to tell of another span after this record."""
    if part.dead_spans >= DEAD_SPANS_MAX:
        raise RecordError("record: too many before it in its batch do not decode")


def memory_bytes(events: Sequence[Event]) -> int:
    """What the events of a record take in memory, about; each line has what else was in it."""
    more = len(events[0].origin.more or b"") if events else 0
    return sum([EVENT_OVERHEAD_BYTES + more + len(event.entry) for event in events])


def _bare(error: RecordError) -> RecordError:
    """The error without what led to it: frames and causes hold the record's content."""
    error.__context__ = None
    return error.with_traceback(None)
