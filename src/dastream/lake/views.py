"""The views of a lake in SQL: `events` and `dead_letters`.

The columns of Parquet files are asked for by name, so no file is opened to define a view, and a
file that an older version wrote has NULL where it has no such column. A path ends in
`cluster=ID/day=YYYY-MM-DD/NAME`; DuckDB compares conditions on what is cut out of it with every
path before it opens any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from dastream.lake.catalog import Catalog
from dastream.lake.files import SCHEME
from dastream.sinks.table import SCHEMA

__all__ = ["LINES", "NAMES", "dead_letters", "events"]

NAMES = ("events", "dead_letters")
"""The views."""

LINES = "lines"
"""The name under which DuckDB has the JSON lines."""

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    pa.list_(pa.string()): "VARCHAR[]",
}
_PLACE = """
    nullif(regexp_extract(filename, 'cluster=([^/]*)/day=[^/]*/[^/]*$', 1), '') AS cluster,
    TRY_CAST(regexp_extract(filename, '/day=([^/]*)/[^/]*$', 1) AS DATE) AS day"""

_LINE_BYTES_MAX = 64 << 20
"""A record has at most 10 MiB, and a third more in base64."""

_OF_THE_LAKE = {
    "stream": "VARCHAR",
    "shardId": "VARCHAR",
    "sequenceNumber": "VARCHAR",
    "arrivalTime": "VARCHAR",
    "error": "VARCHAR",
    "reason": "VARCHAR",
    "data": "VARCHAR",
}
_OF_FIREHOSE = {
    "arrivalTimestamp": "BIGINT",
    "errorCode": "VARCHAR",
    "errorMessage": "VARCHAR",
    "rawData": "VARCHAR",
}
"""The members of a dead-letter line (`dastream.dead_letter`), and of what Firehose writes under
`processing-failed/` (Amazon Data Firehose Developer Guide, "Handle failure in data
transformation")."""


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
        return _nothing({field.name: _TYPES[field.type] for field in SCHEMA})
    schema = ", ".join(_columns())
    return (
        f"read_parquet('{SCHEME}events/*', filename = true, hive_partitioning = false, "
        f"schema = MAP {{{schema}}})"
    )


def _columns() -> Iterator[str]:
    for field in SCHEMA:
        type = _TYPES[field.type]
        yield f"'{field.name}': {{name: '{field.name}', type: '{type}', default_value: NULL}}"


def _nothing(columns: Mapping[str, str]) -> str:
    """A table of no rows."""
    nulls = ", ".join(f'NULL::{type} AS "{name}"' for name, type in columns.items())
    return f"(SELECT {nulls}, NULL::VARCHAR AS filename WHERE false)"


def dead_letters(catalog: Catalog) -> str:
    """The statement that defines `dead_letters`: the lake's, and Firehose's."""
    members = _OF_THE_LAKE | _OF_FIREHOSE
    source = _nothing(members)
    if catalog.dead_letters:
        source = (
            f"read_json('{SCHEME}dead_letters/*', format = 'newline_delimited', filename = true, "
            f"columns = {members}, maximum_object_size = {_LINE_BYTES_MAX})"
        )
    return f"""
        CREATE VIEW dead_letters AS
        SELECT
            stream,
            shardId AS shard_id,
            sequenceNumber AS sequence_number,
            coalesce(arrivalTime::TIMESTAMPTZ, make_timestamptz(arrivalTimestamp * 1000))
                AS arrival_time,
            coalesce(error, errorCode) AS error,
            coalesce(reason, errorMessage) AS reason,
            coalesce(data, rawData) AS data,{_PLACE}
        FROM {source}"""
