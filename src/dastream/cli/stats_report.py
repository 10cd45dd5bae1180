"""Statistics as lists with bars, for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import tzinfo
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from dastream.cli.cells import counted, duration, escape, moment, one_line
from dastream.cli.pager import paged
from dastream.cli.show import open_console
from dastream.lake.ranking import Ranking, Usage
from dastream.lake.references import references
from dastream.lake.stats import KINDS, Slow, Stats

__all__ = ["show"]

_BAR_WIDTH = 24
_NUMBERS_WIDTH = 38
"""Of events, failed and time, with the gaps around them."""

_NAME_WIDTH_MIN, _NAME_WIDTH_MAX = 12, 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NO_NAME = "(none)"


class _Row(NamedTuple):
    """A line of a list: a name, what is known of it, and what its bar measures."""

    name: str
    usage: Usage
    measure: int
    notes: tuple[str, ...] = ()


def show(stats: Stats, limit: int, zone: tzinfo | None) -> None:
    """Lists for people, through a pager on a terminal."""
    if not stats.total.events:
        return
    console = open_console()
    with paged() if console.is_terminal else nullcontext(console) as output:
        for text in _report(stats, limit, zone, output):
            text.rstrip()
            output.print(text, soft_wrap=True)


def _report(stats: Stats, limit: int, zone: tzinfo | None, console: Console) -> Iterator[Text]:
    yield from _total(stats.total, zone)
    for title, rows in _lists(stats, limit, zone):
        if rows:
            yield Text()
            yield from _list(title, rows, console)
    if stats.slowest:
        yield Text()
        yield Text("slowest statements", "bold")
        for slow in stats.slowest:
            yield from _slow(slow, zone, console)
    if stats.newest:
        yield Text()
        yield Text("new", "bold")
        for kind, name, usage in stats.newest:
            text = (
                f"  {_moment(usage.first_us, zone)}  {kind.removesuffix('s'):<11}  {escape(name)}"
            )
            yield _cut(Text(text), console)


def _total(total: Usage, zone: tzinfo | None) -> Iterator[Text]:
    events, statements = counted(total.events, "event"), counted(total.statements, "statement")
    yield Text(f"{events}, {statements}, {total.failed:,} failed", "bold")
    first, last = _moment(total.first_us, zone), _moment(total.last_us, zone)
    yield Text(f"from {first} to {last} {_zone_name(total.last_us, zone)}", "dim")


def _lists(stats: Stats, limit: int, zone: tzinfo | None) -> Iterator[tuple[str, list[_Row]]]:
    for kind in KINDS:
        ranking: Ranking[str | None] = getattr(stats, kind)
        yield (
            _title(kind, ranking),
            [
                _Row(escape(name or _NO_NAME), usage, usage.events)
                for name, usage in ranking.most(limit)
            ],
        )
    yield (
        f"hours ({_zone_name(stats.total.last_us, zone)})",
        [_Row(f"{hour:02}:00", usage, usage.events) for hour, usage in sorted(stats.hours.all())],
    )
    yield (
        _title("statements", stats.shapes),
        [
            _Row(one_line(shape), usage, usage.events, _named(shape, engine))
            for (engine, shape), usage in stats.shapes.most(limit)
        ],
    )
    yield (
        "most failed",
        [
            _Row(escape(" ".join(part or _NO_NAME for part in names)), usage, usage.failed)
            for names, usage in stats.failures.most(limit, "failed")
        ],
    )


def _title(kind: str, ranking: Ranking[Any]) -> str:
    """What a list is of, and of how many."""
    more = f", and {counted(ranking.others.events, 'event')} of rarer ones"
    return f"{kind} ({len(ranking):,}{more if ranking.others.events else ''})"


def _named(shape: str, engine: str) -> tuple[str, ...]:
    tables, columns = references(shape, engine)
    parts = [f"tables {', '.join(tables)}"] if tables else []
    parts += [f"columns {', '.join(columns)}"] if columns else []
    return (escape("; ".join(parts)),) if parts else ()


def _list(title: str, rows: list[_Row], console: Console) -> Iterator[Text]:
    """The rows under their title; a name that is long has a line of its own."""
    width = min(max(cell_len(row.name) for row in rows), _NAME_WIDTH_MAX)
    if console.is_terminal:
        room = console.width - _NUMBERS_WIDTH - _BAR_WIDTH
        width = min(width, max(room, _NAME_WIDTH_MIN))
    greatest = max(row.measure for row in rows)
    head = f"  {'':<{width}}  {'events':>11}  {'failed':>9}  {'time':>8}"
    yield Text.assemble((title, "bold"), (head[cell_len(title) :], "dim"))
    for row in rows:
        name = row.name
        if cell_len(name) > width:
            yield _cut(Text(f"  {name}"), console)
            name = ""
        yield _numbers(set_cell_size(name, width), row, greatest)
        for note in row.notes:
            yield _cut(Text(f"    {note}", "dim"), console)


def _numbers(name: str, row: _Row, greatest: int) -> Text:
    usage = row.usage
    failed = f"{usage.failed:>9,}" if usage.failed else f"{'':>9}"
    return Text.assemble(
        f"  {name}  {usage.events:>11,}  ",
        (failed, "red"),
        (f"  {duration(usage.duration_us or None):>8}", "dim"),
        ("  " + _bar(row.measure, greatest), "cyan"),
    )


def _bar(measure: int, greatest: int) -> str:
    """A bar in eighths of a cell, as long as the measure is of the greatest."""
    eighths = -(-measure * _BAR_WIDTH * 8 // greatest) if greatest else 0
    whole, part = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[part].strip()


def _slow(slow: Slow, zone: tzinfo | None, console: Console) -> Iterator[Text]:
    who = "@".join(filter(None, (slow.user, slow.database)))
    rows = "" if slow.rows is None else counted(slow.rows, "row")
    about = "  ".join(filter(None, (who, slow.object, rows)))
    line = f"  {_moment(slow.time_us, zone)}  {duration(slow.duration_us):>8}  {escape(about)}"
    yield _cut(Text(line), console)
    yield _cut(Text(f"    {one_line(slow.shape)}", "dim"), console)


def _cut(text: Text, console: Console) -> Text:
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
    return text


def _moment(time_us: int | None, zone: tzinfo | None) -> str:
    time = moment(time_us, zone)
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "unknown"


def _zone_name(time_us: int | None, zone: tzinfo | None) -> str:
    time = moment(time_us, zone)
    return (time.tzname() if time else None) or "UTC"
