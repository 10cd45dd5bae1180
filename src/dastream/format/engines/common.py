"""The members that all engines name alike (Aurora User Guide, RDS User Guide, field tables)."""

from __future__ import annotations

from typing import Any

from dastream.event import Columns
from dastream.format.engines.values import Values

__all__ = ["columns", "read"]


def columns(entry: bytes) -> Columns:
    """The columns of an entry by the common names; success is not known without the engine."""
    values = Values(entry)
    members = read(values)
    return Columns(**members, misfits=tuple(values.misfits))


def read(values: Values) -> dict[str, Any]:
    """The common columns, for an engine to correct and to complete."""
    text, integer = values.text, values.integer
    return {
        "start_time_us": values.time_us("startTime"),
        "end_time_us": values.time_us("endTime"),
        "log_time_us": values.time_us("logTime"),
        "user": text("dbUserName"),
        "database": text("databaseName"),
        "command": text("command"),
        "command_class": text("class"),
        "object_name": text("objectName"),
        "object_type": text("objectType"),
        "statement": text("commandText"),
        "params": values.texts("paramList"),
        "row_count": integer("rowCount"),
        "error": text("errorMessage"),
        "exit_code": text("exitCode"),
        "client_application": text("clientApplication"),
        "remote_host": text("remoteHost"),
        "remote_port": text("remotePort"),
        "session_id": text("sessionId"),
        "statement_id": text("statementId"),
        "substatement_id": integer("substatementId"),
        "transaction_id": text("transactionId"),
        "pid": integer("pid"),
        "server_host": text("serverHost"),
        "server_version": text("serverVersion"),
        "service_name": text("serviceName"),
        "net_protocol": text("netProtocol"),
        "db_protocol": text("dbProtocol"),
    }
