"""RDS for Oracle (version 1.3): entries from the unified audit trail.

Source: RDS User Guide, "databaseActivityEventList JSON array for Oracle". `objectType` holds
OBJECT_SCHEMA, `exitCode` RETURN_CODE, and times are UTC without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dastream.event import Columns
from dastream.format.engines.common import EXIT_CODE, MEMBERS, TRANSACTION_ID
from dastream.format.engines.table import Member, Rule, Table, unfilled
from dastream.format.engines.values import TEXT

__all__ = ["TABLE", "columns"]


def _members() -> Mapping[str, Member]:
    members = unfilled(
        MEMBERS, "start_time_us", "end_time_us", "row_count", "error", "substatement_id"
    )
    others = {column: member for column, member in members.items() if column != "object_type"}
    return others | {"object_schema": Member("objectType", TEXT)}


def _succeeded(values: Mapping[str, Any]) -> bool | None:
    code = values["exit_code"]
    return None if code is None else bool(code == "0")


TABLE = Table(
    _members(),
    Rule("succeeded", "`exitCode` is 0", _succeeded),
    EXIT_CODE,
    TRANSACTION_ID,
)


def columns(entry: bytes) -> Columns:
    """The columns of an entry."""
    return TABLE.columns(entry)
