"""The Kinesis source on every peer: what reading a stream meets in the course of time."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from contract_calls import FIRST, merge, put, shards, split, wait_until_active

import timed_peers
from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import SinkError, SourceError
from dastream.local.kinesis.throttle import Throttle
from dastream.pipeline import Pipeline
from dastream.record import SHARD_END
from dastream.sources import BatchLimits
from dastream.sources.kinesis import KinesisSource
from dastream.testing import MemorySink
from support import CLUSTER

SECOND, THIRD, FOURTH = (f"shardId-{number:012d}" for number in (1, 2, 3))
HOUR_SECONDS = 3600


@pytest.fixture(params=["ours", "kinesalite"])
def peer(request):
    with getattr(timed_peers, request.param)() as peer:
        yield peer


@pytest.fixture
def stream(peer):
    return make(peer, f"stream-{uuid.uuid4()}")


def make(peer, name):
    peer.kinesis.create_stream(StreamName=name, ShardCount=1)
    wait_until_active(peer.kinesis, name)
    return name


def remake(peer, name):
    peer.kinesis.delete_stream(StreamName=name)
    while name in peer.kinesis.list_streams()["StreamNames"]:
        pass
    peer.go_on(1)  # kinesalite tells the creation to the second
    return make(peer, name)


def source(peer, stream, **how):
    usual = {"once": True, "poll_seconds": 0.01, "clock": peer.seconds}
    return KinesisSource(peer.kinesis, stream, **(usual | how))


def read(peer, stream, progress=None, start_ms=0, **how):
    return list(source(peer, stream, **how).batches(progress or {}, start_ms))


def data(batches):
    return [record.data for batch in batches for record in batch.records]


def gaps(batches):
    return [batch.gap[:3] for batch in batches if batch.gap is not None]


def spans(batches):
    return [(record.data, batch.gap) for batch in batches for record in batch.records]


def progress_of(batches):
    return {batch.shard: batch.through for batch in batches}


def consume(peer, stream, checkpoints, sink, **how):
    """A run over records that do not decode; gives the data of all that the sink has."""
    told = []
    deliver = Deliverer(Decoder(None), (), [sink], resource_id=CLUSTER)
    Pipeline(source(peer, stream, **how), deliver, checkpoints, tell=told.append).run()
    letters = [letter for batch in sink.batches.values() for letter in batch.dead_letters]
    return [letter.record.data for letter in letters], told


def test_children_come_after_their_parents_through_splits_and_merges(peer, stream):
    kinesis = peer.kinesis
    put(kinesis, stream, b"1", b"2")
    split(kinesis, stream)
    put(kinesis, stream, b"3", key="a")
    put(kinesis, stream, b"4", key="b")
    merge(kinesis, stream, SECOND, THIRD)
    put(kinesis, stream, b"5", b"6")

    batches = read(peer, stream)

    found = data(batches)
    assert found[:2] + sorted(found[2:4]) + found[4:] == [b"%d" % n for n in range(1, 7)]
    ends = [batch.shard for batch in batches if batch.through == SHARD_END]
    assert (ends[0], sorted(ends[1:])) == (FIRST, [SECOND, THIRD])
    assert gaps(batches) == []


def test_shards_without_records_do_not_keep_their_children_back(peer, stream):
    split(peer.kinesis, stream)
    merge(peer.kinesis, stream, SECOND, THIRD)
    put(peer.kinesis, stream, b"1")

    assert data(read(peer, stream)) == [b"1"]


def test_shards_that_come_while_it_runs_are_read(peer, stream):
    kinesis = peer.kinesis
    put(kinesis, stream, b"1")
    reading = source(peer, stream, once=False, limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})

    assert next(batches).records[0].data == b"1"
    split(kinesis, stream)
    put(kinesis, stream, b"2", key="a")
    put(kinesis, stream, b"3", key="b")
    assert next(batches).through == SHARD_END
    assert sorted(data([next(batches), next(batches)])) == [b"2", b"3"]
    reading.stop()


def test_progress_in_the_midst_of_a_reshard_is_gone_on_from(peer, stream):
    kinesis = peer.kinesis
    numbers = put(kinesis, stream, b"1", b"2")
    split(kinesis, stream)
    put(kinesis, stream, b"3", key="a")

    assert data(read(peer, stream, {FIRST: numbers[0]})) == [b"2", b"3"]
    assert data(read(peer, stream, {FIRST: numbers[1]})) == [b"3"]
    assert data(read(peer, stream, {FIRST: SHARD_END})) == [b"3"]


def test_expired_iterators_lose_and_repeat_nothing(peer, stream):
    put(peer.kinesis, stream, b"1")
    reading = source(peer, stream, once=False, limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})
    found = [next(batches)]
    for number in (b"2", b"3"):
        peer.go_on(301)
        put(peer.kinesis, stream, number)
        found.append(next(batches))
    reading.stop()

    assert data(found) == [b"1", b"2", b"3"]
    assert gaps(found) == []


def made_again_after_a_record(peer, stream, **how):
    """The batches of a run that has read a record of a stream, which was made again since."""
    put(peer.kinesis, stream, b"old")
    limits = BatchLimits(flush_bytes_max=1)
    reading = source(peer, stream, once=False, limits=limits, **how)
    reading.describe()
    batches = reading.batches({})
    assert next(batches).records[0].data == b"old"
    remake(peer, stream)
    put(peer.kinesis, stream, b"new")
    return batches


def test_stream_that_was_made_again_while_iterators_expired_is_not_read_on(peer, stream):
    batches = made_again_after_a_record(peer, stream)
    peer.go_on(301)

    with pytest.raises(SourceError, match="was deleted and made again") as caught:
        next(batches)
    assert "start the run again" in caught.value.hint


def test_stream_that_was_made_again_while_a_run_was_held_up_is_not_read_on(peer, stream):
    """An iterator of the old stream may give records of the new one."""
    batches = made_again_after_a_record(peer, stream)
    peer.go_on(10)

    with pytest.raises(SourceError):
        next(batches)


def test_stream_that_was_made_again_is_not_read_on_if_the_read_after_it_is_throttled(peer, stream):
    class Throttled:
        is_throttling = False

        def get_records(self, **request):
            if self.is_throttling:
                self.is_throttling = False
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "GetRecords")
            return peer.kinesis.get_records(**request)

    throttled = Throttled()
    batches = made_again_after_a_record(peer, stream, reading=throttled)
    peer.go_on(10)
    throttled.is_throttling = True

    with pytest.raises(SourceError):
        next(batches)


class RefusingSink(MemorySink):
    """A run ends here before anything is committed."""

    def deliver(self, batch):
        raise SinkError("sink: full")


@pytest.mark.differs(kinesalite="never answers for a time after the last record", run=False)
def test_latest_is_the_time_of_the_first_start_also_if_that_run_committed_nothing(peer, stream):
    checkpoints = MemoryCheckpoints()
    put(peer.kinesis, stream, b"old")
    time.sleep(1.1)  # Kinesis tells the time to the second
    consume(peer, stream, checkpoints, RefusingSink(), start_ms=None)
    put(peer.kinesis, stream, b"1")
    with pytest.raises(SinkError):
        consume(peer, stream, checkpoints, RefusingSink(), start_ms=None)
    split(peer.kinesis, stream)
    put(peer.kinesis, stream, b"2")
    peer.go_on(60)

    assert consume(peer, stream, checkpoints, MemorySink(), start_ms=None) == ([b"1", b"2"], [])


def test_start_at_a_time_leaves_out_what_came_before(peer, stream):
    put(peer.kinesis, stream, b"old")
    peer.go_on(60)
    put(peer.kinesis, stream, b"new")
    start = datetime.now(UTC) + timedelta(seconds=30)

    assert data(read(peer, stream, start_ms=round(start.timestamp()) * 1000)) == [b"new"]
    assert data(read(peer, stream)) == [b"old", b"new"]


def test_what_expired_is_a_gap_between_the_checkpoint_and_what_is_left(peer, stream):
    kinesis = peer.kinesis
    first, _ = put(kinesis, stream, b"1", b"2")
    peer.go_on(24 * HOUR_SECONDS)
    left, _ = put(kinesis, stream, b"3", b"4")

    batches = read(peer, stream, {FIRST: first})

    assert data(batches) == [b"3", b"4"]
    assert gaps(batches) == [(FIRST, first, left)]


def test_what_has_not_expired_is_no_gap(peer, stream):
    first, *_ = put(peer.kinesis, stream, b"1", b"2")
    peer.go_on(24 * HOUR_SECONDS - 60)
    put(peer.kinesis, stream, b"3")

    batches = read(peer, stream, {FIRST: first})

    assert data(batches) == [b"2", b"3"]
    assert gaps(batches) == []


def test_shard_that_expired_before_its_end_was_read_is_a_gap_to_there(peer, stream):
    kinesis = peer.kinesis
    (first,) = put(kinesis, stream, b"1")
    split(kinesis, stream)
    peer.go_on(25 * HOUR_SECONDS)
    put(kinesis, stream, b"2", key="a")

    batches = read(peer, stream, {FIRST: first})

    assert data(batches) == [b"2"]
    assert (FIRST, first, SHARD_END) in gaps(batches)
    assert progress_of(batches)[FIRST] == SHARD_END


@pytest.mark.differs(kinesalite="lists all shards, whatever the `ShardFilter`")
def test_shard_whose_beginning_expired_before_it_was_read_is_a_gap_from_there(peer, stream):
    """An earlier run had read its parent to the end, and committed nothing of it."""
    kinesis = peer.kinesis
    split(kinesis, stream)
    began = shards(kinesis, stream)[SECOND]["SequenceNumberRange"]["StartingSequenceNumber"]
    put(kinesis, stream, b"1", key="a")
    first_start_ms = source(peer, stream).describe().horizon_ms
    peer.go_on(25 * HOUR_SECONDS)
    (left,) = put(kinesis, stream, b"2", key="a")
    reading = source(peer, stream)
    assert reading.describe().horizon_ms > first_start_ms

    batches = list(reading.batches({FIRST: SHARD_END}, first_start_ms))

    assert data(batches) == [b"2"]
    assert gaps(batches) == [(SECOND, began, left)]


@pytest.mark.differs(kinesalite="lists all shards, whatever the `ShardFilter`")
def test_shard_that_expired_while_its_parent_was_delivered_is_a_gap(peer, stream):
    put(peer.kinesis, stream, b"parent")
    split(peer.kinesis, stream)
    put(peer.kinesis, stream, b"expires", key="a")
    found = []
    for batch in source(peer, stream).batches({}):
        if not found:
            peer.go_on(25 * HOUR_SECONDS)
            put(peer.kinesis, stream, b"late", key="a")
        found.append(batch)

    assert data(found) == [b"parent", b"late"]
    assert [shard for shard, _, _ in gaps(found)] == [SECOND]


def test_shards_that_began_since_the_first_start_have_no_gap(peer, stream):
    put(peer.kinesis, stream, b"1")
    first_start_ms = source(peer, stream).describe().horizon_ms
    split(peer.kinesis, stream)
    peer.go_on(23 * HOUR_SECONDS)
    put(peer.kinesis, stream, b"2", key="a")

    reading = source(peer, stream)
    assert reading.describe().horizon_ms == first_start_ms
    assert spans(reading.batches({FIRST: SHARD_END}, first_start_ms)) == [(b"2", None)]


def test_stream_made_again_under_its_name_is_read_from_its_start(peer, stream):
    checkpoints, sink = MemoryCheckpoints(), MemorySink()
    put(peer.kinesis, stream, b"1", b"2")
    assert consume(peer, stream, checkpoints, sink) == ([b"1", b"2"], [])
    remake(peer, stream)
    put(peer.kinesis, stream, b"3")

    delivered, told = consume(peer, stream, checkpoints, sink)

    assert delivered == [b"1", b"2", b"3"]
    assert len(told) == 1
    assert "was deleted and made again" in told[0]
    assert consume(peer, stream, checkpoints, sink) == (delivered, [])


def test_gap_is_a_notice_in_the_sink_once(peer, stream):
    checkpoints, sink = MemoryCheckpoints(), MemorySink()
    put(peer.kinesis, stream, b"1")
    consume(peer, stream, checkpoints, sink)
    peer.go_on(25 * HOUR_SECONDS)
    put(peer.kinesis, stream, b"2")

    delivered, told = consume(peer, stream, checkpoints, sink)

    assert delivered == [b"1", b"2"]
    assert len(told) == len(sink.notices) == 1
    assert "expired before they were read" in told[0]
    assert consume(peer, stream, checkpoints, sink) == (delivered, [])


def test_throttled_reads_lose_and_repeat_nothing():
    """kinesalite throttles nobody."""
    with timed_peers.ours(Throttle()) as peer:
        name = make(peer, "throttled")
        sent = [b"%d" % number for number in range(300)]
        put(peer.kinesis, name, *sent)
        others = [source(peer, name, poll_seconds=0.001) for _ in range(2)]
        for other in others:
            list(other.batches({}))

        assert data(read(peer, name, poll_seconds=0.001)) == sent
        assert len(shards(peer.kinesis, name)) == 1
