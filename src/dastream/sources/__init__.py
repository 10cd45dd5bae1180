"""Where records come from, opened by URL.

A source reads the shards of a stream and yields batches of records. It never commits: progress
is handed to it, and the pipeline stores it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol

from dastream.errors import ConfigError
from dastream.record import Record, RecordBatch
from dastream.settings import split_url
from dastream.sources.batcher import BatchLimits

__all__ = ["BatchLimits", "Source", "StreamDescription", "open_source"]

ENTRY_POINTS = "dastream.sources"

_BUILT_IN = {"kinesis": "dastream.sources.kinesis"}

READING_MS = 120_000
"""The time that a first read may take, while what it is to read expires."""


class StreamDescription(NamedTuple):
    """What a source tells of its stream before it reads. Times are milliseconds since 1970.

    All times are of the stream's own clock. `created_ms` is the stream's creation, which tells it
    from others of its name, `now_ms` the time of the answer, `retention_ms` for how long a record
    is kept. `start_ms` is the time from which on records are asked for: 0 for all, None for from
    now on. `shards` has the sequence number that each shard began with.
    """

    created_ms: int
    now_ms: int
    retention_ms: int
    start_ms: int | None
    shards: Mapping[str, str]

    @property
    def horizon_ms(self) -> int:
        """The time before which no record that is in the stream arrived."""
        return max(self.created_ms, self.now_ms - self.retention_ms)

    @property
    def lasting_ms(self) -> int:
        """The time from which on what arrived is there for two minutes yet, to be read."""
        return max(self.created_ms, self.now_ms - self.retention_ms + READING_MS)


class Source(Protocol):
    """The contract of every source."""

    stream: str
    """The name of the stream, which checkpoints go by."""

    @property
    def lag_ms(self) -> Mapping[str, int]:
        """How far behind the tip of its shard the last read of each shard was."""
        ...

    def ahead(self) -> Iterable[Record] | None:
        """The records that were read and not given in a batch yet.

        None unless all shards are read to their tips, so that there are no others. Asked by whoever
        takes the batches, between two of them.
        """
        ...

    def describe(self) -> StreamDescription:
        """Ask for the stream. Raises SourceError."""
        ...

    def batches(
        self, progress: Mapping[str, str], start_ms: int = 0, lost_ms: int = 0
    ) -> Iterator[RecordBatch]:
        """Batches of each shard, strictly one after another from its `progress` on.

        A shard without progress gives what arrived from `start_ms` on, and a gap if some of that
        may have expired: what arrived before `lost_ms` may, whatever the stream tells now. Ends
        when it was told to stop, or, for a source that reads once, at the tip of every shard. What
        has been read by then is yielded before. Raises SourceError.
        """
        ...

    def stop(self) -> None:
        """Let `batches` end soon. May be called from a signal handler or another thread."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def open_source(url: str, *, once: bool = False, limits: BatchLimits | None = None) -> Source:
    """The source that a URL names, built in or from the entry-point group `dastream.sources`.

    A source's module, or entry point, has `open(url, *, once, limits) -> Source`; `once` ends at
    the tip of every shard. Raises ConfigError.
    """
    scheme = split_url(url).scheme
    if scheme in _BUILT_IN:
        source: Source = import_module(_BUILT_IN[scheme]).open(url, once=once, limits=limits)
        return source
    for entry_point in entry_points(group=ENTRY_POINTS, name=scheme):
        opened: Source = entry_point.load().open(url, once=once, limits=limits)
        return opened
    raise ConfigError(
        f"source: no source for {scheme or 'a URL without a scheme'}", hint="use kinesis://NAME"
    )
