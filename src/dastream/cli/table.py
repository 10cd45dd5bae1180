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
_STATEMENT_SHARE = 0.4  # of the width, as far as the other columns can give way
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
    _Column("user@database", _who, 14, 24),
    _Column("  command", _command, 12, 20),
    _Column("object", lambda row: row.object, 18, 32),
    _Column("rows", _rows, 5, 26, is_number=True),
    _Column("took", _took, 7, 7, is_number=True),
)

_NARROWER = (
    (_WHO, 16),
    (_OBJECT, 18),
    (_WHO, 12),
    (_OBJECT, 16),
)
"""What gives way, one after another, to a statement of `_STATEMENT_SHARE`."""

_NARROWEST = (
    (_TIME, 8),
    (_TOOK, 0),
    (_OBJECT, 12),
    (_OBJECT, 0),
    (_ROWS, 0),
    (_WHO, 8),
)
"""And what to one of `_STATEMENT_WIDTH_MIN`; 0 is left out."""

_COMMAND_STYLES = {"READ": "green", "WRITE": "yellow", "DDL": "magenta", "ROLE": "red"}


class Table:
    """Writes events to a terminal as they come, under a header, with a line for each new day.

    `events` are those that are known beforehand: the columns are made to fit them, and a
    database that all of them share stands in the header. One that is called as its user is left
    out, and so are users if it `has_user` not.
    """

    def __init__(
        self,
        console: Console,
        zone: tzinfo | None,
        events: Sequence[Event] = (),
        *,
        has_user: bool = True,
    ) -> None:
        self._has_user = has_user
        self._console = console
        self._zone = zone
        self._day: date | None = None
        self._shared = _shared_database([cells(event, zone, chars_max=0) for event in events])
        rows = [self._cells(event) for event in events]
        self._titles = {column: column.title for column in _COLUMNS}
        if rows and not any(row.database for row in rows):
            self._titles[_WHO] = "user"
        self._natural = {column: self._natural_width(column, rows) for column in _COLUMNS}
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
        row = cells(event, self._zone, chars_max=_CHARS_MAX)
        is_clear = row.database in (row.user, self._shared)
        row = row._replace(database="") if is_clear else row
        return row if self._has_user else row._replace(user="")

    def _natural_width(self, column: _Column, rows: Sequence[Cells]) -> int:
        """As wide as the widest of its cells, within bounds; 0 if it has nothing to show."""
        if not rows:
            return column.width
        width = max(cell_len(column.text(row)) for row in rows)
        return min(max(width, cell_len(self._titles[column])), column.width_max) if width else 0

    def _print_header(self, zone_names: str) -> None:
        widths = self._widths()
        long = self._titles | {_TIME: f"time ({zone_names})"}
        short = long | {_TIME: zone_names, _WHO: "user"}
        cells = [
            _fit((long if cell_len(long[column]) <= width else short)[column], width, column)
            for column, width in widths.items()
        ]
        statement = f"statement in {self._shared}" if self._shared else "statement"
        room = self._console.width - sum(width + len(_GAP) for width in widths.values())
        self._print(Text(_GAP.join([*cells, _cut(statement, room)]), "bold"))

    def _print_reason(self, reason: str) -> None:
        """Below the command, or as far to the left as it is long."""
        widths = self._widths()
        below_command = sum(widths[c] + len(_GAP) for c in (_TIME, _WHO) if c in widths)
        room = self._console.width - len("╰ ")
        indent = max(0, min(below_command, room - cell_len(reason)))
        self._print(Text(" " * indent + "╰ " + _cut(reason, room - indent), "red"))

    def _widths(self) -> dict[_Column, int]:
        """The widths of the columns that are shown in the terminal as it is now."""
        width = self._console.width
        widths = dict(self._natural)
        _narrow(widths, width - max(_STATEMENT_WIDTH_MIN, int(width * _STATEMENT_SHARE)), _NARROWER)
        _narrow(widths, width - _STATEMENT_WIDTH_MIN, _NARROWEST)
        return {column: width for column, width in widths.items() if width}

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _narrow(
    widths: dict[_Column, int], width_max: int, steps: Sequence[tuple[_Column, int]]
) -> None:
    """Take as many steps as it needs until the columns have no more than `width_max` in all."""
    for column, narrower in steps:
        if sum(width + len(_GAP) for width in widths.values() if width) <= width_max:
            return
        widths[column] = min(widths[column], narrower)


def _shared_database(rows: Sequence[Cells]) -> str:
    """The one database of all events that name one."""
    databases = {row.database for row in rows} - {""}
    return databases.pop() if len(databases) == 1 else ""


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
