"""The members that all engines name alike (Aurora User Guide, RDS User Guide, field tables)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dastream.event import Columns
from dastream.format.engines.table import Member, Rule, Table
from dastream.format.engines.values import IDENTIFIER, INTEGER, TEXT, TEXTS, TIME

__all__ = ["EXIT_CODE", "MEMBERS", "TRANSACTION_ID", "columns"]

MEMBERS: dict[str, Member] = {
    "start_time_us": Member("startTime", TIME),
    "end_time_us": Member("endTime", TIME),
    "log_time_us": Member("logTime", TIME),
    "user": Member("dbUserName", TEXT),
    "database": Member("databaseName", TEXT),
    "command": Member("command", TEXT),
    "command_class": Member("class", TEXT),
    "object_name": Member("objectName", TEXT),
    "object_type": Member("objectType", TEXT),
    "statement": Member("commandText", TEXT),
    "params": Member("paramList", TEXTS),
    "row_count": Member("rowCount", INTEGER),
    "error": Member("errorMessage", TEXT),
    "exit_code": Member("exitCode", IDENTIFIER),
    "client_application": Member("clientApplication", TEXT),
    "remote_host": Member("remoteHost", TEXT),
    "remote_port": Member("remotePort", IDENTIFIER),
    "session_id": Member("sessionId", IDENTIFIER),
    "statement_id": Member("statementId", IDENTIFIER),
    "substatement_id": Member("substatementId", INTEGER),
    "transaction_id": Member("transactionId", IDENTIFIER),
    "pid": Member("pid", INTEGER),
    "server_host": Member("serverHost", TEXT),
    "server_version": Member("serverVersion", TEXT),
    "service_name": Member("serviceName", TEXT),
    "net_protocol": Member("netProtocol", TEXT),
    "db_protocol": Member("dbProtocol", TEXT),
}
"""Every column that is one member, with that member."""


def _exit_code(values: Mapping[str, Any]) -> str | None:
    code: str | None = values["exit_code"]
    return None if code == "0" else code


def _transaction_id(values: Mapping[str, Any]) -> str | None:
    number: str | None = values["transaction_id"]
    return number if number and number.strip("0") else None


EXIT_CODE = Rule("exit_code", "`exitCode`, unless it is 0", _exit_code)
TRANSACTION_ID = Rule("transaction_id", "`transactionId`, unless it is all zeros", _transaction_id)

_TABLE = Table(MEMBERS)


def columns(entry: bytes) -> Columns:
    """The columns of an entry of an unknown engine; success is not known without the engine."""
    return _TABLE.columns(entry)
