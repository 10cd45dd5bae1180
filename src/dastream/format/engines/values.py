"""Members of an entry as typed values. Total: what does not fit is None, and is named.

Identifiers are text in one engine and numbers in another, so they become text everywhere. Times
have 0 to 9 digits of a second and an offset such as `+00`, `+05:30`, `Z`, or none for UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from dastream.errors import NOT_JSON

__all__ = ["Values"]

_decode = msgspec.json.Decoder().decode

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{0,9}))?"
    r" ?(?:Z|UTC|([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Values:
    """Reads the members of one entry by name and type, and notes those that do not fit."""

    def __init__(self, entry: bytes) -> None:
        self._members: dict[str, Any] = {}
        self.misfits: list[str] = []
        try:
            members = _decode(entry)
        except NOT_JSON:
            # JSON that passes as a whole may hold what no text can: a lone surrogate.
            self.misfits.append("entry")
            return
        if isinstance(members, dict):
            self._members = members
        else:
            self.misfits.append("entry")

    def text(self, name: str) -> str | None:
        """A non-empty string; a number (an identifier in some engine) as its digits."""
        value = self._members.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None or isinstance(value, str):
            return value or None
        self.misfits.append(name)
        return None

    def integer(self, name: str) -> int | None:
        """A whole number, also one written as a string of digits."""
        value = self._members.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _is_decimal(value):
            return int(value)
        self.misfits.append(name)
        return None

    def texts(self, name: str) -> tuple[str | None, ...]:
        """A list of strings and nulls; null is an empty one."""
        value = self._members.get(name)
        if value is None or value == "":
            return ()
        if isinstance(value, list) and all(v is None or isinstance(v, str) for v in value):
            return tuple(value)
        self.misfits.append(name)
        return ()

    def time_us(self, name: str) -> int | None:
        """A time stamp as microseconds since 1970, UTC; digits beyond them are cut."""
        value = self._members.get(name)
        if value is None or value == "":
            return None
        time_us = _microseconds(value) if isinstance(value, str) else None
        if time_us is None:
            self.misfits.append(name)
        return time_us


def _is_decimal(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) <= 20 and digits.isascii() and digits.isdigit()


def _microseconds(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, sign, *offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date} {time}+00:00")
    except ValueError:
        return None
    whole = (moment - _EPOCH) // _MICROSECOND + int((fraction or "0").ljust(6, "0")[:6])
    hours, minutes, seconds = (int(part or 0) for part in offset)
    shift = (hours * 3600 + minutes * 60 + seconds) * 1_000_000
    return whole + shift if sign == "-" else whole - shift
