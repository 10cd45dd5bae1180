"""What travels from a source to a sink: positions, records and the two kinds of batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dastream.errors import RecordError

if TYPE_CHECKING:
    from dastream.event import Event

__all__ = [
    "DAY_MS",
    "RECORD_OVERHEAD_BYTES",
    "SHARD_END",
    "BatchName",
    "DeadLetter",
    "DeadSpan",
    "EventBatch",
    "Extent",
    "Gap",
    "Position",
    "Record",
    "RecordBatch",
    "digest",
    "is_reached",
    "iso_time",
    "memory_bytes",
    "utc_day",
]

DAY_MS = 86_400_000
"""A UTC day, which has no leap second on a computer's clock."""

_DEAD_BEFORE = "record: it did not decode when its batch was first delivered; it may now"

SHARD_END = "SHARD_END"
"""The sequence number of a shard's end: a shard through `SHARD_END` has nothing more to give."""


class Position(NamedTuple):
    """Where a record lies: stream name, shard id and the decimal sequence number."""

    stream: str
    shard: str
    sequence: str


class Record(NamedTuple):
    """One Kinesis record: its bytes, where it lay, and when it arrived.

    `arrival_ms` is Kinesis' approximate arrival time in milliseconds since 1970, UTC. Position
    and arrival are None on a path that does not know them (`dastream decode` from a file).
    """

    data: bytes
    position: Position | None = None
    arrival_ms: int | None = None


RECORD_OVERHEAD_BYTES = 400
"""What a record takes in memory beside its data, measured; that may be a single byte."""


def memory_bytes(records: Iterable[Record]) -> int:
    """What records take in memory, about."""
    return sum(RECORD_OVERHEAD_BYTES + len(record.data) for record in records)


class DeadLetter(NamedTuple):
    """A record kept as its original bytes, and the error that made it undeliverable."""

    record: Record
    error: RecordError


class DeadSpan(NamedTuple):
    """Dead letters that follow one another, by the first and the last sequence number."""

    first: str
    last: str


