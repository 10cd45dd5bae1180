"""A checkpoint store that several consumers may open: the newest one is the one that commits."""

from dastream.checkpoint import MemoryCheckpoints
from dastream.errors import ServiceError


class FencedCheckpoints:
    """Outlives the consumers. `committed` is told of each commit that took effect."""

    def __init__(self, committed):
        self._held = MemoryCheckpoints()
        self._committed = committed
        self._generation = 0

    def next_generation(self):
        self._generation += 1
        return _Generation(self, self._generation)

    def progress(self, stream):
        return self._held.progress(stream)

    def commit(self, generation, stream, shard, through):
        if generation != self._generation:
            raise ServiceError("state: another consumer has started")
        self._held.commit(stream, shard, through)
        self._committed(shard, through)


class _Generation:
    def __init__(self, store, number):
        self._store = store
        self._number = number

    def progress(self, stream):
        return self._store.progress(stream)

    def commit(self, stream, shard, through):
        self._store.commit(self._number, stream, shard, through)

    def close(self):
        pass
