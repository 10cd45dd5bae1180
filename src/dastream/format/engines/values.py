"""The kinds of values that members have: what JSON is let through, and how it becomes a column.

Identifiers are text in one engine and numbers in another, so they become text everywhere. Times
have 0 to 9 digits of a second and an offset such as `+00`, `+05:30`, `Z`, or none for UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

__all__ = ["IDENTIFIER", "INTEGER", "TEXT", "TEXTS", "TIME", "Kind"]

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{0,9}))?"
    r" ?(?:Z|UTC|([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?)?",
    re.ASCII,
)
_USUAL_LENGTHS = frozenset({26, 29, 30})
"""Of Oracle's times; of PostgreSQL's and MySQL's; of SQL Server's, with a seventh digit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1
_INTEGER_CHARS_MAX = 20

_Integer = Annotated[int, Meta(ge=_INTEGER_MIN, le=_INTEGER_MAX)]


class Kind(NamedTuple):
    """A kind of value.

    `json` is the type that is let through, for msgspec; `convert` makes the column's value of
    it, None of null and blank. It raises ValueError for what does not fit.
    """

    json: Any
    convert: Callable[[Any], Any] | None = None


def _time_us(text: str | None) -> int | None:
    """Microseconds since 1970, UTC; digits beyond them are cut."""
    if not text:
        return None
    if len(text) in _USUAL_LENGTHS and text[19] == ".":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return _unusual_time_us(text)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    return _unusual_time_us(text)


def _unusual_time_us(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("no time")
    date, time, fraction, sign, *offset = match.groups()
    moment = datetime.fromisoformat(f"{date} {time}+00:00")
    whole = (moment - _EPOCH) // _MICROSECOND + int((fraction or "0").ljust(6, "0")[:6])
    hours, minutes, seconds = (int(part or 0) for part in offset)
    shift = (hours * 3600 + minutes * 60 + seconds) * 1_000_000
    return whole + shift if sign == "-" else whole - shift


def _identifier(value: str | int | None) -> str | None:
    return value or None if isinstance(value, str) else None if value is None else str(value)


def _integer(value: str | int | None) -> int | None:
    if not isinstance(value, str):
        return value
    if not value:
        return None
    digits = value.removeprefix("-")
    if not (len(digits) < _INTEGER_CHARS_MAX and digits.isascii() and digits.isdigit()):
        raise ValueError("no whole number")
    number = int(value)
    if not _INTEGER_MIN <= number <= _INTEGER_MAX:
        raise ValueError("beyond 64 bits")
    return number


def _texts(value: tuple[str | None, ...] | str | None) -> tuple[str | None, ...]:
    return value if isinstance(value, tuple) else ()


TEXT = Kind(str | None)
"""A string, as it is."""

IDENTIFIER = Kind(str | int | None, _identifier)
"""A string, or a whole number as its digits."""

INTEGER = Kind(_Integer | str | None, _integer)
"""A whole number of 64 bits, also one written as a string of digits."""

TEXTS = Kind(tuple[str | None, ...] | Literal[""] | None, _texts)
"""A list of strings and nulls; null is an empty one."""

TIME = Kind(str | None, _time_us)
"""A time stamp."""
