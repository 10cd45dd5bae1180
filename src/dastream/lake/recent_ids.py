"""What was seen lately, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["IDS_MAX", "RecentIds"]

IDS_MAX = 1_000_000
"""Event ids remembered, so that an event is shown once; they take about 150 MB."""

Id = TypeVar("Id", bound=Hashable)


class RecentIds(Generic[Id]):
    """A set of ids that forgets the older half when it is full.

    Copies lie in objects of nearly the same time (Firehose delivers at least once) or of the same
    day (both layouts below one root), and these are read one after another.
    """

    def __init__(self, ids_max: int) -> None:
        self._half = ids_max // 2
        self._recent: set[Id] = set()
        self._older: set[Id] = set()

    def __contains__(self, id: Id) -> bool:
        return id in self._recent or id in self._older

    def add(self, id: Id) -> bool:
        """Take an id in; False if it is there."""
        if id in self:
            return False
        self._recent.add(id)
        if len(self._recent) == self._half:
            self._older, self._recent = self._recent, set()
        return True
