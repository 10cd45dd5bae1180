"""What only Kinesis has: iterators, pages, shards that end and have children."""

import time
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from botocore.exceptions import ClientError

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import ConfigError, SinkError, SourceError
from dastream.pipeline import Pipeline
from dastream.record import SHARD_END, Gap
from dastream.sources import BatchLimits, open_source
from dastream.testing import MemorySink
from pipelines import DAY_MS
from shards import NOON, NOON_MS, FakeKinesis, Shard, sequences, source, spans
from support import CLUSTER


def test_arrival_is_milliseconds_since_1970():
    moment = datetime(2026, 11, 23, 7, 28, 5, 123_000, tzinfo=UTC)
    (batch,) = source(FakeKinesis(a=Shard((1, moment)))).batches({})

    assert batch.records[0].arrival_ms == 1_795_418_885_123


def test_batch_is_cut_where_the_utc_day_changes():
    midnight = datetime(2025, 11, 24, tzinfo=UTC)
    almost = midnight - timedelta(milliseconds=1)
    shard = Shard((1, NOON), (2, almost), (3, midnight), (4, midnight))

    assert spans(source(FakeKinesis(a=shard)).batches({})) == [
        ("a", "0", "2", 2),
        ("a", "2", "4", 2),
    ]


def test_batch_is_cut_when_it_has_its_bytes():
    limits = BatchLimits(flush_bytes_max=2)

    assert spans(source(FakeKinesis(a=Shard(1, 2, 3)), limits=limits).batches({})) == [
        ("a", "0", "2", 2),
        ("a", "2", "3", 1),
    ]


def test_batch_is_cut_when_its_first_record_is_old_enough():
    limits = BatchLimits(flush_age_seconds_max=0.05)
    reading = source(FakeKinesis(a=Shard(1)), once=False, limits=limits)
    started = time.monotonic()

    first = next(reading.batches({}))

    assert spans([first]) == [("a", "0", "1", 1)]
    assert time.monotonic() - started >= 0.05


def test_ended_shard_gives_its_end_and_then_its_children():
    kinesis = FakeKinesis(
        parent=Shard(1, 2, 3, is_closed=True),
        left=Shard(4, parents=("parent",)),
        right=Shard(5, parents=("parent",)),
    )

    assert spans(source(kinesis).batches({})) == [
        ("parent", "0", "3", 3),
        ("parent", "3", SHARD_END, 0),
        ("left", "0", "4", 1),
        ("right", "0", "5", 1),
    ]


def test_merged_shard_waits_for_both_parents():
    kinesis = FakeKinesis(
        child=Shard(7, parents=("a", "b")),
        a=Shard(1, is_closed=True),
        b=Shard(2, 3, 4, 5, 6, is_closed=True),
    )

    assert sequences(source(kinesis).batches({})) == [1, 2, 3, 4, 5, 6, 7]


def test_children_are_read_whose_parents_are_gone_or_done():
    kinesis = FakeKinesis(
        orphan=Shard(1, parents=("expired",)),
        done=Shard(2, is_closed=True),
        child=Shard(3, parents=("done",)),
    )

    assert sequences(source(kinesis).batches({"done": SHARD_END})) == [1, 3]


def test_closed_shard_is_read_to_its_end_even_if_it_is_at_its_tip_before():
    """An empty page at the tip of a closed shard would starve its children in every run."""
    kinesis = FakeKinesis(
        parent=Shard(1, is_closed=True, empty_pages=2),
        child=Shard(2, parents=("parent",)),
    )

    assert sequences(source(kinesis).batches({})) == [1, 2]


def test_child_is_not_read_before_its_parent_was_taken():
    kinesis = FakeKinesis(parent=Shard(1, is_closed=True), child=Shard(2, parents=("parent",)))
    reading = source(kinesis).batches({})

    assert next(reading).through == "1"
    assert next(reading).through == SHARD_END

    assert [shard for shard, _ in kinesis.iterators] == ["parent"]
    assert sequences(reading) == [2]


def test_reading_ends_when_every_shard_has_ended():
    kinesis = FakeKinesis(a=Shard(1, is_closed=True))

    assert len(spans(source(kinesis, once=False).batches({}))) == 2


@pytest.mark.parametrize("pages_before", [0, 1])
def test_expired_iterator_is_renewed_without_loss_or_repeat(pages_before):
    kinesis = FakeKinesis(a=Shard(1, 2, 3))
    original, calls = kinesis.get_records, []

    def get_records(**arguments):
        calls.append(arguments)
        if len(calls) == pages_before + 1:
            raise ClientError({"Error": {"Code": "ExpiredIteratorException"}}, "GetRecords")
        return original(**arguments)

    kinesis.get_records = get_records

    assert sequences(source(kinesis).batches({})) == [1, 2, 3]


