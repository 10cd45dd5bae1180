"""Lines of PostgreSQL's JSON log and rows of its CSV log, decoded.

The columns of a CSV row are those of PostgreSQL 14 to 18, in the order of
https://www.postgresql.org/docs/18/runtime-config-logging.html, "Using CSV-Format Log Output".
Which of them are quoted is in PostgreSQL's csvlog.c; an empty one may be NULL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from dastream.activity.log_row import Row
from dastream.activity.log_rows import CSV_COLUMNS
from dastream.activity.log_time import MOMENT, LogClock
from dastream.errors import PayloadError

__all__ = ["decode_csv_row", "decode_row", "recover_row"]

BEGINNINGS_MAX = 100
"""Places in a torn row that are tried as the beginning of another."""

_decode = msgspec.json.Decoder(Row).decode
# No text in JSON can look like this: its quotes are escaped.
_JSON_BEGINNING = re.compile(rb'\{"timestamp":"')

_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^\",\n]{1,32})"
_TEXT = r'(?:"([^"]*+(?:""[^"]*+)*+)")?'
_WORD = r'([^",\n]*+)'
_TEXT_IGNORED = r'(?:"[^"]*+(?:""[^"]*+)*+")?'
_WORD_IGNORED = r'[^",\n]*+'
_COLUMNS = (
    _TIME,  # log_time
    _TEXT,  # user_name
    _TEXT,  # database_name
    _WORD,  # process_id
    _TEXT,  # connection_from
    _WORD,  # session_id
    _WORD,  # session_line_num
    _TEXT,  # command_tag
    _WORD_IGNORED,  # session_start_time
    _WORD_IGNORED,  # virtual_transaction_id
    _WORD_IGNORED,  # transaction_id
    _WORD,  # error_severity
    _WORD,  # sql_state_code
    _TEXT,  # message
    _TEXT,  # detail
    _TEXT_IGNORED,  # hint
    _TEXT,  # internal_query
    _WORD_IGNORED,  # internal_query_pos
    _TEXT,  # context
    _TEXT,  # query
    _WORD_IGNORED,  # query_pos
    _TEXT_IGNORED,  # location
    _TEXT,  # application_name
    _TEXT,  # backend_type
    _WORD_IGNORED,  # leader_pid
    _WORD_IGNORED,  # query_id
)
assert len(_COLUMNS) == CSV_COLUMNS, "a row that is cut is made whole to as many"
_CSV_ROW = re.compile(",".join(_COLUMNS))


def decode_row(line: bytes) -> Row:
    """A line of the JSON log. Raises PayloadError if it is none.

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


def decode_csv_row(line: bytes) -> Row:
    """A row of the CSV log, which may have several lines. Raises PayloadError if it is none."""
    text = line.decode(errors="replace")
    found = _CSV_ROW.fullmatch(text)
    if found is None:
        raise PayloadError("postgres log: a row is not one of the CSV log")
    columns: Sequence[Any] = found.groups()
    if '""' in text:
        columns = [_plain(column) for column in columns]
    time, user, database, pid, connection, session, line_num, tag, severity, *rest = columns
    state, message, detail, internal_query, context, query, application, backend_type = rest
    host, _, port = connection.rpartition(":") if connection else ("", "", "")
    try:
        return Row(
            time,
            message or "",
            user,
            database,
            int(pid or 0),
            host or connection,
            int(port) if host else None,
            session or "",
            int(line_num or 0),
            tag or "",
            severity or "",
            state or None,
            detail,
            internal_query,
            context,
            query,
            application,
            # A row that was cut is taken for a client's.
            backend_type or "client backend",
        )
    except ValueError:
        raise PayloadError("postgres log: a row of the CSV log has no number") from None


def _plain(text: str | None) -> str | None:
    """A column as it was before it was quoted; an empty one may be NULL."""
    return text.replace('""', '"') if text else None


def recover_row(line: bytes, clock: LogClock, *, is_csv: bool) -> Row | None:
    """The row that begins inside a line that is no row, its time in UTC; None if there is none.

    A server that is killed may leave a row torn, and the next server go on behind it.
    """
    decode = decode_csv_row if is_csv else decode_row
    beginnings = (MOMENT if is_csv else _JSON_BEGINNING).finditer(line, 1)
    for beginning in islice(beginnings, BEGINNINGS_MAX):
        try:
            row = decode(line[beginning.start() :])
            row.timestamp = clock.utc(row.timestamp)
        except PayloadError:
            continue
        return row
    return None
