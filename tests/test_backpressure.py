"""Memory is bounded: what is read waits for what is delivered."""

import pytest

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.pipeline import Pipeline
from dastream.record import RECORD_OVERHEAD_BYTES
from dastream.sources import BatchLimits
from dastream.testing import MemorySink
from shards import FakeKinesis, Shard, source
from support import CLUSTER

PAGE_RECORDS = 2
RECORD_BYTES = 4


class CountingKinesis(FakeKinesis):
    """Counts the records that were read."""

    given = 0

    def get_records(self, **request):
        page = super().get_records(**request)
        self.given += len(page["Records"])
        return page


class SlowSink(MemorySink):
    """Notes before each delivery how many records were read that no sink has."""

    def __init__(self, kinesis):
        super().__init__()
        self.kinesis = kinesis
        self.waiting = []

    def deliver(self, batch):
        delivered = sum(len(held.records) for held in self.batches.values())
        self.waiting.append(self.kinesis.given - delivered)
        return super().deliver(batch)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("batch_records", [1, 2, 10])
def test_no_more_is_read_ahead_of_the_sink_than_a_batch_and_a_page_of_each_shard(
    shards, batch_records
):
    records = [range(1000 + 1000 * number, 1100 + 1000 * number) for number in range(shards)]
    kinesis = CountingKinesis(**{f"shard{n}": Shard(*of) for n, of in enumerate(records)})
    limits = BatchLimits(flush_bytes_max=batch_records * RECORD_BYTES)
    sink = SlowSink(kinesis)
    deliver = Deliverer(Decoder(None), (), [sink], resource_id=CLUSTER)

    reading = source(kinesis, limits=limits, poll_seconds=0.0001)
    counters = Pipeline(reading, deliver, MemoryCheckpoints()).run()

    assert counters.records == 100 * shards
    assert max(sink.waiting) <= shards * (batch_records + PAGE_RECORDS)


@pytest.mark.parametrize("shards", [1, 10])
def test_no_more_is_read_ahead_than_there_is_room_for_in_all_shards_together(shards):
    records = [range(1000 + 1000 * number, 1100 + 1000 * number) for number in range(shards)]
    kinesis = CountingKinesis(**{f"shard{n}": Shard(*of) for n, of in enumerate(records)})
    limits = BatchLimits(read_bytes_max=7 * (RECORD_BYTES + RECORD_OVERHEAD_BYTES))
    sink = SlowSink(kinesis)
    deliver = Deliverer(Decoder(None), (), [sink], resource_id=CLUSTER)

    counters = Pipeline(source(kinesis, limits=limits), deliver, MemoryCheckpoints()).run()

    assert counters.records == 100 * shards
    assert max(sink.waiting) <= 7 + PAGE_RECORDS
    assert len(sink.batches) < 100 * shards / 2
