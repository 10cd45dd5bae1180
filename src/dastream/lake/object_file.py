"""An object of a storage as a file, and the ends of objects that will be read soon.

A Parquet file is read from its end, and one that is small is read with that. So the ends of the
next ones are fetched while one is worked on: over a network that is most of the time.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dastream.lake.reader import DeliveredObject
from dastream.storage import Storage

__all__ = ["ObjectFile", "with_ends"]

END_BYTES = 64 << 10
AHEAD = 8
"""How many ends are fetched at the same time."""


class ObjectFile(io.RawIOBase):
    """An object of a storage as a file; `end` are its last bytes, if they are known already.

    Raises ServiceError if the storage fails.
    """

    def __init__(self, storage: Storage, item: DeliveredObject, end: bytes = b"") -> None:
        self._storage = storage
        self._item = item
        self._end = end
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._item.size}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._item.size - self._position)
        length = left if size is None or size < 0 else min(size, left)
        data = self._part(length) if length else b""
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _part(self, length: int) -> bytes:
        place = self._position - (self._item.size - len(self._end))
        if place >= 0:
            return self._end[place : place + length]
        return self._storage.get(self._item.key, length, start=self._position) or b""


def with_ends(
    storage: Storage, items: Iterable[DeliveredObject]
) -> Iterator[tuple[DeliveredObject, bytes]]:
    """Each object with its last bytes; those of JSON lines, which are read from the start, without.

    Raises ServiceError if the storage fails.
    """
    waiting: deque[tuple[DeliveredObject, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(AHEAD, "dastream-ends")
    try:
        for item in items:
            waiting.append((item, pool.submit(_end, storage, item)))
            if len(waiting) > AHEAD:
                first, end = waiting.popleft()
                yield first, end.result()
        for first, end in waiting:
            yield first, end.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end(storage: Storage, item: DeliveredObject) -> bytes:
    if not item.is_parquet:
        return b""
    return storage.get(item.key, start=max(0, item.size - END_BYTES)) or b""
