"""Events that came before, told by their ids."""

from __future__ import annotations

__all__ = ["IDS_MAX", "RecentIds"]

IDS_MAX = 1_000_000
"""Event ids remembered, so that an event is shown once; they take about 150 MB."""


class RecentIds:
    """A set of ids that forgets the older half when it is full.

    Copies of an event lie in objects of nearly the same time (Firehose delivers at least once)
    or of the same day (both layouts below one root), and these are read one after another.
    """

    def __init__(self) -> None:
        self._half = IDS_MAX // 2
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def add(self, id: str) -> bool:
        """Take an id in; False if it is there."""
        if id in self._recent or id in self._older:
            return False
        self._recent.add(id)
        if len(self._recent) == self._half:
            self._older, self._recent = self._recent, set()
        return True
