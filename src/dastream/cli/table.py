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
_STATEMENT_WIDTH_MIN = 28  # before a statement gets less, columns are left out, by their rank
_MILLISECONDS_WIDTH_MIN = 100  # a narrower terminal shows whole seconds
_CHARS_MAX = 2000  # more than any terminal is wide

_COMMAND_STYLES = {"READ": "green", "WRITE": "yellow", "DDL": "magenta", "ROLE": "red"}


class _Column(NamedTuple):
    """`width` is for rows that are not known yet; the column with the lowest `rank` goes first."""

    title: str
    text: Callable[[Cells], str]
    width: int
    width_max: int
    rank: int
    is_right: bool = False


def _who(row: Cells) -> str:
    return f"{row.user}@{row.database}" if row.database else row.user


def _command(row: Cells) -> str:
    return ("✗ " if row.outcome == "failed" else "  ") + row.command


def _rows(row: Cells) -> str:
    return "" if row.rows is None else f"{row.rows:,}"


def _took(row: Cells) -> str:
    return duration(row.duration_us)


_COLUMNS = (
    _Column("user@database", _who, 18, 26, rank=4),
    _Column("  command", _command, 16, 20, rank=5),
    _Column("object", lambda row: row.object, 22, 32, rank=3),
    _Column("rows", _rows, 6, 9, rank=2, is_right=True),
    _Column("took", _took, 7, 7, rank=1, is_right=True),
)
_BEFORE_COMMAND = 1


class Table:
    """Writes events to a terminal as they come, under a header, with a line for each new day.

    `events` are those that are known beforehand: the columns are made to fit them.
    """

    def __init__(self, console: Console, zone: tzinfo | None, events: Sequence[Event] = ()) -> None:
        self._console = console
        self._zone = zone
        self._day: date | None = None
        rows = [self._cells(event) for event in events]
        self._natural = [_natural_width(column, rows) for column in _COLUMNS]
        self._print_header(_zone_names(rows) or datetime.now(UTC).astimezone(zone).tzname() or "")

    def show(self, event: Event) -> None:
        """Write one event."""
        row = self._cells(event)
        if row.time is not None and row.time.date() != self._day:
            self._day = row.time.date()
            self._print(Text(f"{self._day:%Y-%m-%d  %A}", "dim italic"))
        texts = [column.text(row) for column in _COLUMNS]
        line = self._line(self._time(row), texts, ["dim", "cyan", _style(row), "", "", "dim"])
        line.append_text(_statement(row, self._console.width - line.cell_len))
        self._print(line)
        if row.outcome == "failed" and row.reason:
            self._print_reason(row.reason)

    def _cells(self, event: Event) -> Cells:
        return cells(event, self._zone, chars_max=_CHARS_MAX)

    def _print_header(self, zone_names: str) -> None:
        title = f"time ({zone_names})"
        time = title if len(title) <= self._time_width else zone_names
        line = self._line(time, [column.title for column in _COLUMNS], ["bold"] * 6)
        self._print(line.append("statement", "bold"))

    def _print_reason(self, reason: str) -> None:
        before = [width for width in self._widths()[:_BEFORE_COMMAND] if width]
        indent = self._time_width + sum(before) + len(_GAP) * (len(before) + 1)
        room = max(self._console.width - indent - 2, 1)
        self._print(Text(" " * indent + "╰ " + _fit(reason, room), "red"))

    def _line(self, time: str, texts: Sequence[str], styles: Sequence[str]) -> Text:
        """The cells before the statement, and the gap that follows them."""
        line = Text(_fit(time, self._time_width) + _GAP, styles[0])
        cells = zip(_COLUMNS, self._widths(), texts, styles[1:], strict=True)
        for column, width, text, style in cells:
            if width:
                line.append(_fit(text, width, is_right=column.is_right) + _GAP, style)
        return line

    @property
    def _time_width(self) -> int:
        return 12 if self._console.width >= _MILLISECONDS_WIDTH_MIN else 8

    def _time(self, row: Cells) -> str:
        if row.time is None:
            return ""
        is_wide = self._time_width > 8
        return row.time.isoformat(timespec="milliseconds" if is_wide else "seconds")[11:][
            : self._time_width
        ]

    def _widths(self) -> list[int]:
        """The columns' widths in the terminal as it is now; 0 leaves a column out."""
        widths = list(self._natural)
        for index in sorted(range(len(widths)), key=lambda index: _COLUMNS[index].rank):
            taken = sum(width + len(_GAP) for width in (self._time_width, *widths) if width)
            if self._console.width - taken >= _STATEMENT_WIDTH_MIN:
                break
            widths[index] = 0
        return widths

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _natural_width(column: _Column, rows: Sequence[Cells]) -> int:
    """As wide as the widest of its cells, within bounds; an empty column is left out."""
    if not rows:
        return column.width
    width = max(cell_len(column.text(row)) for row in rows)
    return min(max(width, len(column.title)), column.width_max) if width else 0


def _zone_names(rows: Sequence[Cells]) -> str:
    """The zone of all times; two where summer time begins or ends among them."""
    return "/".join(sorted({row.time.tzname() or "" for row in rows if row.time}))


def _style(row: Cells) -> str:
    return "bold red" if row.outcome == "failed" else _COMMAND_STYLES.get(row.command_class, "")


def _statement(row: Cells, width: int) -> Text:
    """The statement and its bind values, cut to a width; a session's client where it has none."""
    if not row.statement:
        return Text(_cut(row.client and f"from {row.client}", width), "dim")
    if not row.params:
        return Text(_cut(row.statement, width))
    params = _cut(row.params, max(width // 3, width - cell_len(row.statement) - len(_GAP)))
    text = Text(_cut(row.statement, width - cell_len(params) - len(_GAP)))
    return text.append(_GAP).append(params, "dim")


def _fit(text: str, width: int, *, is_right: bool = False) -> str:
    """Text in exactly this many cells of a terminal."""
    text = _cut(text, width)
    padding = " " * (width - cell_len(text))
    return padding + text if is_right else text + padding


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""
