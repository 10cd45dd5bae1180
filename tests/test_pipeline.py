import base64
import json
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    ARRIVAL_MS,
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    HEARTBEAT,
    SHARD,
    STREAM,
    entry,
    gunzip_lines,
    record,
    sealed,
    unwrap,
)

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.errors import ConfigError, DecryptError, KeyServiceError, SinkError
from dastream.pipeline import REFUSED_RECORDS_MAX, Pipeline
from dastream.record import SHARD_END, RecordBatch
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from dastream.transforms import DEFAULT, NamedTransform

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


def pipeline(source, sinks, checkpoints=None, *, unwrap=unwrap, transforms=DEFAULT):
    if not hasattr(source, "batches"):
        source = MemorySource(STREAM, source)
    return Pipeline(
        source,
        Decoder(unwrap),
        transforms,
        sinks,
        checkpoints or MemoryCheckpoints(),
        resource_id=CLUSTER,
    )


class CrashError(Exception):
    """The process ends here."""


class CrashingCheckpoints(MemoryCheckpoints):
    """Crashes in place of a commit, `commits_left` commits from now."""

    commits_left = None

    def commit(self, stream, shard, through):
        if self.commits_left == 0:
            raise CrashError
        if self.commits_left is not None:
            self.commits_left -= 1
        super().commit(stream, shard, through)


class FailingSink(MemorySink):
    """Refuses every batch until it is mended."""

    is_mended = False

    def deliver(self, batch):
        if not self.is_mended:
            raise SinkError("sink: full")
        super().deliver(batch)


def statements(storage):
    """The SQL texts of all delivered lines, and how often."""
    lines = [
        line
        for item in storage.list("events/")
        for line in gunzip_lines(storage.get(item.key))
    ]
    return Counter((m["shardId"], m["commandText"]) for m in map(json.loads, lines))


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


def test_everything_is_delivered_dropped_by_name_or_a_dead_letter():
    storage, checkpoints = MemoryStorage(), MemoryCheckpoints()

    counters = pipeline(stream(), [LakeSink(storage)], checkpoints).run()

    assert statements(storage) == EXPECTED_STATEMENTS
    assert dead_letters(storage) == EXPECTED_DEAD_LETTERS
    assert counters.records == 30
    assert counters.record_bytes == sum(len(r.data) for r in stream())
    assert counters.events == EXPECTED_STATEMENTS.total()
    assert counters.dropped == {"heartbeats": 6}
    assert counters.dead_letters == {"EnvelopeError": 6}
    assert checkpoints.progress(STREAM) == {SHARD: "15", OTHER_SHARD: "15"}


def test_event_is_the_one_that_decode_gives():
    pipeline([record(activity(1))], [sink := MemorySink()]).run()

    decoded = Decoder(unwrap)(record(activity(1)))
    assert [(e.id, e.entry, e.origin) for e in sink.events] == [
        (e.id, e.entry, e.origin) for e in decoded
    ]


def test_batch_tells_what_it_was_made_from():
    pipeline([record(heartbeat(), 1), record(GARBAGE, 2)], [sink := MemorySink()]).run()

    ((name, batch),) = sink.batches.items()
    assert name == (CLUSTER, "2026-11-23", SHARD, "from-1")
    assert (batch.through, batch.records, batch.dropped) == ("2", 2, {"heartbeats": 1})
    assert [(d.record.data, type(d.error).__name__) for d in batch.dead_letters] == [
        (GARBAGE, "EnvelopeError")
    ]


def test_nothing_is_committed_before_every_sink_has_the_batch():
    first, second, checkpoints = MemorySink(), FailingSink(), MemoryCheckpoints()

    with pytest.raises(SinkError, match="full"):
        pipeline([record(activity(1))], [first, second], checkpoints).run()
    assert checkpoints.progress(STREAM) == {}

    second.is_mended = True
    counters = pipeline([record(activity(1))], [first, second], checkpoints).run()

    assert checkpoints.progress(STREAM) == {SHARD: "1"}
    assert [len(sink.events) for sink in (first, second)] == [2, 2]
    assert counters.events == 2


