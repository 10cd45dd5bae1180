"""A query as conditions of SQL over the view `events`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dastream.lake.matching import Query
from dastream.lake.search import EARLY_US_MAX, LATE_US_MAX

__all__ = ["where"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times in SQL are UTC, and do not say so
_EARLY_US = EARLY_US_MAX + 24 * 3600 * 1_000_000
"""How far the day of an object may lie after the time of its events, and how far its begin may lie
before it."""

_NAMES = {
    "user": '"user"',
    "database": '"database"',
    "command": "command",
    "application": "client_application",
    "host": "remote_host",
}


def where(query: Query) -> tuple[str, dict[str, Any]]:
    """The conditions, and the values of their parameters; heartbeats are left out.

    Upper and lower case are the same, and `*` in a name stands for anything. Days are told too,
    so that objects of other days are not opened.
    """
    conditions, values = ["kind <> 'heartbeat'"], {}
    for field, column in _NAMES.items():
        if (pattern := getattr(query, field)) is not None:
            conditions.append(f"{column} ILIKE ${field} ESCAPE '\\'")
            values[field] = _like(pattern)
    for condition, more in (_object(query), _time(query), _others(query)):
        conditions += condition
        values |= more
    return " AND ".join(conditions), values


def _like(pattern: str) -> str:
    """A pattern as LIKE has it."""
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")


def _object(query: Query) -> tuple[list[str], dict[str, Any]]:
    if query.object is None:
        return [], {}
    condition = "object_name ILIKE $object ESCAPE '\\'"
    values = {"object": _like(query.object)}
    if "." not in query.object:
        condition = f"({condition} OR object_name ILIKE $of_schema ESCAPE '\\')"
        values["of_schema"] = "%." + values["object"]
    return [condition], values


def _time(query: Query) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if query.since_us is not None:
        since, first = _moment(query.since_us), _moment(query.since_us - _EARLY_US)
        conditions += ["time >= $since", "day >= $first_day"]
        values |= {"since": since, "first_day": first.date()}
    if query.until_us is not None:
        until, last = _moment(query.until_us), _moment(query.until_us + LATE_US_MAX)
        conditions += ["time < $until", "day <= $last_day"]
        values |= {"until": until, "last_day": last.date()}
    return conditions, values


def _moment(time_us: int) -> datetime:
    """Microseconds since 1970 as a time, at most the first or the last that there is."""
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return datetime.min if time_us < 0 else datetime.max  # noqa: DTZ901 - as _EPOCH


def _others(query: Query) -> tuple[list[str], dict[str, Any]]:
    conditions = ["succeeded = false"] if query.failed else []
    values: dict[str, Any] = {}
    if query.text is not None:
        conditions.append("contains(lower(statement), lower($text))")
        values["text"] = query.text
    if query.cluster is not None:
        conditions.append("$cluster IN (cluster_id, instance_id)")
        values["cluster"] = query.cluster
    return conditions, values
