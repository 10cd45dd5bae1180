"""What every checkpoint store keeps, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

__all__ = ["Beginning", "Checkpoints"]


class Beginning(NamedTuple):
    """What is settled when a stream is first read, in milliseconds since 1970.

    `created_ms` is the stream's creation, which tells it from a later one of the same name;
    records that arrived from `start_ms` on are wanted. `retention_ms` is for how long the stream
    kept a record at the last start, and what arrived before `lost_ms` may have expired by then.
    """

    created_ms: int
    start_ms: int
    retention_ms: int
    lost_ms: int


class Checkpoints(Protocol):
    """The contract of every checkpoint store. Only the pipeline writes to it."""

    def beginning(self, stream: str) -> Beginning | None:
        """How the stream was begun, None if it never was."""
        ...

    def begin(self, stream: str, beginning: Beginning, *, aside: str) -> None:
        """Store durably, and at once, how a stream is begun.

        Progress that is under its name stays if it is of the stream with this creation. Else it is
        an earlier stream's, and is kept under `aside`, in place of what may be there.
        """
        ...

    def progress(self, stream: str) -> Mapping[str, str]:
        """The committed sequence number of each shard that has one."""
        ...

    def commit(
        self, stream: str, shard: str, through: str, seen_ms: Mapping[str, int] | None = None
    ) -> None:
        """Store, durably when it returns, that a shard is delivered through a position.

        With it goes when records of each instance that is known arrived last, in milliseconds
        since 1970, in place of what was known before.
        """
        ...

    def seen_ms(self, stream: str) -> Mapping[str, int]:
        """When records of each instance arrived last, as was committed."""
        ...

    def close(self) -> None:
        """Let another consumer use the store."""
        ...
