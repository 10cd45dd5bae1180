"""A row of PostgreSQL's JSON log, and what its message says.

Members as in https://www.postgresql.org/docs/current/runtime-config-logging.html, "Using
JSON-Format Log Output"; the messages as in PostgreSQL's postgres.c and pgaudit's pgaudit.c.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from dastream.errors import ConfigError, PayloadError

__all__ = [
    "Audit",
    "Completed",
    "Row",
    "bound_values",
    "decode_row",
    "parse_audit",
    "parse_completed",
    "times",
]


class Row(msgspec.Struct, gc=False):
    """The members of a log row that matter here.

    The type of the process comes late in a row: one that was cut is taken for a client's.
    """

    timestamp: str
    message: str = ""
    user: str | None = None
    dbname: str | None = None
    pid: int = 0
    remote_host: str | None = None
    remote_port: int | None = None
    session_id: str = ""
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


class Completed(NamedTuple):
    """What the server says of a statement that has succeeded.

    `start` and `end` are times as in an entry, `kind` is `statement`, `execute …` (the extended
    protocol, with the names of statement and portal) or `fastpath function call`.
    """

    start: str
    end: str
    kind: str
    text: str
    values: list[str | None]


class Audit(NamedTuple):
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


_decode = msgspec.json.Decoder(Row).decode
_COMPLETED = re.compile(
    r"duration: (\d+\.\d+) ms  (?:(statement|execute .*?|fastpath function call): (.*))?",
    re.DOTALL,
)
_VALUE = re.compile(r"\$\d+ = (?:NULL|'([^']*+(?:''[^']*+)*+)(?:'|\Z))")
_BOUND = re.compile(
    r"^(?:unnamed portal|portal \"[^\"\n]*\") with parameters: (.*)", re.DOTALL | re.MULTILINE
)
_FIELD = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"?|([^,]*+))(,|\Z)')
_AUDIT = "AUDIT: SESSION,"
_CONTEXT_CHARS_MAX = 1 << 20
_UTC = frozenset({"UTC", "GMT"})


def decode_row(line: bytes) -> Row:
    """A line of the log. Raises PayloadError if it is none.

    Text that is not UTF-8 (a client may send any bytes) has U+FFFD in its place.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _decode(line.decode(errors="replace").encode())
    except msgspec.DecodeError:
        raise PayloadError("postgres log: a line is not a row of the JSON log") from None


def times(timestamp: str, duration_us: int = 0) -> tuple[str, str]:
    """The start and the end of what took so long and ended at a row's time stamp.

    Raises ConfigError if the log is not in UTC: its abbreviations of zones are ambiguous.
    """
    second, fraction, zone = timestamp[:19], timestamp[20:23], timestamp[24:]
    if zone not in _UTC:
        raise ConfigError("postgres log: the times are not in UTC", hint="set log_timezone = 'UTC'")
    end = f"{second}.{fraction}000+00"
    start_us = int(fraction) * 1000 - duration_us
    if start_us >= 0:
        return f"{second}.{start_us:06}+00", end
    started = datetime.fromisoformat(second).replace(tzinfo=UTC) + timedelta(microseconds=start_us)
    return f"{started:%Y-%m-%d %H:%M:%S.%f}+00", end


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
    values = (value[1] for value in _VALUE.finditer(text))
    return [None if value is None else value.replace("''", "'") for value in values]


def parse_audit(message: str) -> Audit | None:
    """A line of pgaudit's session audit, None if the message is none.

    The format is CSV in https://github.com/pgaudit/pgaudit#format, with the bind values as CSV
    in one field.
    """
    if not message.startswith(_AUDIT):
        return None
    fields = _fields(message, len(_AUDIT))
    if len(fields) < 7:
        return None
    values = fields[7] if len(fields) > 7 else "<none>"
    return Audit(
        statement_id=int(fields[0]),
        substatement_id=int(fields[1]),
        category=fields[2],
        command=fields[3],
        object_type=fields[4],
        object_name=fields[5],
        text=fields[6],
        values=[] if values in ("<none>", "<not logged>") else [*_fields(values)],
        rows=int(fields[8]) if len(fields) > 8 and fields[8].isdigit() else None,
    )


def _fields(line: str, start: int = 0) -> list[str]:
    fields = []
    for field in _FIELD.finditer(line, start):
        quoted = field[1]
        fields.append(field[2] if quoted is None else quoted.replace('""', '"'))
        if not field[3]:
            break
    return fields
