"""Events as an Arrow table: the columns of an event, and their types.

The columns are those of `dastream.event.Columns` in their order, with times as time stamps, and
around them where an event came from. Nothing is said twice: a new column appears here by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dastream.event import Columns, Event, Origin
from dastream.format.engines import ENGINES, TABLES
from dastream.sinks import bulk

__all__ = ["ENTRY", "SCHEMA", "table"]

ENTRY = "entry"
"""The column of the entry's bytes."""

_ROWS = 8192
"""Events that are decoded at once; something unusual in one slows down this many."""

_FEW = 100
"""Fewer than these are not worth the preparation."""

_TIME = pa.timestamp("us")
"""UTC, as all times here. DuckDB is three times slower with a type that has a time zone."""

_TYPES: dict[Any, pa.DataType] = {
    int | None: pa.int64(),
    str | None: pa.string(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[str | None, ...]: pa.list_(pa.string()),
}
"""What a type of `Columns` is in Arrow."""


def _decoded() -> Iterator[pa.Field]:
    """The columns that engines decode. `log_time_us` is called `log_time`: it is a time stamp."""
    hints = get_type_hints(Columns)
    for field in Columns.__struct_fields__:
        is_time = field.endswith("_time_us")
        name = field.removesuffix("_us") if is_time else field
        yield pa.field(name, _TIME if is_time else _TYPES[hints[field]])


_DECODED = pa.schema(_decoded())
_DEFAULTS = dict(
    zip(Columns.__struct_fields__, Columns.__struct_defaults__, strict=True),
)
_ORIGIN = pa.schema(
    [
        ("engine", pa.string()),
        ("cluster_id", pa.string()),
        ("instance_id", pa.string()),
        ("shard_id", pa.string()),
        ("sequence_number", pa.string()),
        ("arrival_time", _TIME),
        ("more", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("kind", pa.string()),
        ("time", _TIME),
        *_DECODED,
        ("duration_us", pa.int64()),
        *_ORIGIN,
        (ENTRY, pa.string()),
    ]
)
"""All columns. The first one, the id, is the cheapest to have."""

_UNDECODED = frozenset({"event_id", ENTRY, *_ORIGIN.names})


def table(events: Sequence[Event], names: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Columns of events, a row an event in the order given; decodes only what these need."""
    names = list(names)
    columns = dict(zip(_ORIGIN.names, _origins(events), strict=True))
    columns["event_id"] = pa.array([event.id for event in events], pa.string())
    if ENTRY in names:
        columns[ENTRY] = pa.array([event.entry for event in events], pa.binary()).cast(pa.string())
    if not _UNDECODED.issuperset(names):
        columns |= _all_decoded(events, columns["arrival_time"])
    return pa.table({name: columns[name] for name in names}, pa.schema(map(SCHEMA.field, names)))


def _origins(events: Sequence[Event]) -> Iterator[pa.Array]:
    """The columns of the events' origins, of which the events of a record share one."""
    numbers: dict[int, int] = {}
    rows = pa.array([numbers.setdefault(id(e.origin), len(numbers)) for e in events], pa.int32())
    distinct = {id(event.origin): event.origin for event in events}
    values = zip(*map(_origin, distinct.values()), strict=True) if events else [[]] * len(_ORIGIN)
    for field, column in zip(_ORIGIN, values, strict=True):
        yield pa.array(column, field.type).take(rows)


def _origin(origin: Origin) -> tuple[Any, ...]:
    position = origin.position
    return (
        origin.engine.name,
        origin.cluster_id,
        origin.instance_id,
        position.shard if position else None,
        position.sequence if position else None,
        None if origin.arrival_ms is None else origin.arrival_ms * 1000,
        None if origin.more is None else origin.more.decode(),
    )


def _all_decoded(events: Sequence[Event], arrival: pa.Array) -> dict[str, Any]:
    """What needs the entries: their columns, and those made of them."""
    tables = [
        _decode(some) if len(some) >= _FEW else _decode_one_by_one(some) for some in _chunks(events)
    ]
    schema = pa.schema([*_DECODED, ("kind", pa.string())])
    decoded = pa.concat_tables(tables) if tables else schema.empty_table()
    columns = dict(zip(decoded.column_names, decoded.columns, strict=True))
    start, log, end = columns["start_time"], columns["log_time"], columns["end_time"]
    # As `Columns.time_us` (else the arrival) and `Columns.duration_us` have it.
    columns["time"] = pc.coalesce(start, log, arrival)
    duration = pc.subtract(pc.coalesce(end, log).cast(pa.int64()), start.cast(pa.int64()))
    columns["duration_us"] = pc.if_else(pc.greater_equal(duration, 0), duration, None)
    return columns


def _chunks(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Events in their order, some thousand of one engine at a time."""
    for _, of_engine in groupby(events, lambda event: event.origin.engine):
        rest = list(of_engine)
        for start in range(0, len(rest), _ROWS):
            yield rest[start : start + _ROWS]


def _decode(events: Sequence[Event]) -> pa.Table:
    """The columns of events of one engine, and their kind."""
    engine = events[0].origin.engine
    is_known = ENGINES.get(engine.name) == engine
    entries = [event.entry for event in events]
    arrays = bulk.arrays(TABLES[engine.name], entries) if is_known else None
    if arrays is None:
        return _decode_one_by_one(events)
    is_heartbeat = pc.fill_null(pc.equal(arrays["type"], "heartbeat"), False)
    kind = pc.if_else(is_heartbeat, "heartbeat", "activity")
    columns = [
        arrays[field].cast(type)
        if field in arrays
        else pa.array([_DEFAULTS[field]] * len(events), type)
        for field, type in zip(Columns.__struct_fields__, _DECODED.types, strict=True)
    ]
    return pa.table([*columns, kind], names=[*_DECODED.names, "kind"])


def _decode_one_by_one(events: Sequence[Event]) -> pa.Table:
    rows = [msgspec.structs.astuple(event.columns) for event in events]
    columns = [
        pa.array(values, type)
        for values, type in zip(zip(*rows, strict=True), _DECODED.types, strict=True)
    ]
    kind = pa.array([event.kind for event in events], pa.string())
    return pa.table([*columns, kind], names=[*_DECODED.names, "kind"])
