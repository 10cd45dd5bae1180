"""Events as a table on a terminal: a line each, and a second one for why something failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from dastream.cli.cells import Cells, cells, duration
from dastream.event import Event

__all__ = ["Table"]

_GAP = "  "
_STATEMENT_WIDTH_MIN = 30
_CHARS_MAX = 2000  # of a statement; more than any terminal is wide


class _Column(NamedTuple):
    """A column before the statement. `width` is for rows that are not known yet."""

    title: str
    text: Callable[[Cells], str]
    width: int
    width_max: int
    is_number: bool = False


def _time(row: Cells) -> str:
    return f"{row.time:%H:%M:%S}.{row.time.microsecond // 1000:03}" if row.time else ""


def _who(row: Cells) -> str:
    return f"{row.user}@{row.database}" if row.database else row.user


def _command(row: Cells) -> str:
    return ("✗ " if row.outcome == "failed" else "  ") + row.command


def _rows(row: Cells) -> str:
    return "" if row.rows is None else f"{row.rows:,}"


def _took(row: Cells) -> str:
    return duration(row.duration_us) if row.duration_us else ""


_TIME, _WHO, _COMMAND, _OBJECT, _ROWS, _TOOK = _COLUMNS = (
    _Column("time", _time, 12, 12),
    _Column("user@database", _who, 18, 24),
    _Column("  command", _command, 14, 20),
    _Column("object", lambda row: row.object, 20, 32),
    _Column("rows", _rows, 6, 26, is_number=True),
    _Column("took", _took, 7, 7, is_number=True),
)

_NARROWER = (
    (_WHO, 16),
    (_TIME, 8),
    (_WHO, 12),
    (_TOOK, 0),
    (_OBJECT, 16),
    (_OBJECT, 0),
    (_ROWS, 0),
    (_WHO, 8),
)
"""What gives way, one after another, to a statement of `_STATEMENT_WIDTH_MIN`; 0 is left out."""

_COMMAND_STYLES = {"READ": "green", "WRITE": "yellow", "DDL": "magenta", "ROLE": "red"}


class Table:
    """Writes events to a terminal as they come, under a header, with a line for each new day.

    `events` are those that are known beforehand: the columns are made to fit them.
    """

    def __init__(self, console: Console, zone: tzinfo | None, events: Sequence[Event] = ()) -> None:
        self._console = console
        self._zone = zone
        self._day: date | None = None
        rows = [self._cells(event) for event in events]
        self._natural = {column: _natural_width(column, rows) for column in _COLUMNS}
        self._print_header(_zone_names(rows) or datetime.now(UTC).astimezone(zone).tzname() or "")

    def show(self, event: Event) -> None:
        """Write one event."""
        row = self._cells(event)
        if row.time is not None and row.time.date() != self._day:
            self._day = row.time.date()
            self._print(Text(f"{self._day:%Y-%m-%d  %A}", "dim italic"))
        line = Text()
        for column, width in self._widths().items():
            line.append(_cell(column, row, width) + _GAP, _style(column, row))
        line.append_text(_statement(row, self._console.width - line.cell_len))
        self._print(line)
        if row.outcome == "failed" and row.reason:
            self._print_reason(row.reason)

    def _cells(self, event: Event) -> Cells:
        return cells(event, self._zone, chars_max=_CHARS_MAX)

    def _print_header(self, zone_names: str) -> None:
        widths = self._widths()
        long = {column: column.title for column in widths} | {_TIME: f"time ({zone_names})"}
        short = long | {_TIME: zone_names, _WHO: "user"}
        cells = [
            _fit((long if len(long[column]) <= width else short)[column], width, column)
            for column, width in widths.items()
        ]
        self._print(Text(_GAP.join([*cells, "statement"]), "bold"))

    def _print_reason(self, reason: str) -> None:
        """Below the command."""
        widths = self._widths()
        indent = sum(widths[column] + len(_GAP) for column in (_TIME, _WHO))
        reason = _cut(reason, self._console.width - indent - 2)
        self._print(Text(" " * indent + "╰ " + reason, "red"))

    def _widths(self) -> dict[_Column, int]:
        """The widths of the columns that are shown in the terminal as it is now."""
        widths = dict(self._natural)
        for column, narrower in _NARROWER:
            taken = sum(width + len(_GAP) for width in widths.values() if width)
            if self._console.width - taken >= _STATEMENT_WIDTH_MIN:
                break
            widths[column] = min(widths[column], narrower)
        return {column: width for column, width in widths.items() if width}

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _natural_width(column: _Column, rows: Sequence[Cells]) -> int:
    """As wide as the widest of its cells, within bounds; 0 if it has nothing to show."""
    if not rows:
        return column.width
    width = max(cell_len(column.text(row)) for row in rows)
    return min(max(width, len(column.title)), column.width_max) if width else 0


def _zone_names(rows: Sequence[Cells]) -> str:
    """The zone of all times; two where summer time begins or ends among them."""
    return "/".join(sorted({row.time.tzname() or "" for row in rows if row.time}))


def _cell(column: _Column, row: Cells, width: int) -> str:
    text = column.text(row)
    if column is _TIME:
        text = text[:width]  # whole seconds where milliseconds have no room
    if column is _WHO and cell_len(text) > width:
        text = row.user
    return _fit(text, width, column)


def _style(column: _Column, row: Cells) -> str:
    if column is _COMMAND:
        failed = row.outcome == "failed"
        return "bold red" if failed else _COMMAND_STYLES.get(row.command_class, "")
    return {_WHO: "cyan", _TIME: "dim", _TOOK: "dim"}.get(column, "")


def _statement(row: Cells, width: int) -> Text:
    """The statement and its bind values, cut to a width; a session's client where it has none."""
    if not row.statement:
        return Text(_cut(row.client and f"from {row.client}", width), "dim")
    left = width - cell_len(row.statement) - len(_GAP)
    params = _cut(row.params, max(left, width // 3 if width > 60 else 0))
    if cell_len(params) < min(8, cell_len(row.params)) or not params:
        return Text(_cut(row.statement, width))
    text = Text(_cut(row.statement, width - cell_len(params) - len(_GAP)))
    return text.append(_GAP).append(params, "dim")


def _fit(text: str, width: int, column: _Column) -> str:
    """Text in exactly this many cells of a terminal."""
    text = _cut(text, width)
    padding = " " * (width - cell_len(text))
    return padding + text if column.is_number else text + padding


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""
