"""The contract of every source."""

import itertools

import pytest

from dastream.errors import ConfigError
from dastream.record import SHARD_END, Position, Record, is_reached, utc_day
from dastream.sources import BatchLimits, open_source
from dastream.testing import MemorySource
from support import ARRIVAL_MS

SHARDS = ("shardId-000000000000", "shardId-000000000001")
DAY_MS = 86_400_000


def in_memory(count):
    """Shards of `count` records, of which the second half arrived a day later."""
    return [
        Record(
            b"%d of %s" % (number, shard.encode()),
            Position("of-records", shard, str(number)),
            ARRIVAL_MS + DAY_MS * (number > count // 2),
        )
        for shard in SHARDS
        for number in range(1, count + 1)
    ]


def put(aws, stream, count):
    """Shards of `count` records on the endpoint; gives them by their positions."""
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName=stream, ShardCount=len(SHARDS))
    positions = []
    for shard, number in itertools.product(range(len(SHARDS)), range(1, count + 1)):
        answer = kinesis.put_record(
            StreamName=stream,
            Data=b"%d of %s" % (number, SHARDS[shard].encode()),
            PartitionKey="p",
            ExplicitHashKey=str(shard * 2**127),
        )
        positions.append(Position(stream, answer["ShardId"], answer["SequenceNumber"]))
    return positions


class Opener:
    """Opens one source again and again over the same records, in batches of about three."""

    def __init__(self, positions, open, close_shard):
        self.positions = positions
        self.open = open
        self.close_shard = close_shard

    def shard(self, name):
        return [position for position in self.positions if position.shard == name]


@pytest.fixture(params=["memory", "kinesis"])
def opener(request):
    if request.param == "memory":
        records = in_memory(10)
        positions = [record.position for record in records]
        yield Opener(
            positions,
            open=lambda: MemorySource("of-records", records, batch_records_max=3),
            close_shard=lambda shard: None,  # each of its shards ends with its records
        )
    else:
        aws = request.getfixturevalue("aws")
        positions = put(aws, "of-records", 10)
        limits = BatchLimits(flush_bytes_max=3 * 25)
        yield Opener(
            positions,
            open=lambda: open_source("kinesis://of-records", once=True, limits=limits),
            close_shard=lambda shard: aws.client("kinesis").split_shard(
                StreamName="of-records", ShardToSplit=shard, NewStartingHashKey=str(2**126)
            ),
        )
        aws.client("kinesis").delete_stream(StreamName="of-records")


def read(source, progress, start_ms=0):
    """All batches of a source that ends."""
    batches = list(source.batches(progress, start_ms))
    source.close()
    return batches


def test_stream_is_known_before_anything_is_read(opener):
    source = opener.open()

    assert source.stream == "of-records"
    assert source.lag_ms == {}
    source.close()


def test_every_record_comes_once_and_in_the_order_of_its_shard(opener):
    records = [record for batch in read(opener.open(), {}) for record in batch.records]

    assert sorted(r.position for r in records) == sorted(opener.positions)
    for shard in SHARDS:
        of_shard = [record for record in records if record.position.shard == shard]
        assert [record.position for record in of_shard] == opener.shard(shard)
        assert [record.data.split()[0] for record in of_shard] == [b"%d" % i for i in range(1, 11)]


def test_batches_of_a_shard_follow_one_another_without_a_gap(opener):
    batches = read(opener.open(), {})

    for shard in SHARDS:
        of_shard = [batch for batch in batches if batch.shard == shard]
        assert len(of_shard) > 1
        assert [b.after for b in of_shard[1:]] == [b.through for b in of_shard[:-1]]
        assert {b.gap for b in of_shard} == {None}


def test_first_batch_starts_where_the_shard_began_whichever_records_are_left(opener):
    source = opener.open()
    began = source.describe().shards
    firsts = {batch.shard: batch for batch in reversed(read(source, {}))}

    assert {shard: batch.after for shard, batch in firsts.items()} == began
    for shard in SHARDS:
        first_record = opener.shard(shard)[0].sequence
        assert not is_reached(first_record, by=began[shard])
        assert firsts[shard].start == f"after-{began[shard]}"


def test_description_is_the_same_each_time_and_spans_what_the_stream_has(opener):
    first, second = (opener.open() for _ in range(2))
    one, two = first.describe(), second.describe()

    assert (one.created_ms, one.start_ms, one.shards) == (two.created_ms, 0, two.shards)
    arrivals = [record.arrival_ms for batch in read(first, {}) for record in batch.records]
    assert one.horizon_ms <= min(arrivals)
    assert max(arrivals) // 1000 <= two.now_ms // 1000 + 1
    second.close()


def test_shard_without_progress_is_read_from_the_start_time_on(opener):
    arrivals = [record.arrival_ms for batch in read(opener.open(), {}) for record in batch.records]
    late = max(arrivals) // 1000 * 1000
    batches = read(opener.open(), {SHARDS[0]: opener.shard(SHARDS[0])[0].sequence}, late)

    found = [r.position for b in batches for r in b.records if b.shard == SHARDS[0]]
    assert found == opener.shard(SHARDS[0])[1:]
    assert all(r.arrival_ms >= late for b in batches if b.shard == SHARDS[1] for r in b.records)


def test_batch_has_records_of_one_shard_and_one_day_up_to_its_end(opener):
    for batch in read(opener.open(), {}):
        assert {(r.position.stream, r.position.shard) for r in batch.records} == {
            (batch.stream, batch.shard)
        }
        assert len({utc_day(record.arrival_ms) for record in batch.records}) == 1
        assert batch.through == batch.records[-1].position.sequence


@pytest.mark.parametrize("read_before", [1, 3, 9, 10])
def test_reading_goes_on_after_the_progress(opener, read_before):
    first, second = (opener.shard(shard) for shard in SHARDS)
    progress = {SHARDS[0]: first[read_before - 1].sequence}

    batches = read(opener.open(), progress)

    found = [record.position for batch in batches for record in batch.records]
    assert sorted(found) == sorted([*first[read_before:], *second])
    if read_before < 10:
        resumed = next(batch for batch in batches if batch.shard == SHARDS[0])
        assert resumed.start == f"after-{progress[SHARDS[0]]}"


def test_shard_that_was_read_to_its_end_is_not_read_again(opener):
    opener.close_shard(SHARDS[0])

    batches = read(opener.open(), {SHARDS[0]: SHARD_END})

    assert {batch.shard for batch in batches} == {SHARDS[1]}


def test_stopped_source_ends_without_a_gap(opener):
    source = opener.open()
    batches = source.batches({})
    first = next(batches)
    source.stop()
    rest = list(batches)
    source.close()

    for shard in SHARDS:
        found = [r.position for b in (first, *rest) if b.shard == shard for r in b.records]
        assert found == opener.shard(shard)[: len(found)]


def test_another_scheme_has_no_source():
    for url in ("file:///x", "kinesis", "", "kafka://x"):
        with pytest.raises(ConfigError, match="source: no source for"):
            open_source(url)


@pytest.mark.parametrize(
    ("sequence", "by", "expected"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", True),
        ("10", SHARD_END, True),
        (SHARD_END, "10", False),
        (SHARD_END, SHARD_END, True),
    ],
)
def test_sequence_numbers_are_compared_as_numbers(sequence, by, expected):
    assert is_reached(sequence, by=by) is expected
