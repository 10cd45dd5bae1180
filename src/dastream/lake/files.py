"""The Parquet files of a lake, read in parts: for pyarrow, and for DuckDB.

DuckDB's own reader asks for the parts that a query needs, wherever the lake is, so nothing has
to be downloaded or installed, and one client with one set of credentials reads all. DuckDB sees
the objects that it is given here, under a scheme of their own, and can only read them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from fsspec import AbstractFileSystem

from dastream.lake.reader import DeliveredObject
from dastream.storage import Storage

__all__ = ["SCHEME", "LakeFiles", "ObjectFile"]

SCHEME = "dastream://"
"""What the paths begin with under which DuckDB sees a lake's objects."""

_NEVER_CHANGED = datetime(1970, 1, 1, tzinfo=UTC)


class ObjectFile(io.RawIOBase):
    """An object of a storage as a file. Raises ServiceError if the storage fails."""

    def __init__(self, storage: Storage, item: DeliveredObject) -> None:
        self._storage = storage
        self._item = item
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
        data = self._storage.get(self._item.key, length, start=self._position) if length else b""
        self._position += len(data or b"")
        return data or b""

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class LakeFiles(AbstractFileSystem):  # type: ignore[misc]
    """Objects of a storage as an fsspec file system: DuckDB takes one for a scheme."""

    protocol = SCHEME.removesuffix("://")
    cachable = False

    def __init__(self, storage: Storage, items: Iterable[DeliveredObject]) -> None:
        super().__init__()
        self._storage = storage
        self._items = {item.key: item for item in items}

    def open(self, path: str, mode: str = "rb", **_options: Any) -> ObjectFile:
        """An object to be read."""
        if mode != "rb":
            raise PermissionError("the lake is only read")
        return ObjectFile(self._storage, self._find(path))

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """What DuckDB asks about a file: its size."""
        item = self._find(path)
        return {"name": item.key, "size": item.size, "type": "file"}

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The objects whose paths match; `*` stands for a slash, too."""
        pattern = path.removeprefix(SCHEME)
        return [key for key in self._items if fnmatchcase(key, pattern)]

    def exists(self, path: str, **_options: Any) -> bool:
        """Whether there is an object."""
        return path.removeprefix(SCHEME) in self._items

    def isfile(self, path: str) -> bool:
        """The same: there are no directories."""
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        """There are none."""
        del path
        return False

    def modified(self, path: str) -> datetime:
        """Objects never change, so DuckDB may keep what it has read."""
        del path
        return _NEVER_CHANGED

    def _find(self, path: str) -> DeliveredObject:
        try:
            return self._items[path.removeprefix(SCHEME)]
        except KeyError:
            raise FileNotFoundError(path) from None
