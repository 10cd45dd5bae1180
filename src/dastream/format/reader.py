"""A cursor over bytes from outside: every step is checked against what is really there."""

from __future__ import annotations

from dastream.errors import DecryptError

__all__ = ["Reader"]


class Reader:
    """Takes fields from the front of `data`; raises DecryptError where the bytes run out."""

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._offset = 0
        self._what = what

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, end = self._offset, self._offset + count
        if end > len(self._data):
            raise DecryptError(f"{self._what}: ends {end - len(self._data)} bytes too early")
        self._offset = end
        return self._data[start:end]

    def uint(self, size: int) -> int:
        """The next `size` bytes as a big-endian unsigned number."""
        return int.from_bytes(self.take(size))

    def consumed(self) -> bytes:
        """All that has been taken so far."""
        return self._data[: self._offset]

    def expect_end(self) -> None:
        """Raise DecryptError if bytes are left."""
        left = len(self._data) - self._offset
        if left:
            raise DecryptError(f"{self._what}: {left} bytes after its end")
