"""A shard allows five reads a second, shared among all who read it."""

import pytest

from dastream.errors import SourceError
from dastream.sources.kinesis import KinesisSource
from shards import FakeKinesis, Shard, gaps, reads_of, sequences, source


def test_throttled_read_is_tried_again():
    errors = ["ProvisionedThroughputExceededException"] * 3 + ["LimitExceededException"]

    assert sequences(source(FakeKinesis(errors, a=Shard(1, 2, 3))).batches({})) == [1, 2, 3]


def test_endless_throttling_is_a_source_error():
    kinesis = FakeKinesis(["ProvisionedThroughputExceededException"] * 99, a=Shard(1))

    with pytest.raises(SourceError, match="10 times in a row") as caught:
        list(source(kinesis, poll_seconds=0.0005).batches({}))

    assert "five reads" in caught.value.hint
    assert len(kinesis.reads) == 10


def test_throttling_now_and_then_ends_nothing():
    kinesis = FakeKinesis(a=Shard(*range(1, 25)))
    original = kinesis.get_records

    def every_second_time(**request):
        if len(kinesis.reads) % 2 == 0:
            kinesis.errors = ["ProvisionedThroughputExceededException"]
        return original(**request)

    kinesis.get_records = every_second_time

    assert len(sequences(source(kinesis, poll_seconds=0.001).batches({}))) == 24
    assert len(kinesis.reads) == 24


def test_wait_grows_while_a_shard_is_throttled_and_starts_anew_after_a_page():
    throttled = "ProvisionedThroughputExceededException"
    kinesis = FakeKinesis([throttled] * 4, a=Shard(1, 2, 3, 4, 5, 6))

    list(source(kinesis, poll_seconds=0.05).batches({}))

    *_, last_wait, after_a_page, _ = gaps(kinesis, "a")
    assert last_wait >= 0.05 * 2**4 / 2 > after_a_page


def test_shards_are_read_while_another_is_throttled():
    kinesis = FakeKinesis(a=Shard(1), b=Shard(*range(2, 22)))
    original = kinesis.get_records

    def get_records(**request):
        is_early = len(reads_of(kinesis, "b")) < 5
        if request["ShardIterator"].startswith("a") and is_early:
            kinesis.errors = ["ProvisionedThroughputExceededException"]
        return original(**request)

    kinesis.get_records = get_records

    assert sorted(sequences(source(kinesis).batches({}))) == list(range(1, 22))


def test_no_shard_is_read_more_often_than_it_allows():
    kinesis = FakeKinesis(a=Shard(*range(1, 11)), b=Shard(*range(11, 21)))

    list(source(kinesis, poll_seconds=0.05).batches({}))

    for shard in ("a", "b"):
        assert len(gaps(kinesis, shard)) >= 4
        assert min(gaps(kinesis, shard)) >= 0.05


def test_default_leaves_one_of_five_reads_a_second_to_another_consumer():
    kinesis = FakeKinesis(a=Shard(1, 2, 3))

    list(KinesisSource(kinesis, "s", once=True).batches({}))

    assert len(gaps(kinesis, "a")) == 1
    assert gaps(kinesis, "a")[0] >= 0.25


@pytest.mark.parametrize("held_up_seconds", [6, 60])
def test_stream_is_asked_for_once_a_second_whatever_is_late(held_up_seconds):
    """A hundred shards, a slow sink, and an account's twenty DescribeStreamSummary a second."""
    kinesis = FakeKinesis(**{f"s{n:03}": Shard(*range(1, 9)) for n in range(100)})
    seconds = 0.0

    def get_records(**request):
        nonlocal seconds
        seconds += 0.01
        return original(**request)

    original, kinesis.get_records = kinesis.get_records, get_records

    def sleep(_):
        nonlocal seconds
        seconds += held_up_seconds

    reading = source(kinesis, poll_seconds=held_up_seconds, clock=lambda: seconds, sleep=sleep)
    assert len(sequences(reading.batches({}))) == 800
    assert 4 <= kinesis.descriptions <= 4 * 3


def test_stop_is_heeded_between_two_shards_of_a_round():
    kinesis = FakeKinesis(**{f"s{n}": Shard(n) for n in range(1, 9)})
    reading = source(kinesis)
    original = kinesis.get_records

    def get_records(**request):
        if len(kinesis.reads) == 2:
            reading.stop()
        return original(**request)

    kinesis.get_records = get_records
    assert sequences(reading.batches({})) == [1, 2, 3]
