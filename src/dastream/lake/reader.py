"""Delivered objects, found and read: the lake's layout and Firehose's.

::

    events/cluster=ID/day=YYYY-MM-DD/NAME.jsonl.gz     the lake (`dastream.sinks.lake`)
    events/cluster=ID/day=YYYY-MM-DD/NAME.parquet      the same events (`dastream.sinks.parquet`)
    [PREFIX]YYYY/MM/DD/HH/NAME[.gz]                    Firehose, its default S3 prefix

A delivery stream of `deploy/template.yaml` writes into the folders of the first, under its own
names: STREAM-VERSION-YYYY-MM-DD-HH-MM-SS-RANDOM (the same guide, "Amazon S3 object name format").
All but Parquet files hold the same lines (`dastream.line`). All of it may lie below one root,
and one root may be any directory above them. Whatever else lies there is left alone. Source for
the last: Amazon Data Firehose Developer Guide, "Custom prefixes for Amazon S3 objects": the
folder is the UTC hour in which the oldest record of the object arrived.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import msgspec

from dastream import line
from dastream.event import Engine, Event, Origin
from dastream.format.engines import ENGINES, common
from dastream.record import Position
from dastream.sinks.formats import JSON_LINES, PARQUET
from dastream.storage import Storage, StoredObject

__all__ = [
    "DamageError",
    "DeliveredObject",
    "is_dead_letter",
    "milliseconds",
    "once",
    "origin",
    "read_event",
    "read_lines",
    "recognise",
]

OBJECT_BYTES_MAX = 1 << 30
"""Compressed size. Firehose buffers up to 128 MiB; a lake's object is smaller."""

LINE_BYTES_MAX = 128 << 20
"""Twice what a payload may have, which holds every line that was made from one."""

PARQUET_SUFFIX = f".{PARQUET.suffix}"
LINES_SUFFIX = f".{JSON_LINES.suffix}"

INFLATED_BYTES_MAX = 16 << 30
"""What an object may decompress to: more than the largest one does at a tenth of its size."""

_PIECE_BYTES_MAX = 1 << 20
_INPUT_BYTES = 64 << 10
_GZIP = zlib.MAX_WBITS | 16
_GZIP_MAGIC = b"\x1f\x8b"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)

_DAY_FOLDER = re.compile(r"day=(\d{4}-\d\d-\d\d)", re.ASCII)
_HOUR_FOLDERS = re.compile(r"(\d{4})/(\d\d)/(\d\d)/(\d\d)", re.ASCII)
_FIREHOSE_NAME = re.compile(r"-\d{4}(?:-\d\d){5}-[^/]+$", re.ASCII)
_DEAD_LETTER_FOLDERS = frozenset({"dead-letter", "processing-failed"})
_OTHER_FOLDERS = _DEAD_LETTER_FOLDERS | {"findings", "digests"}
_OTHER_NAME = re.compile(
    r"[._].*|.*\.(?!(?:gz|json|jsonl|ndjson|parquet)$)[A-Za-z0-9]{1,8}", re.DOTALL
)


class DamageError(ValueError):
    """An object, or one line of it, is not as it was delivered. Its text names no content."""


