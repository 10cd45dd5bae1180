"""The dead letters of a lake as a table: its own, and what Firehose could not transform."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa

from dastream.lake.reader import DamageError, read_lines
from dastream.storage import Storage, StoredObject

__all__ = ["DeadLetterTable"]

_SCHEMA = pa.schema(
    [
        ("stream", pa.string()),
        ("shard_id", pa.string()),
        ("sequence_number", pa.string()),
        ("arrival_time", pa.timestamp("us")),
        ("error", pa.string()),
        ("reason", pa.string()),
        ("data", pa.string()),
        ("cluster", pa.string()),
        ("day", pa.date32()),
    ]
)
_ROWS = 64
_PLACE = re.compile(r"(?:^|.*/)cluster=([^/]*)/day=([^/]*)/[^/]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Letter(msgspec.Struct):
    """A line as the lake has it (`dastream.dead_letter`), or as Firehose has it.

    Source for the second: Amazon Data Firehose Developer Guide, "Handle failure in data
    transformation".
    """

    stream: str | None = None
    shardId: str | None = None  # noqa: N815 - as it is spelled there
    sequenceNumber: str | None = None  # noqa: N815 - the same
    arrivalTime: datetime | None = None  # noqa: N815 - the same
    error: str | None = None
    reason: str | None = None
    data: str | None = None
    arrivalTimestamp: int | None = None  # noqa: N815 - the same
    errorCode: str | None = None  # noqa: N815 - the same
    errorMessage: str | None = None  # noqa: N815 - the same
    rawData: str | None = None  # noqa: N815 - the same


_decode = msgspec.json.Decoder(_Letter).decode


class DeadLetterTable:
    """Read anew by everyone who asks for it. `data` is the record's bytes in base64.

    What cannot be read is told to `on_damage`, by the object's key and the reason.
    """

    def __init__(
        self,
        storage: Storage,
        items: Sequence[StoredObject],
        on_damage: Callable[[str, str], None],
    ) -> None:
        self._storage = storage
        self._items = items
        self._on_damage = on_damage

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's C stream, which DuckDB asks for."""
        reader = pa.RecordBatchReader.from_batches(_SCHEMA, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows = self._rows()
        while some := list(islice(rows, _ROWS)):
            yield pa.RecordBatch.from_pylist(some, schema=_SCHEMA)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for item in self._items:
            place = _place(item)
            try:
                for number, text in read_lines(self._storage, item):
                    try:
                        yield _row(_decode(text)) | place
                    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
                        self._on_damage(item.key, f"line {number}: not a dead letter")
            except DamageError as error:
                self._on_damage(item.key, str(error))


def _place(item: StoredObject) -> dict[str, Any]:
    """What the folder says; Firehose's says nothing of a stream."""
    if folder := _PLACE.fullmatch(item.key):
        try:
            return {"cluster": folder[1], "day": date.fromisoformat(folder[2])}
        except ValueError:
            return {"cluster": folder[1]}
    return {}


def _row(letter: _Letter) -> dict[str, Any]:
    arrival = letter.arrivalTime
    if letter.arrivalTimestamp is not None:
        arrival = _EPOCH + timedelta(milliseconds=letter.arrivalTimestamp)
    return {
        "stream": letter.stream,
        "shard_id": letter.shardId,
        "sequence_number": letter.sequenceNumber,
        "arrival_time": arrival,
        "error": letter.error or letter.errorCode,
        "reason": letter.reason or letter.errorMessage,
        "data": letter.data or letter.rawData,
    }
