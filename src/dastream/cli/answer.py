"""The answer to a query on standard output or in a file: table, CSV, JSON lines, Parquet.

What is read from a lake may hold anything. On a terminal no character of it acts, and in CSV no
cell calculates.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size

from dastream.cli.cells import escape, one_line
from dastream.cli.show import csv_cell, json_line
from dastream.errors import ConfigError
from dastream.lake.database import Answer

__all__ = ["write_csv", "write_json", "write_parquet", "write_table"]

_ROWS_MEASURED = 1000
"""Rows that are looked at before a table's columns get their widths."""

_WIDTH_MAX = 60
"""Of a column, on a terminal."""

_GAP = "  "
_AS_TEXT = "CAST the column AS VARCHAR"


def write_table(answer: Answer, output: IO[bytes], *, is_terminal: bool) -> int:
    """Columns side by side, under their names; on a terminal long cells are cut."""
    rows = (list(map(_cell, row)) for row in _rows(answer))
    first = list(islice(rows, _ROWS_MEASURED))
    names = [escape(name) for name in answer.schema.names]
    widths = [max(map(cell_len, column)) for column in zip(names, *first, strict=True)]
    if is_terminal:
        widths = [min(width, _WIDTH_MAX) for width in widths]
    is_number = [_is_number(field.type) for field in answer.schema]
    rule = ["─" * width for width in widths]
    lines = -2
    for row in chain([names, rule], first, rows):
        cells = map(_fit, row, widths, is_number, [is_terminal] * len(row))
        output.write((_GAP.join(cells).rstrip() + "\n").encode(errors="backslashreplace"))
        lines += 1
    return lines


def write_csv(answer: Answer, output: IO[bytes], *, is_terminal: bool) -> int:
    """CSV with a header line, as RFC 4180 has it."""
    text = io.TextIOWrapper(output, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    count = 0
    try:
        writer.writerow(csv_cell(name, is_terminal=is_terminal) for name in answer.schema.names)
        for row in _rows(answer):
            count += 1
            writer.writerow(csv_cell(_flat(value), is_terminal=is_terminal) for value in row)
    finally:
        text.detach()  # it would close standard output with itself
    return count


def write_json(answer: Answer, output: IO[bytes], *, is_terminal: bool) -> int:
    """A JSON object a line, with the columns as members. Raises ConfigError as `_check_names`."""
    _check_names(answer)
    count = 0
    for row in _rows(answer):
        count += 1
        line = msgspec.json.encode(dict(zip(answer.schema.names, row, strict=True)))
        output.write(json_line(line, is_terminal=is_terminal) + b"\n")
    return count


def write_parquet(answer: Answer, output: IO[bytes], *, is_terminal: bool) -> int:
    """A Parquet file. Raises ConfigError for a terminal, and for what Parquet has not."""
    if is_terminal:
        raise ConfigError("query: a terminal cannot show Parquet", hint="use --output FILE")
    _check_names(answer)
    count = 0
    try:
        writer = pq.ParquetWriter(output, answer.schema, compression="zstd")
    except pa.ArrowNotImplementedError:
        raise ConfigError("query: a column is of no type of Parquet", hint=_AS_TEXT) from None
    with writer:
        for batch in answer.batches:
            count += batch.num_rows
            writer.write_batch(batch)
    return count


def _check_names(answer: Answer) -> None:
    """Raises ConfigError if two columns have one name: one of them would be lost."""
    names = answer.schema.names
    if len(set(names)) < len(names):
        raise ConfigError("query: two columns have one name", hint="name them apart with AS")


def _rows(answer: Answer) -> Iterator[Sequence[Any]]:
    for batch in answer.batches:
        columns = [list(map(_plain, _values(column))) for column in batch.columns]
        yield from zip(*columns, strict=True)


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; a time is text, since Python's years end with 9999."""
    is_time = pa.types.is_timestamp, pa.types.is_date, pa.types.is_time
    if any(test(column.type) for test in is_time):
        column = column.cast(pa.string())
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        raise ConfigError(
            "query: a list or struct holds a time that Python has not", hint=_AS_TEXT
        ) from None
    return values


def _plain(value: Any) -> Any:
    """A value as JSON has it: DuckDB's sums are wider than 64 bits."""
    is_integral = isinstance(value, Decimal) and value == value.to_integral_value()
    return int(value) if is_integral else value


def _flat(value: Any) -> Any:
    """A value as text, if it is none that CSV can have."""
    if value is None or isinstance(value, (str, int, float, Decimal)):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


def _cell(value: Any) -> str:
    """A value as text for a table."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else one_line(str(_flat(value)))


def _is_number(type: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type)
    )


def _fit(text: str, width: int, is_number: bool, is_terminal: bool) -> str:
    if is_terminal and cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - cell_len(text))
    return padding + text if is_number else text + padding
