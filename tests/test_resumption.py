"""A run goes on where the last one ended, wherever that was."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.checkpoint import MemoryCheckpoints
from dastream.errors import SinkError
from dastream.record import SHARD_END, Gap, RecordBatch
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from dastream.transforms import open_transforms
from pipelines import (
    EXPECTED_DEAD_LETTERS,
    EXPECTED_STATEMENTS,
    GARBAGE,
    OTHER_SHARD,
    activity,
    dead_letters,
    heartbeat,
    pipeline,
    statements,
    stream,
)
from support import ARRIVAL_MS, SHARD, STREAM, record


class CrashError(Exception):
    """The process ends here."""


class CrashingCheckpoints(MemoryCheckpoints):
    """Crashes in place of a commit, `commits_left` commits from now."""

    commits_left = None

    def commit(self, stream, shard, through, seen_ms=None):
        if self.commits_left == 0:
            raise CrashError
        if self.commits_left is not None:
            self.commits_left -= 1
        super().commit(stream, shard, through, seen_ms)


def run_to_the_end(storage, attempts):
    """Runs that crash after some commits, with batches of any size; then one to the end."""
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

    assert next(iter(sink.batches.values())) is next(iter(held.values()))
    assert sorted(e.columns.statement for e in sink.events) == sorted(
        f"SELECT {sign}{number}" for number in range(1, 8) for sign in ("", "-")
    )


class EndedShard(MemorySource):
    """A source whose shard ends after its records."""

    def batches(self, progress, start_ms=0, lost_ms=0):
        last = progress.get(SHARD, "0")
        for batch in super().batches(progress, start_ms, lost_ms):
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


def half_delivered(records):
    """A storage in which a crash left the events of one batch of all records, no dead letters."""
    storage = MemoryStorage()
    pipeline(records, [LakeSink(storage)]).run()
    for key in [key for key in storage.objects if key.startswith("dead-letter/")]:
        del storage.objects[key]
    return storage


MIXED = [record(GARBAGE, 1), record(activity(2), 2), record(activity(3), 3)]


@pytest.mark.parametrize("batch_records_max", [1, 2, 3, 100])
def test_batch_that_was_half_delivered_is_completed_with_the_same_extent(batch_records_max):
    storage = half_delivered(MIXED)
    events = dict(storage.objects)

    records = [*MIXED, record(activity(4), 4)]
    source = MemorySource(STREAM, records, batch_records_max=batch_records_max)
    pipeline(source, [LakeSink(storage)]).run()

    assert storage.objects.items() >= events.items()
    assert set(statements(storage).values()) == {1}
    assert len(statements(storage)) == 6
    assert sum(dead_letters(storage).values()) == 1


@pytest.mark.parametrize("transforms", ["none", "default", "heartbeats"])
def test_other_settings_between_crash_and_restart_do_no_harm(transforms):
    records = [record(heartbeat(), 1), *[record(r.data, n) for n, r in enumerate(MIXED, start=2)]]
    storage = MemoryStorage()
    pipeline(records, [LakeSink(storage)], transforms=open_transforms("service-users")).run()
    for key in [key for key in storage.objects if key.startswith("dead-letter/")]:
        del storage.objects[key]
    checkpoints = MemoryCheckpoints()
    source = MemorySource(STREAM, records, batch_records_max=1)

    pipeline(source, [LakeSink(storage)], checkpoints, transforms=open_transforms(transforms)).run()

    assert {text: n for (_, text), n in statements(storage).items() if text} == {
        f"SELECT {sign}{number}": 1 for number in (2, 3) for sign in ("", "-")
    }
    assert sum(dead_letters(storage).values()) == 1
    assert checkpoints.progress(STREAM) == {SHARD: "4"}


def test_batch_that_is_held_further_than_the_stream_reaches_stops():
    storage = half_delivered(MIXED)

    with pytest.raises(SinkError, match="held further than the stream reaches"):
        pipeline(MIXED[:2], [LakeSink(storage)]).run()


@pytest.mark.parametrize("expired", [1, 2])
def test_batch_is_formed_again_also_if_a_record_of_it_expired_in_its_midst(expired):
    """Before the first page, or between the first and the next."""

    class Expiring(MemorySource):
        def batches(self, progress, start_ms=0, lost_ms=0):
            gap = None
            for batch in super().batches(progress, start_ms, lost_ms):
                if int(batch.through) == expired:
                    gap = Gap(SHARD, batch.after, str(expired + 1), None, ARRIVAL_MS)
                    continue
                yield replace(batch, after=gap.after, gap=gap) if gap else batch
                gap = None

    records = [record(GARBAGE, 1), record(activity(2), 2), record(GARBAGE, 3)]
    storage, checkpoints = half_delivered(records), MemoryCheckpoints()
    pipeline(Expiring(STREAM, records, batch_records_max=1), [LakeSink(storage)], checkpoints).run()

    assert checkpoints.progress(STREAM) == {SHARD: "3"}
    assert sum(dead_letters(storage).values()) == (2 if expired == 2 else 1)


def test_every_gap_is_told_where_several_lie_in_a_batch_that_is_formed_again():
    class Gapped(MemorySource):
        def batches(self, progress, start_ms=0, lost_ms=0):
            for batch in super().batches(progress, start_ms, lost_ms):
                sequence = batch.through
                yield replace(batch, gap=Gap(SHARD, batch.after, sequence, None, ARRIVAL_MS))

    storage = half_delivered(MIXED)
    source = Gapped(STREAM, MIXED, batch_records_max=1)
    counters = pipeline(source, [LakeSink(storage)]).run()

    assert counters.gaps == 3
    notices = {key.rpartition("/")[2] for key in storage.objects if "notices" in key}
    assert notices == {f"gap-{SHARD}-{n}-{n + 1}.json" for n in range(3)}


def test_other_records_under_the_name_of_a_half_delivered_batch_stop():
    storage = half_delivered(MIXED)

    others = [record(GARBAGE + b"!", 1), record(activity(2), 2), record(activity(3), 3)]
    with pytest.raises(SinkError, match="other records"):
        pipeline(others, [LakeSink(storage)]).run()


def test_run_that_is_stopped_while_it_waits_for_a_held_batch_ends_without_error():
    sink, checkpoints = LakeSink(half_delivered(MIXED)), MemoryCheckpoints()
    running = pipeline(MemorySource(STREAM, MIXED, batch_records_max=1), [sink], checkpoints)
    batches = running._source.batches

    def stop_after_the_first(*start):
        yield next(batches(*start))
        running.stop()

    running._source.batches = stop_after_the_first
    running.run()

    assert checkpoints.progress(STREAM) == {}
