"""What only time brings: expiry, retention, throttling, and a clock that goes back."""

from datetime import timedelta

import pytest

from dastream.local.kinesis import Kinesis
from dastream.local.kinesis.errors import (
    ExpiredIteratorError,
    ExpiredNextTokenError,
    KinesisError,
    ResourceNotFoundError,
    ThroughputExceededError,
)
from dastream.local.kinesis.requests import (
    CreateStream,
    DeleteStream,
    GetRecords,
    GetShardIterator,
    IncreaseStreamRetentionPeriod,
    ListShards,
    MergeShards,
    PutRecord,
    PutRecords,
    RecordToPut,
    ShardFilter,
    SplitShard,
)
from dastream.local.kinesis.throttle import Throttle

FIRST = "shardId-000000000000"


class Clock:
    """A time that passes when it is told to."""

    def __init__(self):
        self.ms = 1_795_418_885_123

    def __call__(self):
        return self.ms

    def seconds(self):
        return self.ms / 1000

    def go_on(self, **time):
        self.ms += timedelta(**time) // timedelta(milliseconds=1)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kinesis(clock):
    return started(clock)


def started(clock, path=None, **how):
    return Kinesis(path, account="123456789012", region="us-east-1", now_ms=clock, **how)


def create(kinesis, shards=1, name="s"):
    kinesis.answer(CreateStream(stream_name=name, shard_count=shards))


def put(kinesis, *data):
    """Puts records into the first shard, and gives the numbers of those that it took."""
    records = [RecordToPut(data=d, partition_key="a") for d in data]
    reply = kinesis.answer(PutRecords(stream_name="s", records=records))
    return [r["SequenceNumber"] for r in reply["Records"] if "SequenceNumber" in r]


def iterator(kinesis, kind="TRIM_HORIZON", shard=FIRST):
    request = GetShardIterator(stream_name="s", shard_id=shard, shard_iterator_type=kind)
    return kinesis.answer(request)["ShardIterator"]


def page(kinesis, at, **limit):
    return kinesis.answer(GetRecords(shard_iterator=at, **limit))


def data(kinesis, **where):
    return [r["Data"] for r in page(kinesis, iterator(kinesis, **where))["Records"]]


def split(kinesis):
    kinesis.answer(
        SplitShard(stream_name="s", shard_to_split=FIRST, new_starting_hash_key=str(1 << 127))
    )


def shard_ids(kinesis, **how):
    return [s["ShardId"][-1] for s in kinesis.answer(ListShards(stream_name="s", **how))["Shards"]]


class TestTokens:
    def test_an_iterator_expires_after_five_minutes(self, kinesis, clock):
        create(kinesis)
        start = iterator(kinesis)
        clock.go_on(minutes=5)
        following = page(kinesis, start)["NextShardIterator"]
        clock.go_on(milliseconds=1)
        with pytest.raises(ExpiredIteratorError):
            page(kinesis, start)
        page(kinesis, following)

    def test_a_page_token_expires_after_five_minutes(self, kinesis, clock):
        create(kinesis, shards=2)
        token = kinesis.answer(ListShards(stream_name="s", max_results=1))["NextToken"]
        clock.go_on(minutes=5, milliseconds=1)
        with pytest.raises(ExpiredNextTokenError):
            kinesis.answer(ListShards(next_token=token))

    def test_one_kind_of_token_is_not_the_other(self, kinesis):
        create(kinesis, shards=2)
        token = kinesis.answer(ListShards(stream_name="s", max_results=1))["NextToken"]
        with pytest.raises(KinesisError, match=r"Invalid ShardIterator\."):
            page(kinesis, token)
        with pytest.raises(KinesisError, match=r"Invalid NextToken\."):
            kinesis.answer(ListShards(next_token=iterator(kinesis)))