def test_page_that_comes_again_is_not_read_twice():
    """The answer was lost on its way, or Kinesis gives it once more."""
    kinesis = FakeKinesis(a=Shard(1, 2, 3))
    original, pages = kinesis.get_records, []

    def get_records(**request):
        pages.append(original(**request))
        return pages[0] if len(pages) == 2 else pages[-1]

    kinesis.get_records = get_records

    assert sequences(source(kinesis).batches({})) == [1, 2, 3]


def test_expired_iterator_at_the_tip_does_not_move_the_start():
    """What came in the meantime would be skipped."""
    kinesis = FakeKinesis(a=Shard((1, NOON - timedelta(seconds=1))))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_bytes_max=1))
    original = kinesis.get_records

    def arrive_and_expire(**_):
        kinesis.shards["a"].records.append((2, NOON))
        kinesis.get_records = original
        raise ClientError({"Error": {"Code": "ExpiredIteratorException"}}, "GetRecords")

    kinesis.get_records = arrive_and_expire

    assert sequences([next(reading.batches({}, NOON_MS))]) == [2]


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "InvalidArgumentException", "KMSDisabledException"]
)
def test_refused_read_is_a_source_error_by_its_code(code):
    with pytest.raises(SourceError, match=rf"kinesis: cannot read s \({code}\)") as caught:
        list(source(FakeKinesis([code], a=Shard(1))).batches({}))

    assert caught.value.hint


def test_source_that_does_not_read_once_reads_what_comes_later_until_it_is_stopped():
    kinesis = FakeKinesis(a=Shard(1))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})

    assert sequences([next(batches)]) == [1]
    kinesis.shards["a"].records.append((2, NOON))
    assert sequences([next(batches)]) == [2]
    reading.stop()
    assert list(batches) == []


def test_what_was_read_before_the_stop_is_given():
    kinesis = FakeKinesis(a=Shard(1, 2))
    reading = source(kinesis, once=False)
    original = kinesis.get_records

    def stop_meanwhile(**request):
        reading.stop()
        return original(**request)

    kinesis.get_records = stop_meanwhile

    assert sequences(reading.batches({})) == [1, 2]


def test_lag_is_told_by_shard():
    reading = source(FakeKinesis(a=Shard(1, 2, 3)), limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})

    next(batches)
    assert reading.lag_ms == {"a": 1000}
    list(batches)
    assert reading.lag_ms == {"a": 0}


def test_lag_grows_while_nobody_takes_what_was_read():
    """A sink that is slow, or does not answer."""
    now = 0.0
    reading = source(FakeKinesis(a=Shard(1, 2, 3)), clock=lambda: now, limits=BatchLimits(1))
    batches = reading.batches({})

    next(batches)
    now = 7.5
    assert reading.lag_ms == {"a": 8000}


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("trim_horizon", [1, 2, 3]),
        ("latest", [3]),
        ("2025-11-23T12:00:00Z", [2, 3]),
        ("2025-11-23T12:00:00", [2, 3]),
        ("2025-11-23T13:00:01%2B01:00", [3]),
        ("2025-11-24", []),
    ],
)
def test_start_says_where_a_shard_without_progress_begins(monkeypatch, start, found):
    kinesis = FakeKinesis(
        a=Shard((1, NOON - timedelta(seconds=1)), (2, NOON), (3, NOON + timedelta(seconds=1))),
        now=NOON + timedelta(seconds=1, milliseconds=500),
    )
    monkeypatch.setattr("dastream.sources.kinesis.open_client", lambda *_, **__: kinesis)
    opened = open_source(f"kinesis://s?start={start}", once=True)
    described = opened.describe()

    start_ms = described.now_ms if described.start_ms is None else described.start_ms
    assert sequences(opened.batches({}, start_ms)) == found


def test_progress_goes_before_the_start():
    kinesis = FakeKinesis(a=Shard(1, 2, 3))

    assert sequences(source(kinesis).batches({"a": "1"}, NOON_MS + 1)) == [2, 3]


def test_description_is_that_of_kinesis_by_its_own_clock():
    now = NOON + timedelta(milliseconds=999)

    kinesis = FakeKinesis(now=now, a=Shard(first=7))
    kinesis.created = NOON - timedelta(days=9)
    described = source(kinesis).describe()

    assert described == (NOON_MS - 9 * DAY_MS, NOON_MS, DAY_MS, 0, {"a": "7"})
    assert described.horizon_ms == NOON_MS - DAY_MS
    assert described.lasting_ms == NOON_MS - DAY_MS + 120_000
    young = described._replace(created_ms=NOON_MS - 1)
    assert young.horizon_ms == young.lasting_ms == NOON_MS - 1


