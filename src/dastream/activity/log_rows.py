"""Where the rows of a log file end, and how a row that is too long is cut.

A row of the JSON log is a line. A row of the CSV log may have several, but only its own end has
a quote that is not doubled before the last two columns, `leader_pid` and `query_id`. So no text
of a client can look like the end of a row; and where a server that was killed has left a row
torn, and the next server has gone on behind it, the end of that next row is still found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["CSV_COLUMNS", "CUT", "END_BYTES_MAX", "RowFormat", "row_format"]

CUT = "<CUT>"
"""Stands at the end of a text of which the rest had to be left out."""

CSV_COLUMNS = 26
"""Of PostgreSQL 14 to 18; https://www.postgresql.org/docs/18/runtime-config-logging.html."""

END_BYTES_MAX = 64
"""No end is longer: two columns of numbers and a line end."""

_CSV_CLOSED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')
_LAST_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class RowFormat(NamedTuple):
    """How the rows of one kind of log are told apart.

    `end` matches what a row ends with, its line end included. `cut` makes a whole row of the
    start of one: what is long in a row is text, so the cut is there.
    """

    end: re.Pattern[bytes]
    cut: Callable[[bytes], bytes]


def row_format(name: str) -> RowFormat:
    """The format of the file of this name."""
    return _CSV if name.endswith(".csv") else _JSON


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
    return start + b"," * (CSV_COLUMNS - 1 - _CSV_CLOSED.sub(b"", start).count(b","))


def _whole_characters(start: bytes) -> bytes:
    return start.decode(errors="ignore").encode()


_JSON = RowFormat(re.compile(rb"\n"), _cut_json)
# Literal first: that is what a search is quick for.
_CSV = RowFormat(re.compile(rb'",(?<!"",)\d*,-?\d*\n'), _cut_csv)
