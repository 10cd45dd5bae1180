"""Pipelines over fakes, the records they read, and what must come out of them."""

import base64
import json
from collections import Counter
from functools import cache

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.pipeline import Pipeline
from dastream.testing import MemorySource
from dastream.transforms import DEFAULT
from support import (
    ARRIVAL_MS,
    CLUSTER,
    HEARTBEAT,
    SHARD,
    STREAM,
    entry,
    gunzip_lines,
    record,
    sealed,
    unwrap,
)

OTHER_SHARD = "shardId-000000000001"
DAY_MS = 86_400_000
GARBAGE = b"\xff no envelope \n"


@cache
def activity(number):
    """The data of a record of two entries that one can tell from all others."""
    return sealed([entry(f"SELECT {number}"), entry(f"SELECT -{number}")])


@cache
def heartbeat():
    return sealed([HEARTBEAT])


@cache
def stream():
    """Two shards over two days: activity, with heartbeats and garbage among it."""
    records = []
    for shard in (SHARD, OTHER_SHARD):
        for number in range(1, 16):
            data = {0: heartbeat(), 3: GARBAGE}.get(number % 5) or activity(number)
            arrival_ms = ARRIVAL_MS + DAY_MS * (number > 7)
            records.append(record(data, number, shard=shard, arrival_ms=arrival_ms))
    return records


def pipeline(
    source, sinks, checkpoints=None, *, unwrap=unwrap, transforms=DEFAULT, tell=print, **settings
):
    if not hasattr(source, "batches"):
        source = MemorySource(STREAM, source)
    deliver = Deliverer(Decoder(unwrap), transforms, sinks, resource_id=CLUSTER, **settings)
    return Pipeline(source, deliver, checkpoints or MemoryCheckpoints(), tell=tell)


def statements(storage):
    """The SQL texts of all delivered lines, and how often."""
    lines = [
        line for item in storage.list("events/") for line in gunzip_lines(storage.get(item.key))
    ]
    return Counter((m["shardId"], m.get("commandText")) for m in map(json.loads, lines))


def dead_letters(storage):
    return Counter(
        (letter["shardId"], letter["sequenceNumber"], base64.b64decode(letter["data"]))
        for item in storage.list("dead-letter/")
        for letter in map(json.loads, gunzip_lines(storage.get(item.key)))
    )


EXPECTED_STATEMENTS = Counter(
    (shard, f"SELECT {sign}{number}")
    for shard in (SHARD, OTHER_SHARD)
    for number in range(1, 16)
    for sign in ("", "-")
    if number % 5 not in {0, 3}
)
EXPECTED_DEAD_LETTERS = Counter(
    (shard, str(number), GARBAGE) for shard in (SHARD, OTHER_SHARD) for number in (3, 8, 13)
)