def consume(kinesis, checkpoints, sink):
    """A run from latest over records that do not decode; gives the positions it delivered."""
    reading = source(kinesis, start_ms=None)
    deliver = Deliverer(Decoder(None), (), [sink], resource_id=CLUSTER)
    Pipeline(reading, deliver, checkpoints).run()
    return [
        int(letter.record.position.sequence)
        for batch in sink.batches.values()
        for letter in batch.dead_letters
    ]


class RefusingSink(MemorySink):
    """A run ends here before anything is delivered."""

    def deliver(self, batch):
        raise SinkError("sink: full")


@pytest.mark.parametrize("failing", [SinkError, SourceError])
def test_no_record_is_skipped_if_a_run_from_latest_crashes_before_its_first_commit(failing):
    before, after = (NOON + timedelta(seconds=seconds) for seconds in (-1, 1))
    kinesis, checkpoints = FakeKinesis(a=Shard((1, before)), now=NOON), MemoryCheckpoints()
    kinesis.shards["a"].records.append((2, after))
    if failing is SourceError:
        kinesis.errors = ["AccessDeniedException"]
    with pytest.raises(failing):
        consume(kinesis, checkpoints, RefusingSink())
    kinesis.now = NOON + timedelta(hours=1)
    kinesis.errors = []

    assert consume(kinesis, checkpoints, MemorySink()) == [2]


def test_no_record_is_skipped_that_came_while_a_consumer_from_latest_was_down():
    """Shard b had nothing yet when the first run ended, so only a has progress."""
    kinesis, checkpoints, sink = (
        FakeKinesis(a=Shard(1), b=Shard()),
        MemoryCheckpoints(),
        MemorySink(),
    )
    assert consume(kinesis, checkpoints, sink) == [1]
    kinesis.shards["a"].records.append((2, NOON + timedelta(hours=1)))
    kinesis.shards["b"].records.append((3, NOON + timedelta(hours=1)))
    kinesis.now = NOON + timedelta(hours=2)

    assert consume(kinesis, checkpoints, sink) == [1, 2, 3]


def test_latest_leaves_out_what_a_closed_shard_had_and_reads_its_children():
    old = NOON - timedelta(hours=1)
    kinesis = FakeKinesis(
        old=Shard((1, old), (2, old), is_closed=True),
        young=Shard((3, old), (4, NOON), parents=("old",), first=3),
    )

    assert consume(kinesis, MemoryCheckpoints(), MemorySink()) == [4]


def test_time_to_start_at_holds_for_each_shard_without_progress():
    old, new = NOON - timedelta(days=1), NOON
    kinesis = FakeKinesis(a=Shard((1, new), (2, new)), b=Shard((3, old), (4, new)))

    assert sequences(source(kinesis).batches({"a": "1"}, NOON_MS)) == [2, 4]


def test_stream_that_is_not_there_is_a_source_error(aws):
    with pytest.raises(SourceError, match="there is no stream") as caught:
        list(open_source("kinesis://aws-rds-das-cluster-NONE", once=True).batches({}))

    assert "region" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "kinesis://",
        "kinesis:///name",
        "kinesis://s?start=yesterday",
        "kinesis://s?start=LATEST",
        "kinesis://s?strat=latest",
        "kinesis://s?region=eu-west-1&x=y",
    ],
)
def test_unusable_url_is_a_config_error(aws, url):
    with pytest.raises(ConfigError, match="source: ") as caught:
        open_source(url)

    assert caught.value.hint


def test_region_of_the_url_is_that_of_the_client(aws):
    opened = open_source("kinesis://s?region=eu-central-1")

    assert opened._client.meta.region_name == "eu-central-1"
    assert opened._reading.meta.region_name == "eu-central-1"
    assert opened._reading.meta.config.retries["total_max_attempts"] == 1
    opened.close()


def test_missing_region_is_a_config_error(clean_environment):
    with pytest.raises(ConfigError, match="no client for kinesis") as caught:
        open_source("kinesis://s")

    assert "AWS_REGION" in caught.value.hint


class GoneKinesis(FakeKinesis):
    """A stream that is deleted after its first page was read."""

    def get_records(self, **request):
        if self.reads:
            self.errors = ["ResourceNotFoundException"]
        return super().get_records(**request)


def test_what_was_read_before_the_stream_went_away_is_delivered():
    read = []

    with pytest.raises(SourceError, match="there is no stream"):
        read.extend(source(GoneKinesis(a=Shard(1, 2)), once=False).batches({}))

    assert spans(read) == [("a", "0", "2", 2)]


def test_outage_that_passes_is_waited_for():
    kinesis = FakeKinesis(["EndpointConnectionError", "ReadTimeoutError"], a=Shard(1))

    assert spans(source(kinesis).batches({})) == [("a", "0", "1", 1)]


