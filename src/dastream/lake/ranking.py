"""Names and how often each was there, within a bound."""

from __future__ import annotations

import heapq
from typing import Generic, NamedTuple, TypeVar

__all__ = ["NAMES_MAX", "Ranking", "Usage"]

NAMES_MAX = 100_000
"""Names of a ranking; of more the rarer half is put together."""

_Name = TypeVar("_Name")


class Usage(NamedTuple):
    """What was done by or to something. Times are microseconds, of moments since 1970, UTC."""

    events: int = 0
    statements: int = 0
    failed: int = 0
    rows: int = 0
    duration_us: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def __or__(self, other: Usage) -> Usage:
        """Both together."""
        firsts = [us for us in (self.first_us, other.first_us) if us is not None]
        lasts = [us for us in (self.last_us, other.last_us) if us is not None]
        return Usage(
            events=self.events + other.events,
            statements=self.statements + other.statements,
            failed=self.failed + other.failed,
            rows=self.rows + other.rows,
            duration_us=self.duration_us + other.duration_us,
            first_us=min(firsts, default=None),
            last_us=max(lasts, default=None),
        )


class Ranking(Generic[_Name]):
    """What is known of each name; `others` is that of the rarest, if there were too many.

    Then counts of the rare names are too small, by what went into `others`.
    """

    def __init__(self, names_max: int = NAMES_MAX) -> None:
        self.others = Usage()
        self._names_max = names_max
        self._usages: dict[_Name, Usage] = {}

    def __len__(self) -> int:
        return len(self._usages)

    def add(self, name: _Name, usage: Usage) -> None:
        """Count something under a name."""
        known = self._usages.get(name)
        self._usages[name] = usage if known is None else known | usage
        if len(self._usages) > self._names_max:
            self._put_together()

    def most(self, count: int, by: str = "events") -> list[tuple[_Name, Usage]]:
        """The names with most of something; those with none of it are left out."""
        some = (item for item in self._usages.items() if getattr(item[1], by))
        return heapq.nlargest(count, some, key=lambda item: getattr(item[1], by))

    def all(self) -> list[tuple[_Name, Usage]]:
        """Every name, as they came."""
        return list(self._usages.items())

    def _put_together(self) -> None:
        ranked = sorted(self._usages.items(), key=lambda item: item[1].events, reverse=True)
        half = len(ranked) // 2
        for _, usage in ranked[half:]:
            self.others |= usage
        self._usages = dict(ranked[:half])
