"""Records as they lay in a stream, held in memory, and a source that gives them again."""

import random
from itertools import zip_longest

from workload import ARRIVAL_MS, STREAM, payload, seal

from dastream.record import Position, Record
from dastream.sources import BatchLimits, StreamDescription
from dastream.sources.batcher import Batcher

EVENTS_A_RECORD = 10
FIRST_SEQUENCE = 49 * 10**54
BEGINNING = str(FIRST_SEQUENCE - 1)
DATA_KEY = b"k" * 32
LIMITS = BatchLimits(flush_bytes_max=4 * 1024 * 1024, flush_age_seconds_max=float("inf"))


def record_stream(records, *, shards=1, suite=0x0178):
    """So many records of each shard, in the order in which they would be read."""
    rng = random.Random(suite)
    return [
        Record(
            seal(payload(rng, EVENTS_A_RECORD), suite, DATA_KEY),
            Position(STREAM, f"shardId-{shard:012d}", str(FIRST_SEQUENCE + number)),
            ARRIVAL_MS,
        )
        for number in range(records)
        for shard in range(shards)
    ]


class RecordedSource:
    """A source of recorded records, `times` over; the batches of its shards take turns."""

    def __init__(self, records, *, times=1):
        self.stream = STREAM
        self.lag_ms = {}
        shards = {}
        for record in records:
            shards.setdefault(record.position.shard, []).append(record)
        turns = zip_longest(*(_cut(shard, shards[shard] * times) for shard in shards))
        self._batches = [batch for turn in turns for batch in turn if batch is not None]

    def describe(self):
        shards = {batch.shard: BEGINNING for batch in self._batches}
        return StreamDescription(ARRIVAL_MS, ARRIVAL_MS, ARRIVAL_MS, 0, shards)

    def batches(self, progress, start_ms=0):
        return iter(self._batches)

    def stop(self):
        """It ends by itself."""

    def close(self):
        """Nothing to let go of."""


def _cut(shard, records):
    """Batches of records, which get the sequence numbers of where they stand now."""
    batcher = Batcher(STREAM, shard, BEGINNING, LIMITS)
    for number, record in enumerate(records):
        position = Position(STREAM, shard, str(FIRST_SEQUENCE + number))
        batcher.add(record._replace(position=position))
    return batcher.rest()
