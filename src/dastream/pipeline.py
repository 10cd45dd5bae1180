"""The only loop: read, deliver (which decodes and transforms), commit.

What it holds to:

1. A run begins where all its sinks end, whatever became of the checkpoints.
2. A range is committed only after every sink's `deliver` returned, and after the notice of a gap.
3. Every record is delivered, dropped by a named and counted transform, or a dead letter.
4. A batch that was half delivered when a run ended is formed again with the same extent, so that
   its sinks find it and nothing is delivered twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dastream import notice
from dastream.beginning import settle
from dastream.checkpoint import Checkpoints
from dastream.delivery import Deliverer, Delivery
from dastream.errors import SinkError
from dastream.lanes import Lanes, Move
from dastream.record import Gap, RecordBatch
from dastream.refusals import opened
from dastream.resumption import Resumption
from dastream.sources import Source

__all__ = ["Counters", "Pipeline"]

INSTANCES_MAX = 1000
"""Instances whose last arrival is remembered; a cluster has 16 at most."""


@dataclass
class Counters:
    """What has been committed so far. `dropped` by transform, `dead_letters` by error.

    `events_held` are those that every sink held already from a run that did not commit them;
    `gaps` counts the places where records expired before they were read. `arrival_ms` is the last
    arrival of any record, `seen_ms` that of each instance's, also from before this run.
    """

    records: int = 0
    record_bytes: int = 0
    events: int = 0
    events_held: int = 0
    gaps: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    key_hits: int = 0
    key_misses: int = 0
    arrival_ms: int = 0
    seen_ms: Mapping[str, int] = field(default_factory=dict)

    def add(self, delivery: Delivery) -> None:
        """Count what was delivered and committed."""
        self.records += delivery.records
        self.record_bytes += delivery.record_bytes
        self.events += delivery.events
        self.events_held += delivery.events_held
        # New counters, not changed ones: a thread that shows progress may be reading the old.
        self.dropped = self.dropped + delivery.dropped
        self.dead_letters = self.dead_letters + delivery.dead_letters
        self.key_hits += delivery.key_hits
        self.key_misses += delivery.key_misses
        self.arrival_ms = max(self.arrival_ms, delivery.arrival_ms)
        self.seen_ms = _latest(self.seen_ms, delivery.seen_ms)


def _latest(seen_ms: Mapping[str, int], now_seen_ms: Mapping[str, int]) -> Mapping[str, int]:
    """The last arrivals of each instance; shards may tell them in any order."""
    latest = {
        instance: max(arrival_ms, seen_ms.get(instance, 0))
        for instance, arrival_ms in now_seen_ms.items()
    }
    return dict(list((dict(seen_ms) | latest).items())[:INSTANCES_MAX])


class Deliver(Protocol):
    """What delivers a batch: a `Deliverer` here, or a `Worker` that has one elsewhere."""

    def __call__(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """Deliver a batch, and tell of each part of it."""
        ...


class Pipeline:
    """Moves one stream from a source into the sinks of a deliverer.

    With `workers` these deliver, several shards at a time, and `deliver` tells what is held.
    `tell` is given a line for people when something about the stream is not as it should be. It
    `holds_back` records of which none opens, unless they are only to be looked at.
    `retention_ms` is for how long the stream keeps a record, None before `run` has asked.
    """

    def __init__(
        self,
        source: Source,
        deliver: Deliverer,
        checkpoints: Checkpoints,
        *,
        workers: Sequence[Deliver] = (),
        tell: Callable[[str], None] = lambda _: None,
        holds_back: bool = True,
    ) -> None:
        self.counters = Counters()
        self.retention_ms: int | None = None
        self._source = source
        self._deliver = deliver
        self._checkpoints = checkpoints
        self._workers = workers
        self._committing = threading.Lock()
        self._tell = tell
        self._holds_back = holds_back
        self._is_stopped = False

    def run(self) -> Counters:
        """Run until the source ends.

        Raises ServiceError, also where record after record is refused, and ConfigError for a start
        that is to come.
        """
        start = settle(self._source, self._deliver, self._checkpoints)
        self.retention_ms = start.retention_ms
        self.counters.seen_ms = start.seen_ms
        for line in start.told:
            self._tell(line)
        resumption = Resumption(self._deliver.extent)
        with self._lanes() as move:
            batches = self._source.batches(start.progress, start.start_ms, start.lost_ms)
            for read in self._opened(batches):
                if read.gap is not None:
                    self._report(read.gap)
                for batch, is_held in resumption(read):
                    move(batch, is_held)
        if resumption.is_waiting and not self._is_stopped:
            raise SinkError(
                "sink: a batch is held further than the stream reaches",
                hint="its records have expired: it is completed when the next one comes",
            )
        return self.counters

    def _opened(self, batches: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
        if not self._holds_back:
            return batches
        return opened(
            self._source, batches, self._deliver.opens, lambda: self._is_stopped, self._tell
        )

    def stop(self) -> None:
        """Deliver what has been read and return from `run`. For signal handlers and threads."""
        self._is_stopped = True
        self._source.stop()

    def _lanes(self) -> AbstractContextManager[Move]:
        """Where batches go: to the worker of their shard, or with no workers to be moved here."""
        if not self._workers:
            return nullcontext(partial(self._move, self._deliver))
        moves = [partial(self._move, worker) for worker in self._workers]
        return Lanes(moves, self._source.stop)

    def _move(self, deliver: Deliver, batch: RecordBatch, is_held: bool) -> None:
        for delivery in deliver(batch, whole=is_held):
            with self._committing:
                seen_ms = _latest(self.counters.seen_ms, delivery.seen_ms)
                self._checkpoints.commit(batch.stream, batch.shard, delivery.through, seen_ms)
                self.counters.add(delivery)

    def _report(self, gap: Gap) -> None:
        """Tell of a gap, durably before a checkpoint passes it."""
        told = notice.gap(self._source.stream, gap)
        self._deliver.notify(told)
        self._tell(told.text)
        self.counters.gaps += 1
