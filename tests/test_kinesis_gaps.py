"""Records that expired before they were read: Kinesis does not tell, so dastream finds out."""

from datetime import timedelta
from itertools import count

import pytest
from botocore.exceptions import ClientError

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.pipeline import Pipeline
from dastream.record import SHARD_END, Gap
from dastream.sources import BatchLimits
from dastream.testing import MemorySink
from shards import NOON, NOON_MS, FakeKinesis, Shard, sequences, source, spans
from support import CLUSTER

DAY_MS = 86_400_000
AT, HORIZON = "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"


def gaps(batches):
    return [batch.gap for batch in batches if batch.gap is not None]


def test_no_gap_where_the_committed_record_is_still_there():
    kinesis = FakeKinesis(a=Shard(1, 2, 3))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert spans(batches) == [("a", "2", "3", 1)]
    assert gaps(batches) == []
    assert kinesis.iterators == [("a", AT)]


def test_no_gap_where_nothing_came_after_the_committed_record():
    assert list(source(FakeKinesis(a=Shard(1, 2))).batches({"a": "2"})) == []


def test_checkpoint_that_expired_is_a_gap_to_the_first_record_that_is_left():
    kinesis = FakeKinesis(a=Shard(5, 6))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert spans(batches) == [("a", "2", "6", 2)]
    assert gaps(batches) == [Gap("a", "2", "5", None, NOON_MS)]


class Forgetful(FakeKinesis):
    """Refuses the number of a record that expired, as a Kinesis may."""

    def get_shard_iterator(self, **request):
        number = request.get("StartingSequenceNumber")
        if number and int(number) < self.shards[request["ShardId"]].records[0][0]:
            raise ClientError({"Error": {"Code": "InvalidArgumentException"}}, "GetShardIterator")
        return super().get_shard_iterator(**request)


def test_number_that_kinesis_does_not_know_any_more_is_a_gap():
    kinesis = Forgetful(a=Shard(5, 6))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert sequences(batches) == [5, 6]
    assert gaps(batches) == [Gap("a", "2", "5", None, NOON_MS)]


class Stuck(FakeKinesis):
    """An iterator before the horizon gives empty pages for good, which was seen on AWS."""

    def get_records(self, **request):
        page = super().get_records(**request)
        if self.iterators[-1][1] == AT:
            page |= {"Records": [], "MillisBehindLatest": DAY_MS}
            page["NextShardIterator"] = request["ShardIterator"]
        return page


def test_iterator_that_is_stuck_before_the_horizon_goes_on_there():
    kinesis = Stuck(a=Shard(5, 6))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert sequences(batches) == [5, 6]
    assert gaps(batches) == [Gap("a", "2", "5", None, NOON_MS)]
    assert kinesis.iterators == [("a", AT), ("a", HORIZON)]


def test_from_the_horizon_nothing_is_read_twice():
    kinesis = Stuck(a=Shard(1, 2, 3, 4))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert sequences(batches) == [3, 4]
    assert gaps(batches) == []


def test_closed_shard_that_expired_to_its_end_is_a_gap_to_there():
    kinesis = FakeKinesis(a=Shard(is_closed=True), b=Shard(9, parents=("a",), first=8))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert spans(batches) == [("a", "2", SHARD_END, 0), ("b", "8", "9", 1)]
    assert gaps(batches) == [Gap("a", "2", SHARD_END)]


def test_shard_that_went_before_it_was_read_is_a_gap_to_its_end():
    kinesis = FakeKinesis(b=Shard(9, parents=("a",), first=8))

    batches = list(source(kinesis).batches({"a": "2", "before": SHARD_END}))

    assert spans(batches) == [("a", "2", SHARD_END, 0), ("b", "8", "9", 1)]
    assert gaps(batches) == [Gap("a", "2", SHARD_END)]


def test_no_gap_at_the_end_of_a_closed_shard_that_was_read():
    kinesis = FakeKinesis(a=Shard(1, 2, is_closed=True))

    batches = list(source(kinesis).batches({"a": "2"}))

    assert spans(batches) == [("a", "2", SHARD_END, 0)]
    assert gaps(batches) == []


@pytest.mark.parametrize("lag_ms", [DAY_MS, DAY_MS - 600_000 + 1])
def test_reader_near_the_horizon_notices_what_expires_between_two_pages(lag_ms):
    """The sink is slow: after the first page the next records go, with and without the last."""
    kinesis = FakeKinesis(a=Shard(*range(1, 9)))
    original = kinesis.get_records

    def get_records(**request):
        page = original(**request)
        kinesis.shards["a"].records[:] = [(6, NOON + timedelta(seconds=1)), (7, NOON), (8, NOON)]
        return page | ({"MillisBehindLatest": lag_ms} if len(kinesis.reads) == 1 else {})

    kinesis.get_records = get_records
    batches = list(source(kinesis).batches({}))

    assert sequences(batches) == [1, 2, 6, 7, 8]
    assert gaps(batches) == [Gap("a", "2", "6", NOON_MS, NOON_MS + 1000)]


