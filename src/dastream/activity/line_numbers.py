"""Whether rows of the log are missing: the server numbers those of each process."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["PROCESSES_MAX", "LineNumbers", "started_at"]

PROCESSES_MAX = 15_000
"""Processes whose last number is remembered."""


class LineNumbers:
    """The number of the last row of each process, by its session id.

    `missing` counts rows that must have been written and were not read. `since` is when reading
    began, in seconds since 1970: of an older process the first rows were not asked for; 0 asks
    for no first rows. The last rows of a process cannot be missed.
    """

    def __init__(self, since: int = 0, last: Iterable[tuple[str, int]] = ()) -> None:
        self.since = since
        self.missing = 0
        self._last = dict(last)
        self._new: dict[str, int] = {}

    def take(self, session_id: str, line_num: int) -> None:
        """Another row."""
        last = self._new.get(session_id)
        self._new[session_id] = line_num
        if last is None:
            last = self._last.pop(session_id, None)
        if last is None:
            is_young = self.since and started_at(session_id) > self.since
            last = 0 if is_young else line_num - 1
        if line_num > last + 1:
            self.missing += line_num - last - 1

    def take_new(self) -> Collection[str]:
        """The processes that have had a row since the last call.

        What the methods below know is what was taken until then.
        """
        new, self._new = self._new, {}
        # Those that have been silent longest stand first.
        self._last |= new
        return new

    def last(self, session_id: str) -> int | None:
        """The number of the last row of a process that is remembered."""
        return self._last.get(session_id)

    def forget(self, session_id: str) -> None:
        """Do not expect another row."""
        self._last.pop(session_id, None)

    def excess(self) -> list[str]:
        """The processes that have been silent longest, if there are too many."""
        count = len(self._last) - PROCESSES_MAX
        return [session_id for session_id, _ in zip(self._last, range(count), strict=False)]


def started_at(session_id: str) -> int:
    """When a process has started, in seconds since 1970: its session id begins with that."""
    try:
        return int(session_id.partition(".")[0], 16)
    except ValueError:
        return 0
