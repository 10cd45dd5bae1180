"""The events of a Parquet file of the lake, as they were delivered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dastream import line
from dastream.event import Event
from dastream.lake.files import ObjectFile
from dastream.lake.reader import DamageError, DeliveredObject, origin
from dastream.sinks.table import ENTRY
from dastream.storage import Storage

__all__ = ["read_events"]

_ROWS = 4096
_NAMES = ("event_id", "cluster_id", "instance_id", "shard_id", "sequence_number", "arrival_time")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the column is in UTC, and does not say so


def read_events(storage: Storage, item: DeliveredObject) -> Iterator[Event]:
    """The events of a file in its order, some thousand at a time.

    Raises DamageError for what is no such file, or has been written without the entries, and
    ServiceError if the storage fails.
    """
    source = ObjectFile(storage, item)
    try:
        with pq.ParquetFile(pa.PythonFile(source, mode="r")) as file:
            if ENTRY not in file.schema_arrow.names:
                raise DamageError("written without the entries: search the JSON lines")
            for batch in file.iter_batches(_ROWS, columns=[*_NAMES, "engine", "more", ENTRY]):
                yield from map(_event, batch.to_pylist())
    except pa.ArrowException:
        raise DamageError("not a Parquet file, or damaged") from None


def _event(row: Mapping[str, Any]) -> Event:
    arrival = row["arrival_time"]
    head = line.Head(
        eventId=row["event_id"],
        clusterId=row["cluster_id"],
        instanceId=row["instance_id"],
        shardId=row["shard_id"],
        sequenceNumber=row["sequence_number"],
        engine=row["engine"],
        more=msgspec.UNSET if row["more"] is None else msgspec.Raw(row["more"].encode()),
    )
    arrival_ms = None if arrival is None else (arrival - _EPOCH) // timedelta(milliseconds=1)
    return Event(head.eventId, row[ENTRY].encode(), origin(head, arrival_ms))
