"""Lines of PostgreSQL's JSON log and CSV log to rows."""

from __future__ import annotations

import re
from itertools import islice

import msgspec

from dastream.activity.log_row import Row
from dastream.activity.log_rows import BEGINNINGS_MAX, csv_pattern
from dastream.activity.log_time import MOMENT, LogClock
from dastream.errors import PayloadError

__all__ = ["decode_csv_row", "decode_row", "recover_row"]

_decode = msgspec.json.Decoder(Row).decode
# No text in JSON can look like this: its quotes are escaped.
_JSON_BEGINNING = re.compile(rb'\{"timestamp":"')

_CSV_ROW = re.compile(csv_pattern())


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
    found = _CSV_ROW.fullmatch(line.decode(errors="replace"))
    if found is None:
        raise PayloadError("postgres log: a row is not one of the CSV log")
    columns = found.groups()
    if b'""' in line:
        columns = tuple([column and column.replace('""', '"') for column in columns])
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
            session,
            int(line_num or 0),
            tag or "",
            severity,
            state or None,
            detail,
            internal_query,
            context,
            query,
            application or None,
            # A row that was cut is taken for a client's.
            backend_type or "client backend",
        )
    except ValueError:
        raise PayloadError("postgres log: a row of the CSV log has no number") from None


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
