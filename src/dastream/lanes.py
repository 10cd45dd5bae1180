"""Several batches at a time, and those of one shard strictly one after another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Queue
from typing import Self

from dastream.record import SHARD_END, RecordBatch

__all__ = ["Lanes", "Move"]

Move = Callable[[RecordBatch, bool], None]
"""Brings a batch to its end: delivers it, as a whole if the second argument says so, commits."""

_Queue = Queue[tuple[RecordBatch, bool] | None]


class Lanes:
    """One thread for each of `moves`. A shard keeps its lane until it ends.

    A lane holds one batch that is under way and one that waits; who gives it a third waits too,
    and so reading goes no faster than delivering. A lane on which something is raised moves
    nothing more, as what it was given follows upon what failed; `failed` is called, for the
    reading to stop, and whoever gives a batch, or leaves the `with`, gets the error.
    """

    def __init__(self, moves: Sequence[Move], failed: Callable[[], None]) -> None:
        self._failed = failed
        self._error: BaseException | None = None
        self._lane_of: dict[str, int] = {}
        self._queues: list[_Queue] = [Queue(maxsize=1) for _ in moves]
        self._threads = [
            threading.Thread(target=self._run, args=lane, name="lane", daemon=True)
            for lane in zip(self._queues, moves, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __call__(self, batch: RecordBatch, is_held: bool) -> None:
        """Give a batch to the lane of its shard. Raises what was raised on any lane."""
        self._queues[self._lane(batch)].put((batch, is_held))
        if self._error is not None:
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            return  # ended at once: nobody waits for what is under way
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _lane(self, batch: RecordBatch) -> int:
        """The lane of a batch's shard; for a new shard the one with the fewest shards."""
        loads = Counter(self._lane_of.values())
        lane = self._lane_of.setdefault(
            batch.shard, min(range(len(self._queues)), key=loads.__getitem__)
        )
        if batch.through == SHARD_END:
            del self._lane_of[batch.shard]
        return lane

    def _run(self, queue: _Queue, move: Move) -> None:
        try:
            while (given := queue.get()) is not None:
                move(*given)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
            self._error = self._error or error
            self._failed()
            while queue.get() is not None:
                """Let go of whoever gives."""