def test_what_failed_is_not_counted():
    failing = pipeline([record(activity(1))], [FailingSink()])

    with pytest.raises(SinkError):
        failing.run()

    assert (failing.counters.records, failing.counters.events) == (0, 0)


def test_trouble_with_kms_delivers_and_commits_nothing_of_the_batch():
    def throttled(key, context):
        raise KeyServiceError("kms decrypt: ThrottlingException")

    sink, checkpoints = MemorySink(), MemoryCheckpoints()

    with pytest.raises(KeyServiceError):
        pipeline([record(activity(1))], [sink], checkpoints, unwrap=throttled).run()

    assert (sink.batches, checkpoints.progress(STREAM)) == ({}, {})


def run_to_the_end(storage, attempts):
    """Runs that each crash after some commits, with batches of their own size; then one to the end."""
    checkpoints = CrashingCheckpoints()
    for batch_records_max, commits_left in attempts:
        checkpoints.commits_left = commits_left
        source = MemorySource(STREAM, stream(), batch_records_max=batch_records_max)
        try:
            pipeline(source, [LakeSink(storage)], checkpoints).run()
        except CrashError:
            continue
    checkpoints.commits_left = None
    pipeline(stream(), [LakeSink(storage)], checkpoints).run()
    return checkpoints


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=8),
)
def test_whatever_crashes_between_delivery_and_commit_nothing_is_lost_or_comes_twice(attempts):
    checkpoints = run_to_the_end(storage := MemoryStorage(), attempts)

    assert statements(storage) == EXPECTED_STATEMENTS
    assert dead_letters(storage) == EXPECTED_DEAD_LETTERS
    assert checkpoints.progress(STREAM) == {SHARD: "15", OTHER_SHARD: "15"}


@pytest.mark.parametrize("batch_records_max", [1, 2, 3, 100])
def test_batch_that_was_delivered_but_not_committed_is_formed_again(batch_records_max):
    sink, checkpoints = MemorySink(), CrashingCheckpoints()
    checkpoints.commits_left = 0
    records = [record(activity(number), number) for number in range(1, 8)]
    with pytest.raises(CrashError):
        pipeline(MemorySource(STREAM, records, batch_records_max=5), [sink], checkpoints).run()
    held = dict(sink.batches)
    checkpoints.commits_left = None

    source = MemorySource(STREAM, records, batch_records_max=batch_records_max)
    pipeline(source, [sink], checkpoints).run()

    assert list(sink.batches.values())[0] is list(held.values())[0]
    assert sorted(e.columns.statement for e in sink.events) == sorted(
        f"SELECT {sign}{number}" for number in range(1, 8) for sign in ("", "-")
    )


def test_sinks_that_were_filled_together_go_on_together():
    first, second = MemorySink(), MemorySink()
    records = [record(activity(number), number) for number in (1, 2, 3)]
    pipeline(MemorySource(STREAM, records, batch_records_max=2), [first]).run()

    pipeline(records, [first, second]).run()

    assert [b.through for b in second.batches.values()] == ["2", "3"]
    assert first.batches.keys() == second.batches.keys()


def test_sinks_that_hold_different_batches_under_one_name_are_refused():
    first, second = MemorySink(), MemorySink()
    records = [record(activity(number), number) for number in (1, 2, 3)]
    pipeline(MemorySource(STREAM, records, batch_records_max=1), [first]).run()
    pipeline(MemorySource(STREAM, records, batch_records_max=2), [second]).run()

    with pytest.raises(SinkError, match="different batches under one name"):
        pipeline(records, [first, second]).run()


def test_lake_of_many_small_batches_is_recognised_without_its_state():
    """The state was lost: what is held reaches over thousands of batches."""
    records = [record(GARBAGE, number) for number in range(1, 3001)]
    sink = MemorySink()
    pipeline(MemorySource(STREAM, records, batch_records_max=1), [sink]).run()

    pipeline(MemorySource(STREAM, records, batch_records_max=5000), [sink]).run()

    assert len(sink.batches) == 3000


