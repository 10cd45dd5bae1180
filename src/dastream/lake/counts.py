"""What a search went through, and what it could not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Counts", "Damage"]


class Damage(NamedTuple):
    """What could not be read of an object, and why.

    That is `lines` lines, of which `line` is the first; with `lines` None, everything from there
    on. A Parquet file has no lines: both are None.
    """

    key: str
    reason: str
    line: int | None = None
    lines: int | None = None


@dataclass(slots=True)
class Counts:
    """What a search went through.

    `objects` are the delivered ones, `dead_letters` and `others` were left alone; the records of
    all objects arrived between `oldest_us` and `newest_us`. `objects_older` could only hold
    matches older than the newest, which filled the limit. `events` were looked at;
    `events_skipped` lie in objects that were read, in parts that cannot hold the time.
    `is_in_order` is False when matches came late, or were more than can wait.
    """

    objects: int = 0
    objects_read: int = 0
    objects_older: int = 0
    dead_letters: int = 0
    others: int = 0
    oldest_us: int | None = None
    newest_us: int | None = None
    events: int = 0
    events_skipped: int = 0
    matched: int = 0
    duplicates: int = 0
    damages: int = 0
    is_in_order: bool = True

    def add(self, from_us: int, until_us: int) -> None:
        """Count an object whose records arrived from one time to before the other."""
        self.objects += 1
        if self.oldest_us is None or from_us < self.oldest_us:
            self.oldest_us = from_us
        if self.newest_us is None or until_us > self.newest_us:
            self.newest_us = until_us
