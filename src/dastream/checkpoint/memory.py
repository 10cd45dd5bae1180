"""Checkpoints in memory."""

from __future__ import annotations

from collections.abc import Mapping

from dastream.checkpoint.contract import Beginning

__all__ = ["MemoryCheckpoints"]


class MemoryCheckpoints:
    """Progress that ends with the process, for looking at a stream."""

    def __init__(self) -> None:
        self._beginnings: dict[str, Beginning] = {}
        self._progress: dict[str, dict[str, str]] = {}
        self._seen_ms: dict[str, dict[str, int]] = {}

    def beginning(self, stream: str) -> Beginning | None:
        return self._beginnings.get(stream)

    def begin(self, stream: str, beginning: Beginning, *, aside: str) -> None:
        before = self._beginnings.get(stream)
        self._beginnings[stream] = beginning
        is_same = before is not None and before.created_ms == beginning.created_ms
        if not is_same and (earlier := self._progress.pop(stream, None)):
            self._progress[aside] = earlier

    def progress(self, stream: str) -> Mapping[str, str]:
        return dict(self._progress.get(stream, {}))

    def commit(
        self, stream: str, shard: str, through: str, seen_ms: Mapping[str, int] | None = None
    ) -> None:
        self._progress.setdefault(stream, {})[shard] = through
        if seen_ms is not None:
            self._seen_ms[stream] = dict(seen_ms)

    def seen_ms(self, stream: str) -> Mapping[str, int]:
        return dict(self._seen_ms.get(stream, {}))

    def close(self) -> None:
        """Nothing to let go of."""
