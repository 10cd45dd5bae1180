"""Records as they lay in a stream, held in memory, and a source that gives them again."""

import base64
import gzip
import json
import random
from itertools import zip_longest

from aws_encryption_sdk.identifiers import AlgorithmSuite
from decode import entry, writer
from reference import KeyProvider

from dastream.record import Position, Record
from dastream.sources import BatchLimits, StreamDescription
from dastream.sources.batcher import Batcher

CLUSTER = "cluster-BENCHMARK"
STREAM = f"aws-rds-das-{CLUSTER}"
ARRIVAL_MS = 1769860800000
EVENTS_A_RECORD = 10
FIRST_SEQUENCE = 49 * 10**54
BEGINNING = str(FIRST_SEQUENCE - 1)
DATA_KEY = b"k" * 32
WRAPPED_KEY = b"w" * 184
LIMITS = BatchLimits(flush_bytes_max=4 * 1024 * 1024, flush_age_seconds_max=float("inf"))


def sealed(rng, *, suite=0x0178, data_key=DATA_KEY, key=WRAPPED_KEY):
    """The data of one record of synthetic entries, written by the official SDK."""
    provider = KeyProvider(data_key)
    provider.add_master_key("DataKey")
    payload = {
        "type": "DatabaseActivityMonitoringRecord",
        "clusterId": CLUSTER,
        "instanceId": "db-BENCHMARK",
        "databaseActivityEventList": [entry(rng) for _ in range(EVENTS_A_RECORD)],
    }
    message, _ = writer.encrypt(
        source=gzip.compress(json.dumps(payload, separators=(",", ":")).encode()),
        key_provider=provider,
        algorithm=AlgorithmSuite.get_by_id(suite),
        frame_length=4096,
    )
    envelope = {
        "type": "DatabaseActivityMonitoringRecords",
        "version": "1.1",
        "databaseActivityEvents": base64.b64encode(message).decode(),
        "key": base64.b64encode(key).decode(),
    }
    return json.dumps(envelope).encode()


def record_stream(records, *, shards=1, suite=0x0178):
    """So many records of each shard, in the order in which they would be read."""
    rng = random.Random(suite)
    return [
        Record(
            sealed(rng, suite=suite),
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