def test_batch_that_is_held_further_than_the_stream_reaches_stops():
    records = [record(activity(number), number) for number in (1, 2, 3)]
    pipeline(records, [sink := MemorySink()]).run()

    with pytest.raises(SinkError, match="held further than the stream reaches"):
        pipeline(records[:2], [sink]).run()


def test_recreated_stream_with_other_records_under_the_same_numbers_stops():
    pipeline([record(activity(1), 1)], [sink := MemorySink()]).run()

    with pytest.raises(SinkError, match="other records"):
        pipeline([record(activity(2), 1)], [sink]).run()

    assert len(sink.events) == 2


class EndedShard(MemorySource):
    """A source whose shard ends after its records."""

    def batches(self, progress):
        last = progress.get(SHARD)
        for batch in super().batches(progress):
            last = batch.through
            yield batch
        yield RecordBatch(self.stream, SHARD, last, SHARD_END, ())


def test_end_of_a_shard_is_committed():
    checkpoints = MemoryCheckpoints()
    source = EndedShard(STREAM, [record(activity(1))])

    counters = pipeline(source, [sink := MemorySink()], checkpoints).run()

    assert checkpoints.progress(STREAM) == {SHARD: SHARD_END}
    assert (len(sink.batches), counters.records) == (1, 1)


@pytest.mark.parametrize("batch_records_max", [1, 2, 100])
def test_end_of_a_shard_comes_after_a_batch_that_is_formed_again(batch_records_max):
    records = [record(activity(number), number) for number in (1, 2, 3)]
    pipeline(MemorySource(STREAM, records, batch_records_max=2), [sink := MemorySink()]).run()
    checkpoints = MemoryCheckpoints()
    source = EndedShard(STREAM, records, batch_records_max=batch_records_max)

    pipeline(source, [sink], checkpoints).run()

    assert checkpoints.progress(STREAM) == {SHARD: SHARD_END}
    assert len(sink.events) == 6


def test_stopped_run_delivers_what_was_read_and_ends_without_error():
    sink, checkpoints = MemorySink(), MemoryCheckpoints()
    records = [record(activity(number), number) for number in range(1, 10)]
    running = pipeline(MemorySource(STREAM, records, batch_records_max=2), [sink], checkpoints)
    deliver = sink.deliver

    def stop_after(batch):
        deliver(batch)
        running.stop()

    sink.deliver = stop_after
    running.run()

    through = checkpoints.progress(STREAM)[SHARD]
    assert [batch.through for batch in sink.batches.values()][-1] == through
    assert int(through) < 9


def test_run_that_is_stopped_while_it_waits_for_a_held_batch_ends_without_error():
    records = [record(activity(number), number) for number in (1, 2, 3)]
    pipeline(records, [sink := MemorySink()]).run()
    checkpoints = MemoryCheckpoints()
    running = pipeline(MemorySource(STREAM, records, batch_records_max=1), [sink], checkpoints)
    extent = sink.extent

    def stop_when_asked(name):
        running.stop()
        return extent(name)

    sink.extent = stop_when_asked
    running.run()

    assert checkpoints.progress(STREAM) == {}


def poison(number):
    """A record whose data key belongs to another one."""
    return record(sealed([entry()], data_key=bytes(32)), number)


def test_records_that_do_not_decrypt_are_dead_letters_as_long_as_others_do():
    records = [poison(number) for number in range(1, REFUSED_RECORDS_MAX)]
    records.append(record(activity(1), REFUSED_RECORDS_MAX))
    records.extend(poison(REFUSED_RECORDS_MAX + number) for number in (1, 2))

    source = MemorySource(STREAM, records, batch_records_max=1000)
    counters = pipeline(source, [sink := MemorySink()]).run()

    assert counters.dead_letters == {"DecryptError": REFUSED_RECORDS_MAX + 1}
    (batch,) = sink.batches.values()
    assert [letter.record for letter in batch.dead_letters] == [
        r for r in records if r.data != activity(1)
    ]


