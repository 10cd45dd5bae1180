"""What every storage is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

__all__ = ["Storage", "StoredObject"]


class StoredObject(NamedTuple):
    """An object's key, relative to the root, and its size in bytes."""

    key: str
    size: int


class Storage(Protocol):
    """What sinks write through and the lake reads through. All raise ServiceError.

    `list` raises ConfigError if there is nothing to list from, such as no bucket of this name.
    """

    url: str

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store `data` durably under `key`; False, and nothing done, if the key is taken."""
        ...

    def get(self, key: str, bytes_max: int | None = None, *, start: int = 0) -> bytes | None:
        """The object, or at most `bytes_max` bytes of it; None if there is none.

        They begin at byte `start`; a negative one counts from the end, as in a slice.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin with `prefix`, in the order of their keys."""
        ...