def test_progress_of_this_stream_is_taken():
    kinesis = FakeKinesis(a=Shard(1, 2, is_closed=True), b=Shard(3, parents=("a",), first=3))

    assert sequences(source(kinesis).batches({"a": SHARD_END})) == [3]
    assert sequences(source(kinesis).batches({"a": SHARD_END, "b": "3"})) == []


def remade(kinesis):
    """A stream of the same name, with shards of the same names."""
    kinesis.created += timedelta(hours=1)


def test_stream_made_again_while_a_parent_was_delivered_is_not_read_through_its_child():
    kinesis = FakeKinesis(a=Shard(1, is_closed=True), b=Shard(2, parents=("a",)))
    batches = source(kinesis, clock=count(step=2).__next__).batches({})
    assert next(batches).through == "1"
    assert next(batches).through == SHARD_END

    remade(kinesis)

    with pytest.raises(SourceError, match="made again"):
        next(batches)


def test_stream_made_again_is_asked_for_if_an_iterator_expired_whatever_the_clock_says():
    """A machine that a hypervisor held has not noticed that time passed."""
    kinesis = FakeKinesis(a=Shard(1, 2, 3))
    limits = BatchLimits(flush_bytes_max=1)
    reading = source(kinesis, once=False, limits=limits, poll_seconds=0, clock=lambda: 0.0)
    batches = reading.batches({})
    assert [next(batches).through, next(batches).through] == ["1", "2"]

    remade(kinesis)
    kinesis.errors = ["ExpiredIteratorException"]

    with pytest.raises(SourceError, match="made again"):
        next(batches)


def test_stream_made_again_while_a_page_a_day_behind_was_read_is_not_read_on():
    kinesis = FakeKinesis(a=Shard(1, 2, 3, 4))
    original = kinesis.get_records

    def get_records(**request):
        remade(kinesis)
        return original(**request) | {"MillisBehindLatest": DAY_MS}

    kinesis.get_records = get_records
    reading = source(kinesis, clock=count(step=2).__next__, sleep=lambda _: None)
    with pytest.raises(SourceError, match="made again"):
        list(reading.batches({}))


@pytest.mark.parametrize("is_listed", [True, False])
def test_shard_that_goes_while_it_is_read_is_a_gap_to_its_end_but_only_if_the_stream_is_there(
    is_listed,
):
    kinesis = FakeKinesis(a=Shard(1, 2, 3, is_closed=True), b=Shard(9))
    original = kinesis.get_records

    def get_records(**request):
        if len(kinesis.reads) >= 2:
            del kinesis.shards["a"]
            kinesis.get_records = original
            if not is_listed:
                kinesis.list_shards = kinesis.get_records = refused
            refused()
        return original(**request)

    def refused(**_):
        raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetRecords")

    kinesis.get_records = get_records
    batches = source(kinesis, limits=BatchLimits(flush_bytes_max=1)).batches({})
    if not is_listed:
        with pytest.raises(SourceError, match="no stream"):
            list(batches)
        return
    found = list(batches)
    assert [batch.gap for batch in found if batch.gap] == [Gap("a", "2", SHARD_END, NOON_MS)]
    assert sorted(sequences(found)) == [1, 2, 9]


def ahead(reading):
    found = reading.ahead()
    return found if found is None else [int(record.data) for record in found]


def test_what_is_ahead_is_known_once_all_shards_are_at_their_tips():
    kinesis = FakeKinesis(a=Shard(1), b=Shard(2))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})

    assert (data(next(batches)), ahead(reading)) == ([1], None)
    assert (data(next(batches)), ahead(reading)) == ([2], [])


def test_what_is_ahead_is_not_known_before_children_are_read():
    kinesis = FakeKinesis(a=Shard(1, is_closed=True), b=Shard(2, parents=("a",)))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_bytes_max=1))
    batches = reading.batches({})

    assert (data(next(batches)), ahead(reading)) == ([1], None)
    assert (next(batches).through, ahead(reading)) == (SHARD_END, None)
    assert (data(next(batches)), ahead(reading)) == ([2], [])


def test_records_of_the_next_day_and_the_next_batch_are_ahead():
    kinesis = FakeKinesis(a=Shard((1, NOON), (2, NOON + timedelta(days=1))), b=Shard(3, 4))
    reading = source(kinesis, once=False, limits=BatchLimits(flush_age_seconds_max=0))
    batches = reading.batches({})

    assert (data(next(batches)), ahead(reading)) == ([1], None)
    assert (data(next(batches)), ahead(reading)) == ([2], None)
    assert (data(next(batches)), ahead(reading)) == ([3, 4], [])


def data(batch):
    return [int(record.data) for record in batch.records]