def test_many_in_a_row_that_do_not_decrypt_stop_the_run_before_they_are_delivered():
    records = [record(activity(1), 1), *(poison(n) for n in range(2, 2 + REFUSED_RECORDS_MAX))]
    sink, checkpoints = MemorySink(), MemoryCheckpoints()

    source = MemorySource(STREAM, records, batch_records_max=1000)

    with pytest.raises(ConfigError, match="100 records in a row did not open") as caught:
        pipeline(source, [sink], checkpoints).run()

    assert "resource id" in caught.value.hint
    assert (sink.batches, checkpoints.progress(STREAM)) == ({}, {})


def test_in_a_row_is_counted_over_batches():
    records = [poison(number) for number in range(1, REFUSED_RECORDS_MAX + 1)]

    with pytest.raises(ConfigError):
        pipeline(MemorySource(STREAM, records, batch_records_max=7), [MemorySink()]).run()


def test_kms_is_asked_in_the_context_of_the_streams_owner():
    contexts = []

    def unwrap(key, context):
        contexts.append(context)
        return DATA_KEY

    pipeline([record(activity(1))], [MemorySink()], unwrap=unwrap).run()

    assert contexts == [CONTEXT]


def fails_on_two(event):
    if event.columns.statement == "SELECT 2":
        raise ValueError("cannot mask SELECT 2")
    return event


def test_record_on_which_a_transform_raises_is_a_dead_letter_as_a_whole():
    chain = (*DEFAULT, NamedTransform("mask", fails_on_two))
    records = [record(activity(number), number) for number in (1, 2, 3)]
    storage = MemoryStorage()

    counters = pipeline(records, [LakeSink(storage)], transforms=chain).run()

    assert {text for _, text in statements(storage)} == {
        "SELECT 1",
        "SELECT -1",
        "SELECT 3",
        "SELECT -3",
    }
    assert dead_letters(storage) == {(SHARD, "2", activity(2)): 1}
    assert counters.dead_letters == {"TransformError": 1}
    (item,) = storage.list("dead-letter/")
    (letter,) = map(json.loads, gunzip_lines(storage.get(item.key)))
    assert letter["reason"] == "transform mask: raised ValueError"


def test_drops_of_a_record_that_becomes_a_dead_letter_are_not_counted():
    data = sealed([HEARTBEAT, entry("SELECT 2")])
    chain = (*DEFAULT, NamedTransform("mask", fails_on_two))

    counters = pipeline([record(data)], [MemorySink()], transforms=chain).run()

    assert counters.dropped == {}
    assert counters.dead_letters == {"TransformError": 1}


def test_transforms_change_what_is_delivered():
    def mask(event):
        return event.replace(commandText="***")

    pipeline(
        [record(activity(1))], [sink := MemorySink()], transforms=[NamedTransform("m", mask)]
    ).run()

    assert [event.columns.statement for event in sink.events] == ["***", "***"]


def test_batches_of_different_days_are_different_objects():
    storage = MemoryStorage()
    records = [
        record(activity(1), 1, arrival_ms=ARRIVAL_MS),
        record(activity(2), 2, arrival_ms=ARRIVAL_MS + DAY_MS),
    ]

    pipeline(records, [LakeSink(storage)]).run()

    assert [item.key for item in storage.list()] == [
        f"events/cluster={CLUSTER}/day=2026-11-23/{SHARD}-from-1.jsonl.gz",
        f"events/cluster={CLUSTER}/day=2026-11-24/{SHARD}-after-1.jsonl.gz",
    ]


def test_one_refused_record_is_told_with_its_error():
    pipeline([poison(1), record(activity(1), 2)], [sink := MemorySink()]).run()

    (batch,) = sink.batches.values()
    (letter,) = batch.dead_letters
    assert isinstance(letter.error, DecryptError)
    assert replace(batch, dead_letters=()).events == batch.events
