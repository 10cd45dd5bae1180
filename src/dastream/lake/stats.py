"""How a database is used: who, with what, when, on what, with which statements.

One reading of the lake groups its events in several ways at once (`GROUPING SETS`), in DuckDB
and so within its memory; what comes out of it goes into rankings that have a bound themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from dastream.lake.conditions import where
from dastream.lake.database import Database
from dastream.lake.matching import Query
from dastream.lake.ranking import Ranking, Usage
from dastream.lake.shape import CHARS_MAX, shape

__all__ = ["KINDS", "NEW_DAYS", "New", "Slow", "Stats", "read_stats"]

NEW_DAYS = 30
"""What is new in a time was not there on so many days before it."""

KINDS = {
    "users": '"user"',
    "applications": "client_application",
    "hosts": "remote_host",
    "objects": "object_name",
}
"""What has a name, and the column of it."""

_SETS: Mapping[str, tuple[str, ...]] = {
    "total": (),
    **{kind: (column,) for kind, column in KINDS.items()},
    "hours": ("quarter",),
    "shapes": ("engine", "text"),
    "failures": ('"user"', "command", "exit_code"),
}
_MAX = 2**63 - 1
"""An entry may claim any number, so a sum is wider than a column."""

_SPANS = f"""
    SELECT *, time_bucket(INTERVAL 15 minutes, time) AS quarter,
           left(statement, {CHARS_MAX + 1}) AS text
    FROM events"""
_USAGE = f"""
    count(*),
    count(statement),
    count_if(succeeded = false)::BIGINT,
    least(coalesce(sum(row_count) FILTER (row_count > 0), 0), {_MAX})::BIGINT,
    least(coalesce(sum(duration_us) FILTER (statement IS NOT NULL), 0), {_MAX})::BIGINT,
    epoch_us(min(time)),
    epoch_us(max(time))"""
_SLOWEST = """
    SELECT epoch_us(time), "user", "database", object_name, duration_us, row_count, engine,
           left(statement, $chars), event_id
    FROM events WHERE {conditions} AND statement IS NOT NULL AND duration_us IS NOT NULL
    ORDER BY duration_us DESC, time LIMIT $limit"""


class Slow(NamedTuple):
    """A statement that took long; its text is a shape."""

    time_us: int
    user: str | None
    database: str | None
    object: str | None
    duration_us: int
    rows: int | None
    engine: str
    shape: str
    event_id: str


class New(NamedTuple):
    """A name that was not there before: of a user, an application, a host or an object."""

    kind: str
    name: str
    usage: Usage


@dataclass
class Stats:
    """How a database was used.

    The names of `shapes` are of engine and shape, those of `failures` of user, command and exit
    code; `hours` are those of the day in a zone. What has no name (an event without a user) is
    counted under None.
    """

    total: Usage = field(default_factory=Usage)
    users: Ranking[str | None] = field(default_factory=Ranking)
    applications: Ranking[str | None] = field(default_factory=Ranking)
    hosts: Ranking[str | None] = field(default_factory=Ranking)
    objects: Ranking[str | None] = field(default_factory=Ranking)
    hours: Ranking[int] = field(default_factory=Ranking)
    shapes: Ranking[tuple[str, str]] = field(default_factory=Ranking)
    failures: Ranking[tuple[str | None, str | None, str | None]] = field(default_factory=Ranking)
    slowest: list[Slow] = field(default_factory=list)
    newest: list[New] = field(default_factory=list)


def read_stats(database: Database, query: Query, *, limit: int, zone: tzinfo | None) -> Stats:
    """Read what a query describes; lists have `limit` items. Raises as `Database.read` does."""
    stats = Stats()
    for set, names, usage in _groups(database, query, _SETS):
        match set:
            case "total":
                stats.total = usage
            case "hours":
                _add_hour(stats.hours, names[0], zone, usage)
            case "shapes" if names[1] is not None:
                stats.shapes.add((names[0], shape(names[1], names[0])), usage)
            case "failures":
                stats.failures.add(names, usage)
            case "shapes":
                pass
            case _:
                getattr(stats, set).add(names[0], usage)
    stats.slowest = list(_slowest(database, query, limit))
    stats.newest = _newest(database, query, stats, limit)
    return stats


def _groups(
    database: Database, query: Query, sets: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, tuple[Any, ...], Usage]]:
    """The names of a group, by the set that it is of, and what is known of it."""
    conditions, values = where(query)
    columns = list(dict.fromkeys(column for columns in sets.values() for column in columns))
    names = ", ".join(columns)
    grouping = ", ".join(f"({', '.join(columns)})" for columns in sets.values())
    sql = (
        f"SELECT grouping({names}), {names}, {_USAGE} FROM ({_SPANS} WHERE {conditions}) "
        f"GROUP BY GROUPING SETS ({grouping})"
    )
    by_number = {_number(columns, of_set): set for set, of_set in sets.items()}
    for number, *row in _rows(database, sql, values):
        set = by_number[number]
        places = map(columns.index, sets[set])
        yield set, tuple(row[place] for place in places), Usage(*row[len(columns) :])


def _number(columns: Sequence[str], of_set: Sequence[str]) -> int:
    """What DuckDB's `grouping` says of a set: a bit for each column that is not in it."""
    bits = (column not in of_set for column in columns)
    return sum(bit << place for place, bit in enumerate(reversed(list(bits))))


def _rows(database: Database, sql: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for batch in database.read(sql, dict(values)).batches:
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True)


def _add_hour(
    hours: Ranking[int], quarter: datetime | None, zone: tzinfo | None, usage: Usage
) -> None:
    """Count a quarter of an hour under the hour that it is of in a zone; zones differ by quarters.

    An event may have no time, or claim the year 1 or 9999.
    """
    if quarter is None:
        return
    with suppress(OverflowError, ValueError):
        hours.add(quarter.replace(tzinfo=UTC).astimezone(zone).hour, usage)


def _slowest(database: Database, query: Query, limit: int) -> Iterator[Slow]:
    conditions, values = where(query)
    sql = _SLOWEST.format(conditions=conditions)
    for row in _rows(database, sql, values | {"limit": limit, "chars": CHARS_MAX + 1}):
        slow = Slow(*row)
        yield slow._replace(shape=shape(slow.shape, slow.engine))


def _newest(database: Database, query: Query, stats: Stats, limit: int) -> list[New]:
    """The names that came last, of those that were not there before."""
    known = _known_before(database, query)
    new = [
        New(kind, name, usage)
        for kind in KINDS
        for name, usage in getattr(stats, kind).all()
        if name is not None and (kind, name) not in known
    ]
    return sorted(new, key=lambda one: one.usage.first_us or 0, reverse=True)[:limit]


def _known_before(database: Database, query: Query) -> set[tuple[str, str]]:
    if query.since_us is None:
        return set()
    before = replace(
        query,
        since_us=query.since_us - timedelta(days=NEW_DAYS) // timedelta(microseconds=1),
        until_us=query.since_us,
    )
    sets = {kind: _SETS[kind] for kind in KINDS}
    return {(set, names[0]) for set, names, _ in _groups(database, before, sets)}
