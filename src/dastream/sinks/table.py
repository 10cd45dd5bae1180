"""Events as an Arrow table: the columns of an event, and their types.

The columns are those of `dastream.event.Columns` in their order, with times as time stamps, and
around them where an event came from. Nothing is said twice: a new column appears here by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, get_type_hints

import pyarrow as pa

from dastream.event import Columns, Event

__all__ = ["ENTRY", "SCHEMA", "table"]

ENTRY = "entry"
"""The column of the entry's bytes."""

_TIME = pa.timestamp("us", "UTC")

_TYPES: dict[Any, pa.DataType] = {
    int | None: pa.int64(),
    str | None: pa.string(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[str | None, ...]: pa.list_(pa.string()),
}
"""What a type of `Columns` is in Arrow."""


class _Column(NamedTuple):
    name: str
    type: pa.DataType
    value: Callable[[Event], Any]


def _of_columns() -> Iterable[_Column]:
    """The columns that the engines decode. `log_time_us` is called `log_time`: it is a time."""
    hints = get_type_hints(Columns)
    for field in Columns.__struct_fields__:
        name = field.removesuffix("_us") if field.endswith("_time_us") else field
        type = _TYPES[hints[field]] if name == field else _TIME
        yield _Column(name, type, _reader(field))


def _reader(field: str) -> Callable[[Event], Any]:
    def value(event: Event) -> Any:
        return getattr(event.columns, field)

    return value


def _shard(event: Event) -> str | None:
    return event.origin.position.shard if event.origin.position else None


def _sequence(event: Event) -> str | None:
    return event.origin.position.sequence if event.origin.position else None


def _arrival_us(event: Event) -> int | None:
    arrival_ms = event.origin.arrival_ms
    return None if arrival_ms is None else arrival_ms * 1000


def _time_us(event: Event) -> int | None:
    time_us = event.columns.time_us
    return _arrival_us(event) if time_us is None else time_us


def _more(event: Event) -> str | None:
    return None if event.origin.more is None else event.origin.more.decode()


_COLUMNS = (
    _Column("event_id", pa.string(), lambda event: event.id),
    _Column("kind", pa.string(), lambda event: event.kind),
    _Column("time", _TIME, _time_us),
    *_of_columns(),
    _Column("duration_us", pa.int64(), lambda event: event.columns.duration_us),
    _Column("engine", pa.string(), lambda event: event.origin.engine.name),
    _Column("cluster_id", pa.string(), lambda event: event.origin.cluster_id),
    _Column("instance_id", pa.string(), lambda event: event.origin.instance_id),
    _Column("shard_id", pa.string(), _shard),
    _Column("sequence_number", pa.string(), _sequence),
    _Column("arrival_time", _TIME, _arrival_us),
    _Column("more", pa.string(), _more),
    _Column(ENTRY, pa.string(), lambda event: event.entry.decode()),
)
_BY_NAME = {column.name: column for column in _COLUMNS}

SCHEMA = pa.schema([(column.name, column.type) for column in _COLUMNS])
"""All columns. The first one, the id, is the cheapest to have."""


def table(events: Sequence[Event], names: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Columns of events, a row an event in the order given; decodes only what these need."""
    columns = [_BY_NAME[name] for name in names]
    schema = pa.schema([(column.name, column.type) for column in columns])
    return pa.Table.from_arrays([_array(column, events) for column in columns], schema=schema)


def _array(column: _Column, events: Sequence[Event]) -> pa.Array:
    return pa.array(list(map(column.value, events)), column.type)