class DeliveredObject(NamedTuple):
    """An object of events: its records arrived from `from_us` to before `until_us`, UTC."""

    key: str
    size: int
    from_us: int
    until_us: int

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file; it holds JSON lines otherwise."""
        return self.key.endswith(PARQUET_SUFFIX)

    @property
    def is_delivered_once(self) -> bool:
        """Whether none of its events is in another object: so in the lake, not with Firehose.

        A delivery stream that partitions by keys writes into the lake's folders, too; what it
        wrote is told by its name, which ends in a time and something random.
        """
        folder, name = self.key.split("/")[-2:]
        return bool(_DAY_FOLDER.fullmatch(folder) and not _FIREHOSE_NAME.search(name))

    @property
    def batch(self) -> str:
        """What the objects of one batch share, be they JSON lines or Parquet."""
        return self.key.removesuffix(PARQUET_SUFFIX).removesuffix(LINES_SUFFIX)


def recognise(stored: StoredObject) -> DeliveredObject | None:
    """The stored object as a delivered one; None for dead letters and whatever else lies there."""
    *folders, name = stored.key.split("/")
    if _OTHER_NAME.fullmatch(name) or any(map(_is_other_folder, folders)):
        return None
    if name.endswith(PARQUET_SUFFIX) and not _DAY_FOLDER.fullmatch("".join(folders[-1:])):
        return None  # Firehose writes such files too, but with other columns
    try:
        span = _arrival(folders)
    except ValueError:  # 2026/13/01/00 is no hour
        return None
    return DeliveredObject(*stored, *span) if span else None


def once(items: Sequence[DeliveredObject]) -> list[DeliveredObject]:
    """The objects without the JSON lines of batches that were delivered in both formats."""
    in_parquet = {item.batch for item in items if item.is_parquet}
    return [item for item in items if item.is_parquet or item.batch not in in_parquet]


def is_dead_letter(stored: StoredObject) -> bool:
    """Whether a stored object holds dead letters, the lake's, Firehose's or Lambda's.

    Source for the last: AWS Lambda Developer Guide, "Retain discarded batch records for a Kinesis
    Data Streams event source": objects are named `aws/lambda/MAPPING/SHARD/YYYY/MM/DD/…`.
    """
    folders = stored.key.split("/")[:-1]
    is_of_lambda = ("aws", "lambda") in pairwise(folders)
    return is_of_lambda or not _DEAD_LETTER_FOLDERS.isdisjoint(folders)


def _is_other_folder(folder: str) -> bool:
    return folder in _OTHER_FOLDERS or folder.startswith(("_", "."))


def _arrival(folders: list[str]) -> tuple[int, int] | None:
    """When the records arrived, by the folder: from and until in microseconds since 1970."""
    if folders and (day := _DAY_FOLDER.fullmatch(folders[-1])):
        return _span(f"{day[1]}T00", timedelta(days=1))
    if hour := _HOUR_FOLDERS.fullmatch("/".join(folders[-4:])):
        return _span("{}-{}-{}T{}".format(*hour.groups()), timedelta(hours=1))
    return None


def _span(start: str, length: timedelta) -> tuple[int, int]:
    start_us = (datetime.fromisoformat(f"{start}:00:00Z") - _EPOCH) // _MICROSECOND
    return start_us, start_us + length // _MICROSECOND


def read_lines(
    storage: Storage, item: DeliveredObject | StoredObject
) -> Iterator[tuple[int, bytes]]:
    """The lines of an object of JSON lines with their numbers, from 1, decompressed in pieces.

    Empty lines are left out. A line of more than LINE_BYTES_MAX is given as an empty one, which
    every reader takes for damage; the lines after it are read.
    Raises DamageError where the object cannot be read on, after the lines before, and
    ServiceError if the storage fails.
    """
    if item.size > OBJECT_BYTES_MAX:
        raise DamageError(f"more than {OBJECT_BYTES_MAX} bytes")
    data = storage.get(item.key)
    if not data:
        raise DamageError("empty" if data is not None else "gone since it was listed")
    pieces = _inflate(data) if data.startswith(_GZIP_MAGIC) else _cut(data)
    for number, text in enumerate(_split(pieces), start=1):
        if text is None:
            yield number, b""
        elif text:
            yield number, text


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE_BYTES_MAX):
        yield data[start : start + _PIECE_BYTES_MAX]


def _inflate(data: bytes) -> Iterator[bytes]:
    """Pieces of the gzip members, of which Firehose may write several one after another."""
    size = 0
    for piece in _members(data):
        size += len(piece)
        if size > INFLATED_BYTES_MAX:
            raise DamageError(f"more than {INFLATED_BYTES_MAX} bytes, decompressed")
        yield piece


def _members(data: bytes) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP)
    for start in range(0, len(data), _INPUT_BYTES):
        rest = data[start : start + _INPUT_BYTES]
        while rest:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            try:
                yield member.decompress(rest, _PIECE_BYTES_MAX)
            except zlib.error:
                raise DamageError("the gzip data is damaged") from None
            rest = member.unconsumed_tail or member.unused_data
    if not member.eof:
        raise DamageError("the gzip data ends too early")


def _split(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines, None for one that is too long; a line in many pieces is put together once."""
    held, size = bytearray(), 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        size += len(first)
        if size <= LINE_BYTES_MAX:
            held += first
        if others:
            yield _whole(held, size)
            yield from others[:-1]
            held, size = bytearray(others[-1]), len(others[-1])
    yield _whole(held, size)


def _whole(held: bytearray, size: int) -> bytes | None:
    return bytes(held) if size <= LINE_BYTES_MAX else None


def read_event(delivered: bytes) -> Event:
    """The event of a delivered line. Raises DamageError if `line.write` did not make the line.

    A line does not name its stream, so the stream of the position is empty.
    """
    try:
        delivered.decode()  # members are passed on unread, so nothing else would look
        head, entry = line.parse(delivered)
        arrival_ms = milliseconds(head.arrivalTime)
    except (ValueError, TypeError, RecursionError):
        raise DamageError("not a delivered line") from None
    return Event(head.eventId, entry, origin(head, arrival_ms))


def origin(head: line.Head, arrival_ms: int | None) -> Origin:
    """Where an event came from, as its line or row says it."""
    name = head.engine or "unknown"
    has_position = head.shardId is not None and head.sequenceNumber is not None
    return Origin(
        engine=ENGINES.get(name) or Engine(name, common.columns),
        cluster_id=head.clusterId,
        instance_id=head.instanceId,
        position=Position("", str(head.shardId), str(head.sequenceNumber))
        if has_position
        else None,
        arrival_ms=arrival_ms,
        more=None if head.more is msgspec.UNSET else bytes(head.more),
    )


def milliseconds(time: str | None) -> int | None:
    """An arrival time in milliseconds since 1970. Raises TypeError if it names no zone."""
    return None if time is None else (datetime.fromisoformat(time) - _EPOCH) // _MILLISECOND