class TestRetention:
    def test_a_record_is_there_for_24_hours(self, kinesis, clock):
        create(kinesis)
        put(kinesis, b"old")
        clock.go_on(hours=23)
        put(kinesis, b"new")
        assert data(kinesis) == [b"old", b"new"]
        clock.go_on(hours=1, milliseconds=1)
        assert data(kinesis) == [b"new"]

    def test_a_longer_retention_keeps_it_longer(self, kinesis, clock):
        create(kinesis)
        kinesis.answer(IncreaseStreamRetentionPeriod(stream_name="s", retention_period_hours=48))
        put(kinesis, b"old")
        clock.go_on(hours=47)
        assert data(kinesis) == [b"old"]

    def test_what_is_gone_leaves_the_file(self, clock, tmp_path):
        kinesis = started(clock, tmp_path / "k.sqlite")
        create(kinesis)
        for _ in range(8):
            put(kinesis, *[b"x" * 100_000] * 50)
        kinesis.close()
        assert size(tmp_path) > 40_000_000
        clock.go_on(hours=25)
        kinesis = started(clock, tmp_path / "k.sqlite")
        put(kinesis, b"new")
        kinesis.close()
        assert size(tmp_path) < 1_000_000

    def test_a_closed_shard_goes_with_its_records(self, kinesis, clock):
        create(kinesis)
        put(kinesis, b"old")
        clock.go_on(hours=1)
        split(kinesis)
        start = iterator(kinesis)
        clock.go_on(minutes=2)
        assert shard_ids(kinesis) == ["0", "1", "2"]
        clock.go_on(hours=23)
        assert data(kinesis) == []
        assert page(kinesis, iterator(kinesis))["ChildShards"]
        clock.go_on(hours=1)
        assert shard_ids(kinesis) == ["1", "2"]
        with pytest.raises(KinesisError):
            page(kinesis, start)
        with pytest.raises(ResourceNotFoundError):
            iterator(kinesis)
        merge = MergeShards(
            stream_name="s",
            shard_to_merge=FIRST[:-1] + "1",
            adjacent_shard_to_merge=FIRST[:-1] + "2",
        )
        kinesis.answer(merge)
        assert shard_ids(kinesis) == ["1", "2", "3"]

    def test_filters_know_the_horizon(self, kinesis, clock):
        create(kinesis)
        clock.go_on(hours=1)
        split(kinesis)
        at_horizon = ShardFilter(type="AT_TRIM_HORIZON")
        assert shard_ids(kinesis, shard_filter=at_horizon) == ["0"]
        clock.go_on(hours=24, milliseconds=1)
        assert shard_ids(kinesis, shard_filter=at_horizon) == ["1", "2"]
        long_ago = ShardFilter(type="FROM_TIMESTAMP", timestamp=0.0)
        assert shard_ids(kinesis, shard_filter=long_ago) == ["1", "2"]


class TestSequenceNumbers:
    def test_they_are_unique_through_deletion_recreation_and_restart(self, clock, tmp_path):
        numbers = []
        for _ in range(3):
            kinesis = started(clock, tmp_path / "k.sqlite")
            for _ in range(2):
                create(kinesis)
                numbers += put(kinesis, b"1", b"2")
                kinesis.answer(DeleteStream(stream_name="s"))
            kinesis.close()
        assert len(numbers) == 12
        assert numbers == sorted(set(numbers), key=int)

    def test_they_grow_although_the_clock_goes_back(self, clock, tmp_path):
        kinesis = started(clock, tmp_path / "k.sqlite")
        create(kinesis)
        numbers = put(kinesis, b"1")
        clock.go_on(hours=-1)
        numbers += put(kinesis, b"2")
        kinesis.close()
        clock.go_on(hours=-1)
        kinesis = started(clock, tmp_path / "k.sqlite")
        numbers += put(kinesis, b"3")
        assert numbers == sorted(set(numbers), key=int)
        assert data(kinesis) == [b"1", b"2", b"3"]


class TestThrottle:
    @pytest.fixture
    def kinesis(self, clock):
        kinesis = started(clock, throttle=Throttle(clock.seconds))
        create(kinesis, shards=2)
        return kinesis

    def test_a_shard_takes_1000_records_a_second(self, kinesis, clock):
        assert len(put(kinesis, *[b"x"] * 500)) == 500
        assert len(put(kinesis, *[b"x"] * 499)) == 499
        reply = kinesis.answer(
            PutRecords(stream_name="s", records=[RecordToPut(data=b"x", partition_key="a")] * 3)
        )
        assert reply["FailedRecordCount"] == 2
        assert [r.get("ErrorCode") for r in reply["Records"]] == [
            None,
            "ProvisionedThroughputExceededException",
            "ProvisionedThroughputExceededException",
        ]
        with pytest.raises(ThroughputExceededError):
            kinesis.answer(PutRecord(stream_name="s", data=b"x", partition_key="a"))
        kinesis.answer(PutRecord(stream_name="s", data=b"x", partition_key="b"))  # another shard
        clock.go_on(milliseconds=100)
        assert len(put(kinesis, *[b"x"] * 500)) == 100

    def test_a_shard_takes_1_mib_a_second(self, kinesis, clock):
        assert len(put(kinesis, b"x" * 700_000, b"x" * 700_000, b"x" * 300_000)) == 2
        clock.go_on(seconds=1)
        assert len(put(kinesis, b"x" * 1_000_000)) == 1

    def test_a_shard_answers_five_reads_a_second(self, kinesis, clock):
        at = iterator(kinesis)
        for _ in range(5):
            at = page(kinesis, at)["NextShardIterator"]
        with pytest.raises(ThroughputExceededError):
            page(kinesis, at)
        clock.go_on(milliseconds=200)
        page(kinesis, at)

    def test_a_large_page_is_paid_for_by_the_next_seconds(self, kinesis, clock):
        for _ in range(10):
            put(kinesis, b"x" * 1_000_000)
            clock.go_on(seconds=1)
        at = page(kinesis, iterator(kinesis))["NextShardIterator"]
        clock.go_on(seconds=3)
        with pytest.raises(ThroughputExceededError):
            page(kinesis, at)
        clock.go_on(seconds=1)
        page(kinesis, at)


def size(directory):
    return sum(path.stat().st_size for path in directory.iterdir())
