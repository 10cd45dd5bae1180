"""Events as a Parquet file, and the receipt that each file carries.

The receipt is a JSON object in the key-value metadata of the footer, so it stays with the file
wherever that is copied, and the last bytes of a file are enough to read it. Same batch, same
bytes, with one version of pyarrow.

Rows are in the order of user, session and time: people ask for one of these within a time, and
a file is of one short time already. So most row groups of a file can be passed over.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dastream.event import SCHEMA_VERSION, Event
from dastream.sinks.jsonl import Receipt
from dastream.sinks.table import ENTRY, SCHEMA, table

__all__ = ["RECEIPT_KEY", "SCHEMA_KEY", "pack", "receipt"]

RECEIPT_KEY = "dastream.receipt"
SCHEMA_KEY = "dastream.schema"
"""The keys of the metadata. The second one has the version of the columns."""

_ORDER = ("user", "session_id", "time", "sequence_number", "event_id")
_ROW_GROUP_ROWS = 32 * 1024
_UNREPEATED = frozenset({"event_id", "time", "start_time", "end_time", "log_time", ENTRY})
"""Columns whose values differ from row to row, so that a dictionary would only cost."""

_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": [name for name in SCHEMA.names if name not in _UNREPEATED],
    "store_schema": False,
}


def pack(events: Sequence[Event], receipt: Receipt, *, has_entries: bool = True) -> bytes:
    """Events as a file with its receipt; without the entries' bytes if they are kept elsewhere."""
    names = [name for name in SCHEMA.names if has_entries or name != ENTRY]
    rows = table(events, names).sort_by([(name, "ascending") for name in _ORDER])
    output = io.BytesIO()
    with pq.ParquetWriter(output, rows.schema, **_OPTIONS) as writer:
        writer.write_table(rows, row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata(
            {RECEIPT_KEY: msgspec.json.encode(receipt), SCHEMA_KEY: str(SCHEMA_VERSION)}
        )
    return output.getvalue()


def receipt(end_of_object: bytes) -> Receipt | None:
    """The receipt in the last bytes of an object, None if it carries none."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(end_of_object)).metadata or {}
        return msgspec.json.decode(metadata.get(RECEIPT_KEY.encode(), b""), type=Receipt)
    except (pa.ArrowException, OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