@pytest.mark.parametrize("is_shortened", [True, False])
def test_reader_days_behind_notices_that_records_are_kept_for_a_shorter_time(is_shortened):
    kinesis = FakeKinesis(a=Shard(*range(1, 9)))
    kinesis.retention_hours = 24 * 7
    original = kinesis.get_records

    def get_records(**request):
        page = original(**request)
        if is_shortened:
            kinesis.retention_hours = 24
            del kinesis.shards["a"].records[:-2]
        return page | ({"MillisBehindLatest": 3 * DAY_MS} if len(kinesis.reads) < 3 else {})

    kinesis.get_records = get_records
    reading = source(kinesis, clock=count(step=2).__next__, sleep=lambda _: None)
    batches = list(reading.batches({}))

    assert len(gaps(batches)) == is_shortened
    assert sequences(batches) == ([1, 2, 7, 8] if is_shortened else [*range(1, 9)])
    assert (len(kinesis.iterators) > 1) == is_shortened


def test_reader_days_behind_asks_for_the_retention_before_it_takes_a_page_for_the_next_one():
    """The records that followed expired between two pages."""
    kinesis = FakeKinesis(a=Shard(*range(1, 9)))
    kinesis.retention_hours = 24 * 7
    original = kinesis.get_records

    def get_records(**request):
        if len(kinesis.reads) == 1:
            kinesis.retention_hours = 24
            kinesis.shards["a"].records[:] = [(6, NOON), (7, NOON), (8, NOON)]
        page = original(**request)
        return page | ({"MillisBehindLatest": 3 * DAY_MS} if len(kinesis.reads) == 1 else {})

    kinesis.get_records = get_records
    reading = source(kinesis, clock=count(step=2).__next__, sleep=lambda _: None)

    assert gaps(reading.batches({})) == [Gap("a", "2", "8", NOON_MS, NOON_MS)]


class Silence(FakeKinesis):
    """A page goes through an hour of a shard, and says how far behind that is.

    Records are at hours after NOON; it is a day after the last of them.
    """

    def __init__(self, *hours, retention_days):
        records = [(n, NOON + timedelta(hours=h)) for n, h in enumerate(hours, start=1)]
        super().__init__(a=Shard(*records))
        self.retention_hours = 24 * retention_days
        self.created = NOON - timedelta(days=9)
        self.now = NOON + timedelta(hours=max(hours))

    def get_shard_iterator(self, **request):
        kind, number = request["ShardIteratorType"], request.get("StartingSequenceNumber")
        self.iterators.append(("a", kind))
        hours = {AT: lambda: self.hour(int(number))}.get(kind, lambda: self.horizon)()
        return {"ShardIterator": f"{hours}"}

    def hour(self, number):
        return (self.shards["a"].records[number - 1][1] - NOON) / timedelta(hours=1)

    @property
    def horizon(self):
        return (self.now - NOON) / timedelta(hours=1) - self.retention_hours

    def get_records(self, **request):
        start = float(request["ShardIterator"])
        self.reads.append(("a", start))
        assert len(self.reads) < 1000, "reads the same again and again"
        if start < self.horizon:
            return {"Records": [], "MillisBehindLatest": DAY_MS, "NextShardIterator": f"{start}"}
        numbers = range(1, len(self.shards["a"].records) + 1)
        inside = [n for n in numbers if start <= self.hour(n) < start + 1]
        behind = (self.now - NOON) / timedelta(hours=1) - start - 0.999
        return {
            "Records": [
                {
                    "SequenceNumber": str(n),
                    "ApproximateArrivalTimestamp": NOON + timedelta(hours=self.hour(n)),
                    "Data": b"%d" % n,
                }
                for n in inside
            ],
            "MillisBehindLatest": max(0, round(behind * 3_600_000)),
            "NextShardIterator": f"{start + 1}",
        }


@pytest.mark.parametrize("retention_days", [1, 7])
def test_silence_in_a_shard_is_read_through_however_far_behind(retention_days):
    kinesis = Silence(1, 1.5, 4, 8, 24, retention_days=retention_days)

    batches = list(source(kinesis, sleep=lambda _: None).batches({"a": "1"}))

    assert sequences(batches) == [2, 3, 4, 5]
    assert gaps(batches) == []


def test_shard_that_was_never_read_is_lifted_off_a_place_that_has_expired():
    """A page came by the first iterator, and then another shard held the reader up."""
    kinesis = Silence(0.5, 3, 8, 24, retention_days=1)
    original, now = kinesis.get_records, kinesis.now

    def get_records(**request):
        kinesis.now = max(kinesis.now, now + timedelta(minutes=90))
        return original(**request)

    def sleep(_):
        kinesis.now += timedelta(seconds=1)

    kinesis.get_records = get_records
    batches = list(source(kinesis, clock=kinesis.seconds, sleep=sleep).batches({}))

    assert sequences(batches) == [2, 3, 4]


