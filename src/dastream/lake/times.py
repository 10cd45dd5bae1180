"""Times as people write them: `2h`, `yesterday`, `2026-11-23`, `2026-11-23T07:28:05Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from dastream.errors import ConfigError

__all__ = ["microseconds", "parse_time"]

_AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS_AGO = {"today": 0, "yesterday": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment that a text means, in `zone` (None is the machine's) where it names none.

    `30s`, `15m`, `2h`, `7d` and `1w` are that long before `now`; `today` and `yesterday` begin
    at midnight; a date is its midnight; a time is ISO 8601. Raises ConfigError.
    """
    text = text.strip().lower()
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if text in _DAYS_AGO:
            day = now.astimezone(zone) - timedelta(days=_DAYS_AGO[text])
            return _in_zone(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001 - the zone comes next
        return _in_zone(datetime.fromisoformat(text.upper()), zone)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"time: {text!r} is none that dastream knows",
            hint="write 2h, 30m, 7d, today, yesterday, 2026-01-31 or 2026-01-31T23:59:00Z",
        ) from None


def _in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is not None or zone is None:
        return moment.astimezone()  # the machine's rules for that day, summer time included
    return moment.replace(tzinfo=zone)


def microseconds(moment: datetime) -> int:
    """A moment as the columns have it: microseconds since 1970, UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
