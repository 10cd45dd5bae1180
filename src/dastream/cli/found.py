"""What a search found, on standard output; and what it says of itself on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo

from rich.console import Console

from dastream import line
from dastream.cli.cells import counted, escape
from dastream.cli.show import CsvView, JsonView, PlainView, tell
from dastream.cli.table import Table
from dastream.errors import ConfigError
from dastream.event import Event
from dastream.lake.counts import Counts, Damage
from dastream.lake.order import Match
from dastream.lake.statements import fold
from dastream.record import iso_time

__all__ = [
    "TableView",
    "View",
    "gather",
    "nothing_delivered",
    "nothing_of_that_time",
    "open_view",
    "report",
    "scanned",
]

View = Callable[[Match], None]


def open_view(console: Console, zone: tzinfo | None, format: str) -> View:
    """How a match is shown as `json`, `csv` or `plain`.

    The first two are for programs, and have an auxiliary event after that of its statement.
    """
    if format == "plain":
        plain = PlainView(console.file, zone)
        return lambda match: plain.show(fold(match))
    if format == "csv":
        rows = CsvView(console, zone)
        return lambda match: _each(match, rows.show)
    lines = JsonView(console)
    return lambda match: _each(match, lambda event: lines.show(line.write(event)))


def _each(match: Match, show: Callable[..., None]) -> None:
    for event in (match.event, *match.auxiliaries):
        show(event)


class TableView:
    """A table on a terminal, made when there is something to show."""

    def __init__(self, console: Console, zone: tzinfo | None) -> None:
        self._console = console
        self._zone = zone
        self._table: Table | None = None

    def show_all(self, events: Sequence[Event]) -> None:
        """Show events whose columns the table is made to fit."""
        if events:
            self._table = Table(self._console, self._zone, events)
            for event in events:
                self._table.show(event)

    def __call__(self, match: Match) -> None:
        """Show one more."""
        if self._table is None:
            self._table = Table(self._console, self._zone)
        self._table.show(fold(match))


def gather(matches: Iterable[Match], counts: Counts) -> list[Match]:
    """All matches, with something to look at meanwhile."""
    with Console(stderr=True).status(_Progress(counts)):
        return list(matches)


class _Progress:
    """What a waiting person sees; rendered anew with each turn of the spinner."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def __rich__(self) -> str:
        counts = self._counts
        return f"{counts.objects_read:,} of {counts.objects:,} objects, {counts.matched:,} found"


def report(damage: Damage) -> None:
    """Tell what could not be read."""
    where = ""
    if damage.line is not None:
        where = f"line {damage.line}: " if damage.lines else f"from line {damage.line} on: "
    more = f" (and {damage.lines - 1} more)" if damage.lines and damage.lines > 1 else ""
    tell(f"error: {escape(damage.key)}: {where}{damage.reason}{more}")


def nothing_delivered(command: str, counts: Counts, lake: str) -> ConfigError:
    """An error, and not an empty answer: a typo must not read as "nobody did that"."""
    there = counted(counts.others, "other object") if counts.others else "nothing"
    if counts.dead_letters:
        there = f"only {counted(counts.dead_letters, 'object')} of dead letters"
    return ConfigError(
        f"{command}: no delivered events at {escape(lake)}, {there} below it",
        hint="give the place of delivery or one above it: below it is events/ of a lake, or "
        "YYYY/MM/DD/HH/ of Firehose",
    )


def scanned(
    counts: Counts, seconds: float, *, limit: int | None = None, first: str = "newest"
) -> str:
    """One line: what was found, or why nothing was, and what it took; nothing that is zero.

    With a limit, `first` says of what kind the matches are that it left.
    """
    skipped = counts.objects - counts.objects_read - counts.objects_older
    parts = [_matched(counts, limit, first)]
    if counts.duplicates:
        parts.append(f"{counted(counts.duplicates, 'copy', 'copies')} left out")
    if counts.events_skipped:
        parts.append(f"{counted(counts.events_skipped, 'event')} skipped")
    if counts.objects_read:
        parts.append(f"{counted(counts.objects_read, 'object')} read")
        if skipped:
            parts.append(f"{counted(skipped, 'object')} skipped by their time")
    if counts.objects_older:
        parts.append(f"{counted(counts.objects_older, 'older object')} not read")
    parts.append(f"{seconds:.2f} s")
    if not counts.is_in_order:
        parts.append("not all in order (--since, --until and --limit help)")
    if counts.dead_letters:
        parts.append(f"{counted(counts.dead_letters, 'object')} of dead letters not searched")
    return " · ".join(parts)


def _matched(counts: Counts, limit: int | None, first: str) -> str:
    if not counts.objects_read:
        return nothing_of_that_time(counts.oldest_us, counts.newest_us)
    if limit is not None and (counts.matched > limit or counts.objects_older):
        more = " or more" if counts.objects_older else ""
        return f"the {first} {limit:,} of {counts.matched:,}{more} matches (--limit N shows more)"
    return f"{counts.matched:,} of {counted(counts.events, 'event')} matched"


def nothing_of_that_time(oldest_us: int | None, newest_us: int | None) -> str:
    """Why an answer is empty: no object of the lake can hold it."""
    if oldest_us is None or newest_us is None:
        return "nothing is delivered yet"
    return (
        "nothing is of that time: what was delivered arrived from "
        f"{iso_time(oldest_us // 1000)} to {iso_time(newest_us // 1000)}"
    )
