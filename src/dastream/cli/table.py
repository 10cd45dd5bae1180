"""Events as a table on a terminal: one line each, a second one for why something failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from dastream.cli.cells import Cells, cells, duration
from dastream.event import Event

__all__ = ["Table"]

STATEMENT_WIDTH_MIN = 28
"""Columns are left out, one after another, before a statement gets less than this."""

_GAP = "  "
_CHARS_MAX = 2000  # more than any terminal is wide
_WIDE = 100  # from here on there is room for milliseconds

_CLASS_STYLES = {
    "READ": "green",
    "WRITE": "yellow",
    "DDL": "magenta",
    "ROLE": "red",
    "FUNCTION": "blue",
}


class _Column(NamedTuple):
    """`width` is for rows that are not known yet; `rank` tells which column goes first."""

    title: str
    text: Callable[[Cells], str]
    width: int
    width_max: int
    rank: int
    style: str = ""
    is_right: bool = False


def _who(row: Cells) -> str:
    return f"{row.user}@{row.database}" if row.database else row.user


def _rows(row: Cells) -> str:
    return "" if row.rows is None else f"{row.rows:,}"


_COLUMNS = (
    _Column("user@database", _who, 18, 26, 4, "cyan"),
    _Column("", lambda row: "✗" if row.outcome == "failed" else "", 1, 1, 6, "bold red"),
    _Column("command", lambda row: row.command, 14, 18, 5),
    _Column("object", lambda row: row.object, 22, 32, 3),
    _Column("rows", _rows, 6, 9, 2, is_right=True),
    _Column("took", lambda row: duration(row.duration_us), 7, 7, 1, "dim", is_right=True),
)


class Table:
    """Writes events to a terminal as they come, under a header, with a line for each new day.

    `events` are those that are known beforehand: the columns are made to fit them.
    """

    def __init__(
        self, console: Console, zone: tzinfo | None, events: Sequence[Event] = ()
    ) -> None:
        self._console = console
        self._zone = zone
        self._day: date | None = None
        rows = [self._cells(event) for event in events]
        self._natural = [_natural_width(column, rows) for column in _COLUMNS]
        self._header(rows)

    def show(self, event: Event) -> None:
        """Write one event."""
        row = self._cells(event)
        if row.time is not None and row.time.date() != self._day:
            self._day = row.time.date()
            self._print(Text(f"{self._day:%Y-%m-%d  %A}", "dim italic"))
        widths = self._widths()
        line = Text(_fit(self._time(row), self._time_width), "dim")
        for column, width in zip(_COLUMNS, widths, strict=True):
            if width:
                style = _command_style(row) if column.title == "command" else column.style
                line.append(_GAP + _fit(column.text(row), width, is_right=column.is_right), style)
        line.append(_GAP)
        line.append_text(_statement(row, self._console.width - line.cell_len))
        self._print(line)
        if row.outcome == "failed" and row.reason:
            self._print_reason(row.reason, widths)
