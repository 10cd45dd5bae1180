"""The events of a Parquet file of the lake that a query describes.

A row group is passed over by the statistics of its times; of another one the columns are read
that the query names, and the rest only where rows are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dastream import line
from dastream.event import Columns, Engine, Event, Origin
from dastream.lake.object_file import ObjectFile
from dastream.lake.reader import DamageError, origin
from dastream.lake.rows import RowFilter
from dastream.sinks.table import ENTRY, SCHEMA

__all__ = ["Rows", "WithoutEntriesError", "read_rows"]

_ROWS = 4096
_HEAD = (
    "event_id",
    "cluster_id",
    "instance_id",
    "shard_id",
    "sequence_number",
    "arrival_time",
    "engine",
    "more",
)
_TEXTS = [field.name for field in SCHEMA if field.type == pa.string() and field.name != ENTRY]


class WithoutEntriesError(DamageError):
    """A file that has been written without the entries, which are asked for."""


class Rows(NamedTuple):
    """A row group: its number of rows, and the events found in it; None if it cannot have any."""

    number: int
    events: Iterator[Event] | None


def read_rows(file: ObjectFile, rows: RowFilter, *, needs_entries: bool) -> Iterator[Rows]:
    """The row groups of a file, in its order.

    An event of a file without entries has its columns and no bytes; with `needs_entries` that
    is a WithoutEntriesError as soon as there is one. Raises DamageError for what is no such
    file, and ServiceError if the storage fails.
    """
    try:
        source = pa.PythonFile(file, mode="r")
        metadata = pq.read_metadata(source)
        texts = [name for name in _TEXTS if name in metadata.schema.names]
        with pq.ParquetFile(
            source, metadata=metadata, read_dictionary=texts, pre_buffer=True
        ) as parquet:
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                events = _events(parquet, number, rows, needs_entries=needs_entries)
                yield Rows(group.num_rows, events if _may_hold(group, rows) else None)
    except pa.ArrowException:
        raise DamageError("not a Parquet file, or damaged") from None


def _may_hold(group: pq.RowGroupMetaData, rows: RowFilter) -> bool:
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == "time":
            times = column.statistics
            is_known = times is not None and times.has_min_max and not times.null_count
            return not is_known or rows.may_hold(times.min_raw, times.max_raw)
    return True


def _events(
    file: pq.ParquetFile, number: int, rows: RowFilter, *, needs_entries: bool
) -> Iterator[Event]:
    names: list[str] = []
    for more_names in rows.stages():
        names += more_names
        table = _read(file, number, names)
        found = rows.find(table)
        if not found.true_count:
            return
    has_entries = ENTRY in file.schema_arrow.names
    if needs_entries and not has_entries:
        raise WithoutEntriesError("written without the entries")
    names = [*_HEAD, ENTRY] if has_entries else SCHEMA.names
    rest = _read(file, number, names).filter(rows.cut(table, found))
    to_event = _event if has_entries else _event_of_columns
    for batch in rest.to_batches(_ROWS):
        yield from map(to_event, batch.to_pylist())


def _read(file: pq.ParquetFile, number: int, names: Sequence[str]) -> pa.Table:
    """Columns of a row group, times as integers; null where an older file has no such column."""
    there = [name for name in names if name in file.schema_arrow.names]
    table = file.read_row_group(number, there)
    for name in names:
        if name not in there:
            type = SCHEMA.field(name).type
            table = table.append_column(name, pa.nulls(table.num_rows, type))
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table


def _event(row: Mapping[str, Any]) -> Event:
    return Event(row["event_id"], row[ENTRY].encode(), _origin(row))


def _event_of_columns(row: Mapping[str, Any]) -> Event:
    """An event of which the entry is kept elsewhere: its columns stand in for the bytes."""
    values = {field: row[_name(field)] for field in Columns.__struct_fields__}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    columns = Columns(**(values | lists))
    known = _origin(row)
    engine = Engine(known.engine.name, lambda _: columns)
    entry = b'{"type":"heartbeat"}' if row["kind"] == "heartbeat" else b""
    return Event(row["event_id"], entry, msgspec.structs.replace(known, engine=engine))


def _name(field: str) -> str:
    """The column of the file for a field; times are called without their unit there."""
    return field.removesuffix("_us") if field.endswith("_time_us") else field


def _origin(row: Mapping[str, Any]) -> Origin:
    head = line.Head(
        eventId=row["event_id"],
        clusterId=row["cluster_id"],
        instanceId=row["instance_id"],
        shardId=row["shard_id"],
        sequenceNumber=row["sequence_number"],
        engine=row["engine"],
        more=msgspec.UNSET if row["more"] is None else msgspec.Raw(row["more"].encode()),
    )
    arrival_us = row["arrival_time"]
    return origin(head, None if arrival_us is None else arrival_us // 1000)
