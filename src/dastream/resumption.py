"""Forming again the batches that a run delivered but did not commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dastream.errors import SinkError
from dastream.record import Extent, RecordBatch, is_reached

__all__ = ["Resumption"]


class Resumption:
    """Gives the first batches of each shard the extent that sinks already hold.

    A run that ended between delivery and commit left a batch under the name that the shard's
    first batch now has. Records are gathered until they reach as far as that batch, and cut
    there. Once nothing is held from a start, nothing further on is.

    `held` tells how much the sinks hold of the batch that starts where the given one does.
    """

    def __init__(self, held: Callable[[RecordBatch], Extent | None]) -> None:
        self._held = held
        self._waiting: dict[str, tuple[RecordBatch, Extent]] = {}
        self._settled: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether a held batch reaches further than what has been read of its shard."""
        return bool(self._waiting)

    def __call__(self, batch: RecordBatch) -> Iterator[tuple[RecordBatch, bool]]:
        """The same records as batches, each with whether sinks hold it already.

        Raises SinkError if a batch that they do not hold whole cannot be formed again.
        """
        rest: RecordBatch | None = batch
        while rest is not None and rest.shard not in self._settled:
            rest, extent = self._gathered(rest)
            if extent is None:
                self._settled.add(rest.shard)
            elif not is_reached(extent.through, by=rest.through):
                self._waiting[rest.shard] = (rest, extent)
                return
            else:
                again, rest = rest.split(extent.through)
                yield _formed_again(again, extent), True
        if rest is not None:
            yield rest, False

    def _gathered(self, batch: RecordBatch) -> tuple[RecordBatch, Extent | None]:
        if batch.shard not in self._waiting:
            return batch, self._held(batch)
        earlier, extent = self._waiting.pop(batch.shard)
        return earlier.joined(batch), extent


def _formed_again(batch: RecordBatch, extent: Extent) -> RecordBatch:
    """The records that the sinks hold of a batch: a run from a later start had fewer before them.

    Whether it is these, its digest tells.
    """
    if not (batch.gap or extent.is_whole) and len(batch.records) < extent.records:
        raise SinkError(
            "sink: a batch is held in part, and the run begins after its first record",
            hint="remove the state: a run without one begins where its sinks end",
        )
    return batch if batch.gap else batch.last(extent.records)
