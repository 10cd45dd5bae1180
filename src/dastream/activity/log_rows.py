"""Where the rows of a log file end, and how a row that is too long is cut.

A row of the JSON log is a line. A row of the CSV log ends at a line end outside of quotes; its
columns are those of PostgreSQL 14 to 18, in the order of
https://www.postgresql.org/docs/18/runtime-config-logging.html, "Using CSV-Format Log Output".
Which of them are quoted is in PostgreSQL's csvlog.c; an empty one may be NULL.

A server that is killed leaves its last row torn, and the next server may go on in the same file
and the same line. In JSON the line after that is sound again, and no text can look like the
beginning of a row. In CSV the quotes would stay turned inside out, so what can be no CSV at all
is given up to where a row does begin.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple, Protocol

from dastream.activity.log_time import MOMENT

__all__ = ["BEGINNINGS_MAX", "CUT", "RowFormat", "csv_pattern", "row_format"]

CUT = "<CUT>"
"""Stands at the end of a text of which the rest had to be left out."""

BEGINNINGS_MAX = 100
"""Places in a torn row that are tried as the beginning of another."""

_QUOTED = r'"[^"]*+(?:""[^"]*+)*+'
_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^\",\n]{1,32})"
_TEXT = r'(?:"([^"]*+(?:""[^"]*+)*+)")?'
_WORD = r'([^",\n]*+)'
_TEXT_IGNORED = rf'(?:{_QUOTED}")?'
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


class _FindEnd(Protocol):
    def __call__(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Where the row at `start` ends and the next begins, None if that is not there yet."""
        ...


class _Cut(Protocol):
    def __call__(self, start: bytes) -> bytes:
        """The start of a row as a whole row. What is long in a row is text, so the cut is there."""
        ...


class RowFormat(NamedTuple):
    """How the rows of one kind of log are told apart. `has_lines` says that a row may have."""

    find_end: _FindEnd
    cut: _Cut
    has_lines: bool


def row_format(name: str) -> RowFormat:
    """The format of the file of this name."""
    return _CSV_FORMAT if name.endswith(".csv") else _JSON_FORMAT


def csv_pattern() -> str:
    """A row of the CSV log; a group for each column that matters, without its quotes."""
    return ",".join(_COLUMNS)


_CSV_ROW = re.compile(csv_pattern().encode() + rb"\n")
_CSV_OPEN = re.compile(rf'(?:(?:{_QUOTED}"|[^",\n]*+),)*+(?:{_QUOTED}"?|[^",\n]*+)\Z'.encode())
_CSV_CLOSED = re.compile(rf'{_QUOTED}"'.encode())
_LAST_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


def _json_end(data: bytes, start: int) -> tuple[int, int] | None:
    end = data.find(b"\n", start)
    return None if end < 0 else (end, end + 1)


def _csv_end(data: bytes, start: int) -> tuple[int, int] | None:
    if found := _CSV_ROW.match(data, start):
        return found.end() - 1, found.end()
    if _CSV_OPEN.match(data, start):
        return None
    for beginning in islice(MOMENT.finditer(data, start + 1), BEGINNINGS_MAX):
        at = beginning.start()
        if _CSV_ROW.match(data, at) or _CSV_OPEN.match(data, at):
            return at, at
    return _json_end(data, start)


def _cut_json(start: bytes) -> bytes:
    escape = _LAST_ESCAPE.search(start, len(start) - 5)
    if escape:
        before = start[: escape.start() + 1]
        # After an even number of backslashes there is no escape, only escaped backslashes.
        if (len(before) - len(before.rstrip(b"\\"))) % 2:
            start = before[:-1]
    return _whole_characters(start) + CUT.encode() + b'"}'


def _cut_csv(start: bytes) -> bytes:
    start = _whole_characters(start)
    is_quoted = start.count(b'"') % 2 == 1
    if not is_quoted and start.endswith(b'"'):
        start, is_quoted = start[:-1], True  # it may be the first half of two
    if is_quoted:
        start += CUT.encode() + b'"'
    return start + b"," * (len(_COLUMNS) - 1 - _CSV_CLOSED.sub(b"", start).count(b","))


def _whole_characters(start: bytes) -> bytes:
    return start.decode(errors="ignore").encode()


_JSON_FORMAT = RowFormat(_json_end, _cut_json, has_lines=False)
_CSV_FORMAT = RowFormat(_csv_end, _cut_csv, has_lines=True)
