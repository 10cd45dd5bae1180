"""The columns of many entries of one engine at once, by Arrow: several times less work each.

It takes what engines usually write, and gives exactly what `Event.columns` gives. For anything
else (a value that does not fit, a name twice, half a character, a time of another form) it gives
nothing, and the entries are to be taken one by one: what is unusual is decided in one place,
`dastream.format.engines`, whose tables this reads, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from dastream.errors import NOT_JSON
from dastream.format.engines.table import Rule, Table
from dastream.format.engines.values import IDENTIFIER, INTEGER, TEXT, TEXTS, TIME

__all__ = ["Arrays", "arrays"]

Arrays = dict[str, pa.Array]
"""Arrays by the names of `dastream.event.Columns`, times as time stamps."""

JOINED_BYTES_MAX = 64 << 20

_TIME, _ZONED_TIME = pa.timestamp("us"), pa.timestamp("us", "UTC")
_TIME_CHARS_MIN = 23
"""Arrow takes times without seconds, too; with a time zone they are shorter than this."""

_DAY_2_US = -62_135_596_800_000_000 + 86_400_000_000
"""The second day of the year 1: what is before it may be of the year 0, here or where it was
written, and that is no time."""

_JSON_TYPES = {
    TEXT: pa.string(),
    IDENTIFIER: pa.string(),
    INTEGER: pa.int64(),
    TEXTS: pa.list_(pa.string()),
    TIME: pa.string(),
}
_TYPE = "type"


class _UnusualError(ValueError):
    """Something that only the engine's table decides."""


def arrays(table: Table, entries: Sequence[bytes]) -> Arrays | None:
    """The columns that an engine's table gives for entries, and `type`; None if unusual."""
    joined = b"\n".join(entries)
    if len(joined) > JOINED_BYTES_MAX or not all(e.startswith(b"{") for e in entries):
        return None  # Arrow takes null for an object
    try:
        values = _members(table, entries[0], joined, len(entries))
        for rule in table.rules:
            values[rule.column] = _by_rule(rule, values)
    except (pa.ArrowException, _UnusualError, *NOT_JSON):
        return None
    return values


def _members(table: Table, first: bytes, joined: bytes, count: int) -> Arrays:
    """Each member as its column."""
    known = {column: m for column, m in table.members.items() if m.kind in _JSON_TYPES}
    if len(known) < len(table.members):
        raise _UnusualError
    types = {m.name: _JSON_TYPES[m.kind] for m in known.values()} | {_TYPE: pa.string()}
    types |= {name: pa.int64() for name in _numbers(table, first)}
    read = pj.read_json(
        pa.BufferReader(joined),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(joined) + 1),
        parse_options=pj.ParseOptions(
            explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
        ),
    ).combine_chunks()
    if read.num_rows != count:
        raise _UnusualError
    values = {c: _converted(read[m.name].combine_chunks(), m.kind) for c, m in known.items()}
    return values | {_TYPE: read[_TYPE].combine_chunks()}


def _numbers(table: Table, entry: bytes) -> list[str]:
    """The identifiers that are numbers in an entry; they are so in all entries of an engine."""
    members = msgspec.json.decode(entry, type=dict[str, Any])
    names = [m.name for m in table.members.values() if m.kind is IDENTIFIER]
    return [name for name in names if isinstance(members.get(name), int)]


def _converted(values: pa.Array, kind: Any) -> pa.Array:
    if kind is TEXTS:  # null is an empty list
        return pa.ListArray.from_arrays(values.offsets, values.values)
    if kind is INTEGER:
        return values
    if values.type != pa.string():
        return values.cast(pa.string())
    is_blank = pc.equal(values, "")
    if pc.any(is_blank).as_py():
        values = pc.if_else(is_blank, None, values)
    return _times(values) if kind is TIME else values


def _times(texts: pa.Array) -> pa.Array:
    """Time stamps, of which all have a zone or none has."""
    if texts.null_count == len(texts):
        return texts.cast(_TIME)
    if pc.min(pc.binary_length(texts)).as_py() < _TIME_CHARS_MIN:
        raise _UnusualError
    try:
        times = texts.cast(_ZONED_TIME).cast(_TIME)
    except pa.ArrowInvalid:
        times = texts.cast(_TIME)
    if pc.min(times.cast(pa.int64())).as_py() < _DAY_2_US:
        raise _UnusualError
    return times


def _by_rule(rule: Rule, values: Arrays) -> pa.Array:
    """A column that is made of others: the rule is asked once for all rows that look alike to it.

    What it looks at shows while it is asked. It is a function of that alone, so rows with the
    same values there have the same result.
    """
    looked_at: tuple[str, ...] = ()
    while True:
        codes, rows = _alike(values, looked_at)
        asked = [_Row(values, row) for row in rows]
        results = [rule.value(row) for row in asked]
        seen = {name for row in asked for name in row.seen}
        if seen <= set(looked_at):
            return pa.array(results).take(codes) if results else pa.nulls(len(codes))
        looked_at = tuple(sorted(seen | set(looked_at)))


def _alike(values: Arrays, names: Sequence[str]) -> tuple[pa.Array, list[int]]:
    """For each row the number of its kind by these columns, and for each kind one row."""
    count = len(values[_TYPE])
    code = pa.repeat(pa.scalar(0, pa.int64()), count)
    for name in names:
        encoded = pc.dictionary_encode(values[name], null_encoding="encode")
        code = pc.add(pc.multiply(code, len(encoded.dictionary)), encoded.indices)
        code = pc.dictionary_encode(code).indices.cast(pa.int64())
    firsts: dict[int, int] = {}
    for row, kind in enumerate(code.to_pylist()):
        firsts.setdefault(kind, row)
    return code, list(firsts.values())


class _Row(Mapping[str, Any]):
    """One row as a rule reads it, which notes what was looked at."""

    def __init__(self, values: Arrays, row: int) -> None:
        self._values = values
        self._row = row
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.seen.add(name)
        return self._values[name][self._row].as_py()

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
