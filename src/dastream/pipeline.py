"""The only loop: read, deliver (which decodes and transforms), commit.

What it holds to:

1. A range is committed only after every sink's `deliver` returned.
2. Every record is delivered, dropped by a named and counted transform, or a dead letter.
3. A batch that was delivered but not committed when a run ended is formed again with the same
   extent, so that its sinks find it and nothing is delivered twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dastream.checkpoint import Checkpoints
from dastream.delivery import Deliverer, Delivery
from dastream.errors import SinkError
from dastream.lanes import Lanes, Move
from dastream.record import RecordBatch
from dastream.resumption import Resumption
from dastream.sources import Source

__all__ = ["Counters", "Pipeline"]


@dataclass
class Counters:
    """What has been committed so far. `dropped` by transform, `dead_letters` by error."""

    records: int = 0
    record_bytes: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    key_hits: int = 0
    key_misses: int = 0

    def add(self, delivery: Delivery) -> None:
        """Count what was delivered and committed."""
        self.records += delivery.records
        self.record_bytes += delivery.record_bytes
        self.events += delivery.events
        # New counters, not changed ones: a thread that shows progress may be reading the old.
        self.dropped = self.dropped + delivery.dropped
        self.dead_letters = self.dead_letters + delivery.dead_letters
        self.key_hits += delivery.key_hits
        self.key_misses += delivery.key_misses


class Deliver(Protocol):
    """What delivers a batch: a `Deliverer` here, or a `Worker` that has one elsewhere."""

    def __call__(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """Deliver a batch, and tell of each part of it."""
        ...


class Pipeline:
    """Moves one stream from a source into the sinks of a deliverer.

    With `workers` these deliver, several shards at a time, and `deliver` tells what is held.
    """

    def __init__(
        self,
        source: Source,
        deliver: Deliverer,
        checkpoints: Checkpoints,
        *,
        workers: Sequence[Deliver] = (),
    ) -> None:
        self.counters = Counters()
        self._source = source
        self._deliver = deliver
        self._checkpoints = checkpoints
        self._workers = workers
        self._committing = threading.Lock()
        self._is_stopped = False

    def run(self) -> Counters:
        """Run until the source ends. Raises ServiceError, also if all records are refused."""
        progress = self._checkpoints.progress(self._source.stream)
        resumption = Resumption(self._deliver.extent)
        with self._lanes() as move:
            for read in self._source.batches(progress):
                for batch, is_held in resumption(read):
                    move(batch, is_held)
        if resumption.is_waiting and not self._is_stopped:
            raise SinkError(
                "sink: a batch is held further than the stream reaches",
                hint="the stream was recreated or its records expired: deliver to another place",
            )
        return self.counters

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
                self._checkpoints.commit(batch.stream, batch.shard, delivery.through)
                self.counters.add(delivery)
