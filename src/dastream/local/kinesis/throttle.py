"""A shard's share of each second, as the Developer Guide's "Quotas and limits" has it."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Throttle"]

_WRITTEN_BYTES = 1 << 20
_WRITTEN_RECORDS = 1000
_READ_BYTES = 2 << 20
_READ_CALLS = 5


class Throttle:
    """Says whether a shard may be written to or read from now. `now_seconds` only goes on."""

    def __init__(self, now_seconds: Callable[[], float] = time.monotonic) -> None:
        self._now_seconds = now_seconds
        self._shares: dict[tuple[int, str], _Share] = {}

    def may_write(self, shard: int, size_bytes: int) -> bool:
        """Whether a shard takes one more record of this size, which is then written."""
        size = self._share(shard, "written bytes", _WRITTEN_BYTES)
        count = self._share(shard, "written records", _WRITTEN_RECORDS)
        if size.left < size_bytes or count.left < 1:
            return False
        size.left -= size_bytes
        count.left -= 1
        return True

    def may_read(self, shard: int) -> bool:
        """Whether a shard answers one more GetRecords, which is then one of the five."""
        calls = self._share(shard, "read calls", _READ_CALLS)
        if calls.left < 1 or self._share(shard, "read bytes", _READ_BYTES).left <= 0:
            return False
        calls.left -= 1
        return True

    def has_read(self, shard: int, size_bytes: int) -> None:
        """Charge what was read; 10 MiB at once are paid for by the next seconds."""
        self._share(shard, "read bytes", _READ_BYTES).left -= size_bytes

    def _share(self, shard: int, of: str, per_second: int) -> _Share:
        now = self._now_seconds()
        share = self._shares.setdefault((shard, of), _Share(per_second, now))
        share.left = min(per_second, share.left + (now - share.at_seconds) * per_second)
        share.at_seconds = now
        return share


class _Share:
    """What is left of a second's worth."""

    def __init__(self, left: float, at_seconds: float) -> None:
        self.left = left
        self.at_seconds = at_seconds