class Gap(NamedTuple):
    """What may be missing of a shard: records after `after` that expired before they were read.

    `until` is the first record that was found, or `SHARD_END` if none was; then the records of
    the shard's children may have expired, too. Arrival times are those of the records `after`
    and `until`, None where they are not known.
    """

    shard: str
    after: str
    until: str
    after_arrival_ms: int | None = None
    until_arrival_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one shard: from `after` (exclusive) to `through` (inclusive).

    `after` of a shard's first batch is the sequence number that the shard began with. `through`
    may be `SHARD_END`, and `records` may be empty then. All records of a batch arrived on one UTC
    day. `gap` is what may be missing between `after` and the first record.
    """

    stream: str
    shard: str
    after: str
    through: str
    records: tuple[Record, ...]
    gap: Gap | None = None

    @property
    def start(self) -> str:
        """Where the batch starts, as the objects made from it are named."""
        return f"after-{self.after}"

    def split(self, through: str) -> tuple[RecordBatch, RecordBatch | None]:
        """Cut after the record at `through`; the second part is None if nothing is left."""
        if is_reached(self.through, by=through):
            return self, None
        held = tuple(r for r in self.records if is_reached(_sequence(r), by=through))
        left = RecordBatch(self.stream, self.shard, self.after, through, held, self.gap)
        rest = self.records[len(held) :]
        return left, RecordBatch(self.stream, self.shard, through, self.through, rest)

    def last(self, count: int) -> RecordBatch:
        """The same batch with only so many of its records, the last ones."""
        records = self.records[max(0, len(self.records) - count) :]
        return replace(self, records=records)

    def joined(self, later: RecordBatch) -> RecordBatch:
        """This batch and the one that follows it, as one."""
        records = self.records + later.records
        gap = self.gap or later.gap
        return RecordBatch(self.stream, self.shard, self.after, later.through, records, gap)


class BatchName(NamedTuple):
    """What names a batch, and every object made from it.

    `resource_id` is the cluster or instance whose stream it is, `day` the UTC day on which its
    records arrived (YYYY-MM-DD), `start` where it starts (`RecordBatch.start`).
    """

    resource_id: str
    day: str
    shard: str
    start: str


class Extent(NamedTuple):
    """How much a sink holds of a batch: where it goes, and whether all of it is there.

    `records` is how many records the batch was made from.
    """

    through: str
    records: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What a `RecordBatch` became: the events to deliver for the same range, as one unit.

    It was made from `records`, of which `digest` is the digest; `dropped` counts events by the
    transform that dropped them. `has_gap` is whether some of its records may have expired before
    they were read, `is_again` whether sinks may hold some of it already.
    """

    name: BatchName
    through: str
    records: Sequence[Record]
    digest: str
    events: tuple[Event, ...]
    dropped: Mapping[str, int]
    dead_letters: tuple[DeadLetter, ...]
    has_gap: bool = False
    is_again: bool = False

    @property
    def dead_spans(self) -> list[DeadSpan]:
        """The records that are dead letters, in spans of records that follow one another."""
        dead = {letter.record.position for letter in self.dead_letters}
        spans: list[DeadSpan] = []
        is_in_span = False
        for record in self.records:
            if record.position in dead:
                first = spans.pop().first if is_in_span else _sequence(record)
                spans.append(DeadSpan(first, _sequence(record)))
            is_in_span = record.position in dead
        return spans

    def settled(self, dead_spans: Iterable[DeadSpan]) -> EventBatch:
        """This batch with the dead letters that its first delivery had.

        A record that decodes now is a dead letter none the less: no event of it was delivered.
        """
        spans = [(int(first), int(last)) for first, last in dead_spans]
        dead = [record for record in self.records if _is_in(int(_sequence(record)), spans)]
        now = {letter.record.position: letter for letter in self.dead_letters}
        letters = (now.get(r.position) or DeadLetter(r, RecordError(_DEAD_BEFORE)) for r in dead)
        positions = {record.position for record in dead}
        events = (event for event in self.events if event.origin.position not in positions)
        return replace(self, events=tuple(events), dead_letters=tuple(letters))

    def is_held_as(self, through: str, digest: str) -> bool:
        """Whether what is held under this batch's name is this batch.

        One with a gap was made when none of its records had expired, so it had another digest.
        """
        return through == self.through and (self.has_gap or digest == self.digest)


def is_reached(sequence: str, *, by: str) -> bool:
    """Whether a reader that is through position `by` has `sequence` behind it."""
    if by == SHARD_END or sequence == by:
        return True
    return sequence != SHARD_END and int(sequence) <= int(by)


def digest(records: Iterable[Record]) -> str:
    """A hex SHA-256 over positions and bytes: equal for the same records, and only for them."""
    hasher = hashlib.sha256()
    for record in records:
        hasher.update(f"{_sequence(record)} {len(record.data)} ".encode())
        hasher.update(record.data)
    return hasher.hexdigest()


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, as all here


def iso_time(time_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC: `2026-11-23T07:28:05.123Z`."""
    second, ms = divmod(time_ms, 1000)
    return f"{_iso_second(second)}.{ms:03d}Z"


@lru_cache(maxsize=1024)
def _iso_second(second: int) -> str:
    """Records come many a second."""
    return (_EPOCH + timedelta(seconds=second)).isoformat()


def utc_day(arrival_ms: int) -> str:
    """The UTC day of an arrival time, as YYYY-MM-DD."""
    return _day(arrival_ms // DAY_MS)


@lru_cache(maxsize=64)
def _day(day: int) -> str:
    return iso_time(day * DAY_MS)[:10]


def _is_in(sequence: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(first <= sequence <= last for first, last in spans)


def _sequence(record: Record) -> str:
    return record.position.sequence if record.position else ""
