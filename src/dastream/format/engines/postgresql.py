"""PostgreSQL: Aurora's entries (versions 1.0 and 1.1) and those of a server of one's own.

Source: Aurora User Guide, "databaseActivityEventList JSON array for Aurora PostgreSQL".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dastream.event import Columns
from dastream.format.engines.common import EXIT_CODE, MEMBERS
from dastream.format.engines.table import Rule, Table, unfilled

__all__ = ["TABLE", "columns"]

_SCHEMA = re.compile(r'(?:([^\s".(),]+)|"((?:[^"]|"")+)")\.')
"""The first part of a qualified name. It stands in quotes where it is no plain identifier."""


def _object_schema(values: Mapping[str, Any]) -> str | None:
    qualified = _SCHEMA.match(values["object_name"] or "")
    if qualified is None:
        return None
    plain, quoted = qualified.groups()
    return plain or quoted.replace('""', '"')


def _succeeded(values: Mapping[str, Any]) -> bool | None:
    """The code is the SQLSTATE of an error, or the exit code of a session."""
    if values["command"] is None:
        return None
    return values["error"] is None and values["exit_code"] in (None, "0")


TABLE = Table(
    # `logTime` is the end of execution.
    unfilled(MEMBERS, "end_time_us", "transaction_id"),
    Rule("object_schema", "`objectName` up to its dot", _object_schema),
    Rule("succeeded", "neither `errorMessage` nor `exitCode`, or that is 0", _succeeded),
    EXIT_CODE,
)


def columns(entry: bytes) -> Columns:
    """The columns of an entry."""
    return TABLE.columns(entry)
