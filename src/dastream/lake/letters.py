"""Dead letters found and read back: the lake's own, Firehose's and Lambda's.

::

    dead-letter/…        JSON lines of `dastream.dead_letter`
    processing-failed/…  JSON lines, the record in `rawData`, its arrival in milliseconds
    aws/lambda/…         one JSON object, the function's whole event as JSON text in `payload`

Sources for the second and the third: Amazon Data Firehose Developer Guide, "Handle failure in
data transformation"; AWS Lambda Developer Guide, "Retain discarded batch records for a Kinesis
Data Streams event source" and "Using Lambda to process records from Kinesis". Firehose does not
tell from where in the stream a record came.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from dastream.dead_letter import DeadLetterLine
from dastream.errors import NOT_JSON
from dastream.keys import STREAM_PREFIX, resource_id
from dastream.lake.reader import DamageError, is_dead_letter, milliseconds
from dastream.record import Position, Record
from dastream.settings import split_url
from dastream.storage import Storage, StoredObject, open_storage

__all__ = ["LetterObject", "find_letters", "parse_letters"]

_ARRIVAL_MS_MAX = 253_402_300_799_999
"""The end of the year 9999, after which there is no date."""


class LetterObject(NamedTuple):
    """An object of dead letters. `owner` is the resource id that its folder tells, or None."""

    storage: Storage
    item: StoredObject
    owner: str | None


def find_letters(url: str) -> Iterator[LetterObject]:
    """The objects of dead letters below a URL, or the one object that it names.

    Below a place only what lies in a folder of dead letters counts. Raises ConfigError for a URL
    that no storage has, and ServiceError if the storage fails.
    """
    url = url.rstrip("/") if "://" in url else Path(url).absolute().as_uri()
    parts = split_url(url)
    parent, _, name = unquote(parts.path).rpartition("/")
    if name:
        above = open_storage(parts._replace(path=parts.path.rpartition("/")[0] or "/").geturl())
        first = next(above.list(name), None)
        if first is not None and first.key == name:
            yield LetterObject(above, first, _owner(f"{parent}/{name}"))
            return
    place = open_storage(url)
    for item in place.list():
        path = f"{unquote(parts.path)}/{item.key}"
        if is_dead_letter(StoredObject(path, item.size)):
            yield LetterObject(place, item, _owner(path))


def _owner(path: str) -> str | None:
    """The cluster or instance that a folder `cluster=ID` names."""
    for folder in path.split("/")[:-1]:
        if folder.startswith("cluster="):
            return resource_id(STREAM_PREFIX + folder.removeprefix("cluster="))
    return None


def parse_letters(line: bytes) -> Iterator[Record]:
    """The records in a line of an object of dead letters, each with its arrival time.

    Raises DamageError if the line is of none of the three kinds, and then gives nothing.
    """
    try:
        records = list(_records(line))
    except (*NOT_JSON, ValueError, TypeError, OverflowError):
        raise DamageError("not a dead letter") from None
    yield from records


def _records(line: bytes) -> Iterator[Record]:
    kind = _decode_kind(line)
    if kind.payload is not msgspec.UNSET:
        yield from map(_of_lambda, _decode_event(kind.payload).records)
    elif kind.raw_data is not msgspec.UNSET:
        yield Record(_base64(kind.raw_data), None, _arrival_ms(kind.arrival_timestamp))
    else:
        yield _of_lake(_decode_own(line))


class _Kind(msgspec.Struct, rename="camel"):
    """What tells the kinds apart, and all that Firehose's has for us."""

    payload: str | msgspec.UnsetType = msgspec.UNSET
    raw_data: str | msgspec.UnsetType = msgspec.UNSET
    arrival_timestamp: int | str = ""


class _KinesisData(msgspec.Struct, rename="camel"):
    """`approximate_arrival_timestamp` is in seconds since 1970."""

    sequence_number: str
    data: str
    approximate_arrival_timestamp: float


class _EventRecord(msgspec.Struct):
    """One record of a function's event. `event_id` is the shard's id, a colon, the sequence."""

    kinesis: _KinesisData
    event_id: str = msgspec.field(name="eventID")
    source_arn: str = msgspec.field(name="eventSourceARN")


class _LambdaEvent(msgspec.Struct):
    """A function's event from a Kinesis event source mapping."""

    records: list[_EventRecord] = msgspec.field(name="Records")


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_own = msgspec.json.Decoder(DeadLetterLine).decode
_decode_event = msgspec.json.Decoder(_LambdaEvent).decode


def _of_lake(letter: DeadLetterLine) -> Record:
    position = None
    if letter.stream is not None and letter.shard_id is not None:
        position = Position(letter.stream, letter.shard_id, letter.sequence_number or "")
    return Record(_base64(letter.data), position, _arrival_ms(milliseconds(letter.arrival_time)))


def _of_lambda(record: _EventRecord) -> Record:
    stream = record.source_arn.rpartition("/")[2]
    shard = record.event_id.partition(":")[0]
    position = Position(stream, shard, record.kinesis.sequence_number)
    arrival_ms = round(record.kinesis.approximate_arrival_timestamp * 1000)
    return Record(_base64(record.kinesis.data), position, _arrival_ms(arrival_ms))


def _base64(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _arrival_ms(time_ms: int | str | None) -> int:
    """Raises ValueError if a letter does not tell when its record arrived."""
    arrival_ms = -1 if time_ms is None else int(time_ms)
    if not 0 <= arrival_ms <= _ARRIVAL_MS_MAX:
        raise ValueError("no time")
    return arrival_ms
