"""RDS for SQL Server (version 1.4): entries from the server's audit.

Source: RDS User Guide, "databaseActivityEventList JSON array for SQL Server", which names the
columns of `sys.fn_get_audit_file` that the members are. `exitCode` is `succeeded`: 1 is success.
A text of more than 4000 characters comes in parts, an event each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dastream.event import Columns
from dastream.format.engines.common import MEMBERS, TRANSACTION_ID
from dastream.format.engines.table import Member, Rule, Table, unfilled
from dastream.format.engines.values import Kind

__all__ = ["TABLE", "columns"]

_FAILED_LOGINS = frozenset({"LOGIN FAILED", "DATABASE AUTHENTICATION FAILED"})
_SUCCEEDED = {"1": True, "0": False}


class _NativeFields(msgspec.Struct):
    """The audit's other columns; present where the stream was started with them."""

    schema_name: str | None = None


def _object_schema(values: Mapping[str, Any]) -> str | None:
    native = values["object_schema"]
    return native.schema_name or None if isinstance(native, _NativeFields) else None


def _error(values: Mapping[str, Any]) -> str | None:
    message: str | None = values["statement"]
    return message if values["command"] in _FAILED_LOGINS else values["error"]


def _statement(values: Mapping[str, Any]) -> str | None:
    return None if values["command"] in _FAILED_LOGINS else values["statement"]


def _succeeded(values: Mapping[str, Any]) -> bool | None:
    return _SUCCEEDED.get(values["exit_code"])


def _session_id(values: Mapping[str, Any]) -> str | None:
    number: str | None = values["session_id"]
    return None if number == "0" else number


TABLE = Table(
    unfilled(
        MEMBERS | {"object_schema": Member("engineNativeAuditFields", Kind(_NativeFields | None))},
        "start_time_us",
        "end_time_us",
        "params",
        "remote_port",
        "pid",
        "net_protocol",
    ),
    Rule("object_schema", "`engineNativeAuditFields.schema_name`", _object_schema),
    Rule("error", "`commandText` of a failed login", _error),
    Rule("statement", "`commandText`, but of no failed login", _statement),
    Rule("succeeded", "`exitCode` is 1: the login worked, or the action was allowed", _succeeded),
    Rule("exit_code", "", lambda _: None),
    Rule("session_id", "`sessionId`, unless it is 0", _session_id),
    Rule("statement_part", "`substatementId`", lambda values: values["substatement_id"]),
    TRANSACTION_ID,
)


def columns(entry: bytes) -> Columns:
    """The columns of an entry."""
    return TABLE.columns(entry)
