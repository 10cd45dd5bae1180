"""A row of PostgreSQL's log, and what its message says.

Members as in https://www.postgresql.org/docs/current/runtime-config-logging.html, "Using
JSON-Format Log Output"; the messages as in PostgreSQL's postgres.c and pgaudit's pgaudit.c.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

__all__ = [
    "Audit",
    "Completed",
    "Row",
    "bound_values",
    "parse_audit",
    "parse_completed",
    "times",
]


class Row(msgspec.Struct, gc=False):
    """The members of a log row that matter here.

    `line_num` counts the rows of a session. The type of the process comes late in a row: one
    that was cut is taken for a client's.
    """

    timestamp: str
    message: str = ""
    user: str | None = None
    dbname: str | None = None
    pid: int = 0
    remote_host: str | None = None
    remote_port: int | None = None
    session_id: str = ""
    line_num: int = 0
    ps: str = ""
    error_severity: str = ""
    state_code: str | None = None
    detail: str | None = None
    internal_query: str | None = None
    context: str | None = None
    statement: str | None = None
    application_name: str | None = None
    backend_type: str = "client backend"

    def __repr__(self) -> str:
        # A row holds SQL text, so it must not show in a log or a traceback.
        return f"<Row {self.session_id} {self.timestamp}>"


class Completed(msgspec.Struct, gc=False):
    """What the server says of a statement that has succeeded.

    `start` and `end` are times as in an entry, `kind` is `statement`, `execute …` (the extended
    protocol, with the names of statement and portal) or `fastpath function call`.
    """

    start: str
    end: str
    kind: str
    text: str
    values: list[str | None]


class Audit(msgspec.Struct, gc=False):
    """A line of pgaudit. `values` are the bind values; NULL looks like the empty string there."""

    statement_id: int
    substatement_id: int
    category: str
    command: str
    object_type: str
    object_name: str
    text: str
    values: list[str | None]
    rows: int | None


_COMPLETED = re.compile(
    r"duration: (\d+\.\d+) ms  (?:(statement|execute .*?|fastpath function call): (.*))?",
    re.DOTALL,
)
_VALUE = re.compile(r"\$\d+ = (NULL|'[^']*+(?:''[^']*+)*+)")
_BOUND = re.compile(
    r"^(?:unnamed portal|portal \"[^\"\n]*\") with parameters: (.*)", re.DOTALL | re.MULTILINE
)
# A row that was cut has a field that is not closed.
_FIELD = r'("[^"]*+(?:""[^"]*+)*+(?:"|\Z)|[^",]*+)'
_VALUE_FIELD = re.compile(_FIELD + r"(,|\Z)")
_AUDIT = re.compile(
    rf"AUDIT: SESSION,(\d+),(\d+),([^\",]*+),([^\",]*+),([^\",]*+),{_FIELD},{_FIELD}"
    rf"(?:,{_FIELD}(?:,(\d+))?)?"
)
_CONTEXT_CHARS_MAX = 1 << 20


def times(timestamp: str, duration_us: int = 0) -> tuple[str, str]:
    """The start and the end of what took so long and ended at a row's time, which is in UTC."""
    end = f"{timestamp[:23]}000+00"
    if not duration_us:
        return end, end
    start_us = int(timestamp[20:23]) * 1000 - duration_us
    if start_us >= 0:
        return f"{timestamp[:20]}{start_us:06}+00", end
    second = datetime.fromisoformat(timestamp[:19]).replace(tzinfo=UTC)
    return f"{second + timedelta(microseconds=start_us):%Y-%m-%d %H:%M:%S.%f}+00", end


def parse_completed(row: Row) -> Completed | None:
    """The statement that a `duration:` row tells of, None if it tells of none."""
    found = _COMPLETED.match(row.message)
    if not found or found[2] is None:
        return None
    start, end = times(row.timestamp, round(float(found[1]) * 1000))
    detail = row.detail or ""
    values = _values(detail[12:]) if detail[:12].lower() == "parameters: " else []
    return Completed(start, end, found[2], found[3], values)


def bound_values(context: str | None) -> list[str | None]:
    """The bind values in the context of a failed statement, as far as its first 2^20 characters.

    The context quotes SQL of the client, so nothing here takes more than linear time.
    """
    found = _BOUND.search(context, 0, _CONTEXT_CHARS_MAX) if context else None
    return _values(found[1]) if found else []


def _values(text: str) -> list[str | None]:
    values = _VALUE.findall(text)
    return [None if value == "NULL" else value[1:].replace("''", "'") for value in values]


def parse_audit(message: str) -> Audit | None:
    """A line of pgaudit's session audit, None if the message is none.

    The format is CSV in https://github.com/pgaudit/pgaudit#format, with the bind values as CSV
    in one field.
    """
    found = _AUDIT.match(message)
    if not found:
        return None
    statement, substatement, category, command, type_, name, text, values, rows = found.groups()
    return Audit(
        int(statement),
        int(substatement),
        category,
        command,
        type_,
        _unquoted(name),
        _unquoted(text),
        _audit_values(values),
        int(rows) if rows else None,
    )


def _unquoted(field: str) -> str:
    return field[1:].removesuffix('"').replace('""', '"') if field.startswith('"') else field


def _audit_values(field: str | None) -> list[str | None]:
    if field in (None, "<none>", "<not logged>"):
        return []
    text = _unquoted(field)
    if '"' not in text:
        return [*text.split(",")]
    values: list[str | None] = []
    for value in _VALUE_FIELD.finditer(text):
        values.append(_unquoted(value[1]))
        if not value[2]:
            break
    return values