def test_what_expired_under_an_iterator_is_a_gap_where_reading_goes_on_at_the_horizon():
    kinesis = Silence(0.5, 1.7, 8, 24, retention_days=1)
    original, now = kinesis.get_records, kinesis.now

    def get_records(**request):
        if len(kinesis.reads) == 1:
            kinesis.now = now + timedelta(hours=2)
        return original(**request)

    kinesis.get_records = get_records
    batches = list(source(kinesis, sleep=lambda _: None).batches({}))

    assert sequences(batches) == [1, 3, 4]
    assert [gap[:3] for gap in gaps(batches)] == [("a", "0", "1"), ("a", "1", "3")]


def test_shard_that_is_as_old_as_the_stream_has_a_gap_at_its_start_once_that_has_expired():
    """The stream was described, and the shard opened, while all was there."""
    kinesis = FakeKinesis(a=Shard(5, 6, first=1))
    reading = source(kinesis, clock=kinesis.seconds)
    start_ms = reading.describe().lasting_ms
    kinesis.now += timedelta(hours=16)

    assert gaps(reading.batches({}, start_ms)) == [Gap("a", "1", "5", None, NOON_MS)]


def test_what_may_have_expired_before_the_retention_was_raised_in_a_run_is_a_gap():
    """It was raised after the run had asked; raising it brings nothing back."""
    kinesis = FakeKinesis(a=Shard(5, 6, first=1))
    reading = source(kinesis, clock=kinesis.seconds)
    start_ms = reading.describe().lasting_ms
    kinesis.now += timedelta(hours=16)
    kinesis.retention_hours = 24 * 7

    assert gaps(reading.batches({}, start_ms)) == [Gap("a", "1", "5", None, NOON_MS)]


@pytest.mark.parametrize(
    ("lost_ms", "is_gap"), [(NOON_MS - 1, True), (NOON_MS - 36_000_000, False)]
)
def test_what_was_lost_before_a_run_is_a_gap(lost_ms, is_gap):
    kinesis = FakeKinesis(a=Shard(5, 6, first=1))
    reading = source(kinesis)
    start_ms = reading.describe().lasting_ms

    assert len(gaps(reading.batches({}, start_ms, lost_ms))) == is_gap


def test_shard_that_ended_with_all_its_records_before_its_first_page_is_a_gap():
    kinesis = FakeKinesis(a=Shard(is_closed=True, first=1))
    reading = source(kinesis, clock=kinesis.seconds)
    start_ms = reading.describe().lasting_ms
    kinesis.now += timedelta(hours=16)

    batches = list(reading.batches({}, start_ms))

    assert spans(batches) == [("a", "1", SHARD_END, 0)]
    assert gaps(batches) == [Gap("a", "1", SHARD_END)]


def test_reader_far_from_the_horizon_asks_for_no_new_iterators():
    kinesis = FakeKinesis(a=Shard(*range(1, 9)))

    assert sequences(source(kinesis).batches({})) == list(range(1, 9))
    assert kinesis.iterators == [("a", HORIZON)]


@pytest.mark.parametrize("expired", [1, 2, 3, 4])
def test_batch_that_was_half_delivered_and_then_expired_in_part_is_completed(expired):
    """A crash came between two sinks, and the next run after more than the retention."""
    kinesis, checkpoints = FakeKinesis(a=Shard(1, 2, 3, 4, 5, 6)), MemoryCheckpoints()
    sinks = [MemorySink(), MemorySink()]
    full = BatchLimits(flush_bytes_max=3)
    consume(kinesis, checkpoints, sinks, full)
    (committed, _), (name, _) = ((n, b) for n, b in sinks[0].batches.items())
    del sinks[1].batches[name]
    checkpoints.commit("s", "a", sinks[0].batches[committed].through)
    del kinesis.shards["a"].records[: 3 + expired - 1]
    kinesis.shards["a"].records.append((7, NOON))

    consume(kinesis, checkpoints, sinks, BatchLimits())

    assert checkpoints.progress("s") == {"a": "7"}
    assert delivered(sinks[0]) == [1, 2, 3, 4, 5, 6, 7]
    assert delivered(sinks[1]) == [1, 2, 3, *range(3 + expired, 8)]


def consume(kinesis, checkpoints, sinks, limits):
    deliver = Deliverer(Decoder(None), (), sinks, resource_id=CLUSTER)
    Pipeline(source(kinesis, limits=limits), deliver, checkpoints).run()


def delivered(sink):
    letters = [letter for batch in sink.batches.values() for letter in batch.dead_letters]
    return sorted(int(letter.record.position.sequence) for letter in letters)


def test_batch_ends_before_a_gap():
    kinesis = Forgetful(a=Shard(1, 2))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_bytes_max=3))
    original, calls = kinesis.get_records, []

    def expire(**request):
        calls.append(request)
        if len(calls) == 2:
            kinesis.shards["a"].records[:] = [(5, NOON), (6, NOON)]
            raise ClientError({"Error": {"Code": "ExpiredIteratorException"}}, "GetRecords")
        if len(calls) > 3:
            reading.stop()
        return original(**request)

    kinesis.get_records = expire

    batches = list(reading.batches({}))
    assert spans(batches) == [("a", "0", "2", 2), ("a", "2", "6", 2)]
    assert [batch.gap for batch in batches] == [None, Gap("a", "2", "5", NOON_MS, NOON_MS)]
