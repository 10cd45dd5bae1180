"""Times of PostgreSQL's log, in UTC.

The server writes local time and an abbreviation, `2026-10-25 02:30:00.123 CEST`, in the zone of
its setting `log_timezone`. Abbreviations are ambiguous (IST, CST), so without the name of the
zone only UTC, GMT and numbers (`+03`, as the tz database has for many zones) can be read.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dastream.errors import ConfigError, PayloadError

__all__ = ["MOMENT", "LogClock"]

MOMENT = re.compile(
    rb"(?:\{\"timestamp\":\")?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\"]{1,32})[,\"]"
)
"""How a row begins, in the JSON log and in the CSV log, and the time in it."""

_UTC = (" UTC", " GMT")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?\Z")


class LogClock:
    """Reads times of a server's log. `zone` is its `log_timezone`; without it, see above.

    Raises ConfigError if there is no such zone.
    """

    def __init__(self, zone: str | None = None) -> None:
        try:
            self._zone = None if zone is None else ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(
                f"postgres log: no time zone {zone!r}",
                hint="give the server's log_timezone, such as Europe/Berlin",
            ) from None

    def utc(self, timestamp: str) -> str:
        """The same time in UTC, `2026-10-25 00:30:00.123 UTC`.

        Raises ConfigError for an abbreviation that says nothing for certain, and PayloadError
        for what is no time.
        """
        if timestamp.endswith(_UTC):
            return timestamp
        try:
            local = datetime.fromisoformat(timestamp[:19])
        except ValueError:
            raise PayloadError("postgres log: a row has no time") from None
        # Offsets change with the hour, and an hour that comes twice has two abbreviations.
        moment = local - _offset(timestamp[:13], timestamp[24:], self._zone)
        return f"{moment:%Y-%m-%d %H:%M:%S}{timestamp[19:23]} UTC"


@lru_cache(maxsize=256)
def _offset(hour: str, abbreviation: str, zone: ZoneInfo | None) -> timedelta:
    if number := _OFFSET.match(abbreviation):
        size = timedelta(hours=int(number[2]), minutes=int(number[3] or 0))
        return -size if number[1] == "-" else size
    local = datetime.fromisoformat(f"{hour}:00").replace(tzinfo=zone)
    for moment in (local, local.replace(fold=1)) if zone else ():
        offset = moment.utcoffset()
        if moment.tzname() == abbreviation and offset is not None:
            return offset
    raise ConfigError(
        f"postgres log: the times are not in UTC, but in {abbreviation!r}",
        hint="set log_timezone = 'UTC' and reload the server, or say which zone it is set to",
    )
