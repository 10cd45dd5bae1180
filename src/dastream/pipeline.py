"""The only loop: read, deliver (which decodes and transforms), commit.

What it holds to:

1. A range is committed only after every sink's `deliver` returned.
2. Every record is delivered, dropped by a named and counted transform, or a dead letter.
3. A batch that was delivered but not committed when a run ended is formed again with the same
   extent, so that its sinks find it and nothing is delivered twice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dastream.checkpoint import Checkpoints
from dastream.delivery import Deliverer, Delivery
from dastream.errors import SinkError
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

    def add(self, delivery: Delivery) -> None:
        """Count what was delivered and committed."""
        self.records += delivery.records
        self.record_bytes += delivery.record_bytes
        self.events += delivery.events
        # New counters, not changed ones: a thread that shows progress may be reading the old.
        self.dropped = self.dropped + delivery.dropped
        self.dead_letters = self.dead_letters + delivery.dead_letters


class Pipeline:
    """Moves one stream from a source into the sinks of a deliverer."""

    def __init__(self, source: Source, deliver: Deliverer, checkpoints: Checkpoints) -> None:
        self.counters = Counters()
        self._source = source
        self._deliver = deliver
        self._checkpoints = checkpoints
        self._is_stopped = False

    def run(self) -> Counters:
        """Run until the source ends. Raises ServiceError, also if all records are refused."""
        progress = self._checkpoints.progress(self._source.stream)
        resumption = Resumption(self._deliver.extent)
        for read in self._source.batches(progress):
            for batch, is_held in resumption(read):
                for delivery in self._deliver(batch, whole=is_held):
                    self._checkpoints.commit(batch.stream, batch.shard, delivery.through)
                    self.counters.add(delivery)
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
