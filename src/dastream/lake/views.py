"""The views of a lake in SQL: `events` and `dead_letters`.

The columns of Parquet files are asked for by name, so no file is opened to define a view, and a
file that an older version wrote has NULL where it has no such column. A path ends in
`cluster=ID/day=YYYY-MM-DD/NAME`; DuckDB compares conditions on what is cut out of it with every
path before it opens any.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from dastream.lake.catalog import Catalog
from dastream.lake.files import SCHEME
from dastream.sinks.table import SCHEMA

__all__ = ["DEAD_LETTERS", "DEAD_LETTER_LINES", "LINES", "NAMES", "events"]

NAMES = ("events", "dead_letters")
"""The views."""

LINES, DEAD_LETTER_LINES = "lines", "dead_letter_lines"
"""The names under which DuckDB has the JSON lines of events and dead letters."""

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "TIMESTAMP",
    pa.list_(pa.string()): "VARCHAR[]",
}
_PLACE = """
    nullif(regexp_extract(filename, 'cluster=([^/]*)/day=[^/]*/[^/]*$', 1), '') AS cluster,
    TRY_CAST(regexp_extract(filename, '/day=([^/]*)/[^/]*$', 1) AS DATE) AS day"""

DEAD_LETTERS = f"CREATE VIEW dead_letters AS FROM {DEAD_LETTER_LINES}"
"""The statement that defines `dead_letters`."""


def events(catalog: Catalog) -> str:
    """The statement that defines `events`."""
    parts = []
    if catalog.parquet or not catalog.lines:
        source = _files(catalog)
        parts.append(f"SELECT * EXCLUDE (filename), {_PLACE} FROM {source}")
    if catalog.lines:
        parts.append(f"SELECT * FROM {LINES}")
    return "CREATE VIEW events AS " + " UNION ALL BY NAME ".join(parts)


def _files(catalog: Catalog) -> str:
    if not catalog.parquet:
        nulls = ", ".join(f'NULL::{_TYPES[field.type]} AS "{field.name}"' for field in SCHEMA)
        return f"(SELECT {nulls}, NULL::VARCHAR AS filename WHERE false)"
    schema = ", ".join(_columns())
    return (
        f"read_parquet('{SCHEME}*', filename = true, hive_partitioning = false, "
        f"schema = MAP {{{schema}}})"
    )


def _columns() -> Iterator[str]:
    for field in SCHEMA:
        type = _TYPES[field.type]
        yield f"'{field.name}': {{name: '{field.name}', type: '{type}', default_value: NULL}}"
