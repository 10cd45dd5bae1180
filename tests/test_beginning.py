"""Where a run begins: what the checkpoints and the sinks tell, and which stream it is."""

import pytest

from dastream.checkpoint import Beginning, MemoryCheckpoints
from dastream.errors import ConfigError, ServiceError, SinkError
from dastream.record import SHARD_END
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from pipelines import (
    DAY_MS,
    GARBAGE,
    OTHER_SHARD,
    activity,
    dead_letters,
    heartbeat,
    pipeline,
    statements,
)
from support import ARRIVAL_MS, CLUSTER, SHARD, STREAM, record

RECORDS = [record(activity(number), number) for number in range(1, 6)]


def run(records, sinks, checkpoints=None, **how):
    """Runs to the end; gives the progress, and what was told to people."""
    checkpoints, told = checkpoints or MemoryCheckpoints(), []
    source = MemorySource(STREAM, records, **how)
    pipeline(source, sinks, checkpoints, tell=told.append).run()
    return checkpoints.progress(STREAM), told


@pytest.mark.parametrize("second", [1, 2, 3, 100])
@pytest.mark.parametrize("first", [1, 2, 3, 100])
def test_lake_without_its_state_gets_nothing_twice(first, second):
    storage = MemoryStorage()
    run(RECORDS, [LakeSink(storage)], batch_records_max=first)
    before = dict(storage.objects)

    progress, told = run(RECORDS, [LakeSink(storage)], batch_records_max=second)

    assert storage.objects == before
    assert progress == {SHARD: "5"}
    assert told == [f"{STREAM}: the sinks hold more than the state tells; going on where they end"]


def test_nothing_is_told_when_the_state_is_that_of_the_sinks():
    checkpoints, sink = MemoryCheckpoints(), MemorySink()

    assert run(RECORDS[:2], [sink], checkpoints) == ({SHARD: "2"}, [])
    assert run(RECORDS, [sink], checkpoints) == ({SHARD: "5"}, [])


def test_lake_is_recognised_without_its_state_over_batches_that_left_nothing():
    records = [record(heartbeat(), 1), record(activity(2), 2), record(heartbeat(), 3)]
    storage = MemoryStorage()
    run(records, [LakeSink(storage)], batch_records_max=1)

    run(records, [LakeSink(storage)], batch_records_max=3)

    assert set(statements(storage).values()) == {1}


def test_lake_is_recognised_when_its_first_records_have_expired():
    """They had been in one batch with others that have not."""
    storage = MemoryStorage()
    run(RECORDS[:4], [LakeSink(storage)])

    run(RECORDS[2:], [LakeSink(storage)])

    assert set(statements(storage).values()) == {1}
    assert len(statements(storage)) == 10


def test_state_that_is_older_than_the_lake_is_brought_up_to_date():
    storage, old = MemoryStorage(), MemoryCheckpoints()
    run(RECORDS[:1], [LakeSink(storage)], old)
    run(RECORDS[:3], [LakeSink(storage)])

    progress, told = run(RECORDS[1:], [LakeSink(storage)], old, batch_records_max=1)

    assert set(statements(storage).values()) == {1}
    assert progress == {SHARD: "5"}
    assert len(told) == 1


def test_state_that_is_ahead_of_the_lake_counts():
    """What lay between left nothing behind, or the lake is another one."""
    checkpoints, sink = MemoryCheckpoints(), MemorySink()
    run([record(activity(1), 1), record(heartbeat(), 2)], [sink], checkpoints, batch_records_max=1)

    progress, told = run(RECORDS, [MemorySink()], checkpoints)

    assert (progress, told) == ({SHARD: "5"}, [])
    assert checkpoints.progress(STREAM) == {SHARD: "5"}


def test_last_batch_is_found_on_an_earlier_day():
    records = [
        record(activity(number), number, arrival_ms=ARRIVAL_MS + DAY_MS * (number > 2))
        for number in range(1, 6)
    ]
    storage = MemoryStorage()
    run(records[:2], [LakeSink(storage)])

    run(records, [LakeSink(storage)], batch_records_max=100)

    assert set(statements(storage).values()) == {1}
    assert len(statements(storage)) == 10


def test_shards_without_a_batch_are_read_from_their_start():
    records = [*RECORDS, record(activity(7), 7, shard=OTHER_SHARD)]
    storage = MemoryStorage()
    run(RECORDS, [LakeSink(storage)])

    progress, _ = run(records, [LakeSink(storage)])

    assert progress == {SHARD: "5", OTHER_SHARD: "7"}
    assert len(statements(storage)) == 12


def test_finished_shard_stays_finished():
    checkpoints, sink = MemoryCheckpoints(), MemorySink()
    run(RECORDS, [sink], checkpoints)
    checkpoints.commit(STREAM, SHARD, SHARD_END)

    run(RECORDS[:1], [sink], checkpoints)

    assert checkpoints.progress(STREAM) == {SHARD: SHARD_END}


def test_sinks_of_which_one_is_a_batch_behind_are_completed():
    first, second = LakeSink(MemoryStorage()), LakeSink(MemoryStorage())
    run(RECORDS[:2], [first, second])
    run(RECORDS[:4], [first])  # a crash after it was delivered here

    run(RECORDS, [first, second], batch_records_max=1)

    for sink in (first, second):
        assert set(statements(sink._storage).values()) == {1}
        assert len(statements(sink._storage)) == 10
    assert first._storage.objects == second._storage.objects


def test_sink_that_holds_nothing_begins_with_the_last_batch_of_the_others():
    first, second = MemorySink(), MemorySink()
    run(RECORDS[:4], [first], batch_records_max=2)

    run(RECORDS, [first, second], batch_records_max=1)

    assert [batch.through for batch in first.batches.values()] == ["2", "4", "5"]
    assert [batch.through for batch in second.batches.values()] == ["4", "5"]


@pytest.mark.parametrize("sizes", [(1, 2), (1, 5), (2, 3)])
def test_sinks_that_were_not_filled_together_are_refused(sizes):
    first, second = MemorySink(), MemorySink()
    run(RECORDS, [first], batch_records_max=sizes[0])
    run(RECORDS[:3], [second], batch_records_max=sizes[1])

    with pytest.raises(SinkError, match="the sinks hold different batches") as caught:
        run(RECORDS, [first, second])

    assert caught.value.hint


class Made(MemorySource):
    """A source whose stream was made at another time, and whose shard began later."""

    def __init__(self, records, created_ms, began="0", **made):
        super().__init__(STREAM, records)
        self.made = {"created_ms": created_ms, "shards": {SHARD: began}} | made
        self.asked = None

    def describe(self):
        return super().describe()._replace(**self.made)

    def batches(self, progress, start_ms=0, lost_ms=0):
        self.asked = (dict(progress), start_ms)
        self.lost_ms = lost_ms
        return super().batches(progress, start_ms, lost_ms)


def test_stream_that_was_made_again_is_read_from_its_start_and_its_past_is_kept_aside():
    checkpoints, sink, told = MemoryCheckpoints(), MemorySink(), []
    pipeline(Made(RECORDS, ARRIVAL_MS), [sink], checkpoints).run()
    again = Made([record(activity(9), 9, arrival_ms=ARRIVAL_MS + 1)], ARRIVAL_MS + 1, began="7")

    pipeline(again, [sink], checkpoints, tell=told.append).run()

    assert again.asked == ({}, ARRIVAL_MS + 1)
    assert checkpoints.progress(STREAM) == {SHARD: "9"}
    assert checkpoints.progress(f"{STREAM}@2026-11-23T07:28:05.123Z") == {SHARD: "5"}
    ((resource_id, name),) = sink.notices
    assert (resource_id, name) == (CLUSTER, f"recreated-{ARRIVAL_MS + 1}")
    assert "made again at 2026-11-23T07:28:05.124Z" in told[0]
    assert sink.notices[resource_id, name].members == {
        "stream": STREAM,
        "earlierCreationTime": "2026-11-23T07:28:05.123Z",
        "creationTime": "2026-11-23T07:28:05.124Z",
    }


def test_crash_while_a_stream_is_begun_anew_does_no_harm():
    sink, checkpoints = MemorySink(), MemoryCheckpoints()
    pipeline(Made(RECORDS, 1), [sink], checkpoints).run()
    again = Made([record(activity(9), 9)], 2, began="7")
    checkpoints.begin(STREAM, Beginning(2, 0, DAY_MS, 0), aside="elsewhere")  # and here it ended

    pipeline(again, [sink], checkpoints).run()

    assert len(sink.events) == 12


def test_batches_of_an_earlier_stream_of_the_name_are_no_progress():
    """The state is lost, too."""
    sink, told = MemorySink(), []
    pipeline(Made(RECORDS, 1), [sink]).run()

    pipeline(Made([record(activity(9), 9)], 2, began="7"), [sink], tell=told.append).run()

    assert (len(sink.events), told) == (12, [])


def test_time_to_start_from_is_settled_once():
    checkpoints = MemoryCheckpoints()
    first = Made([], 1, start_ms=ARRIVAL_MS, now_ms=ARRIVAL_MS)
    pipeline(first, [MemorySink()], checkpoints).run()
    later = Made(RECORDS, 1, start_ms=ARRIVAL_MS + 1)

    pipeline(later, [MemorySink()], checkpoints).run()

    assert later.asked == ({}, ARRIVAL_MS)
    assert checkpoints.beginning(STREAM) == Beginning(1, ARRIVAL_MS, DAY_MS, ARRIVAL_MS - DAY_MS)


def test_from_now_on_is_the_streams_own_time_at_the_first_start():
    checkpoints, source = MemoryCheckpoints(), Made(RECORDS, 1, start_ms=None)

    pipeline(source, [MemorySink()], checkpoints).run()

    assert source.asked == ({}, ARRIVAL_MS)
    assert checkpoints.beginning(STREAM) == Beginning(1, ARRIVAL_MS, DAY_MS, ARRIVAL_MS - DAY_MS)


def test_from_now_on_skips_nothing_where_the_lake_shows_that_there_was_an_earlier_start():
    sink = MemorySink()
    pipeline(Made(RECORDS[:2], 1), [sink]).run()
    source = Made(RECORDS, 1, start_ms=None)

    pipeline(source, [sink]).run()

    assert source.asked == ({SHARD: "2"}, 1)


def test_all_that_the_stream_has_is_settled_as_the_time_from_which_on_it_can_be_read():
    """So that a later run can tell what may have expired since."""
    checkpoints = MemoryCheckpoints()
    first, second = Made(RECORDS, 1, retention_ms=DAY_MS), Made(RECORDS, 1, retention_ms=100)
    pipeline(first, [MemorySink()], checkpoints).run()
    pipeline(second, [MemorySink()], checkpoints).run()

    assert first.asked[1] == second.asked[1] == ARRIVAL_MS - DAY_MS + 120_000


def test_lake_without_state_is_asked_for_all_since_the_creation_of_the_stream_however_old_it_is():
    """What expired since then is missing, and a source can only tell so if it is asked for it."""
    sink = MemorySink()
    pipeline(Made(RECORDS, 1), [sink]).run()
    later = Made([record(activity(9), 9, arrival_ms=ARRIVAL_MS + 30 * DAY_MS)], 1)

    pipeline(later, [sink]).run()

    assert later.asked == ({}, 1)


def test_stream_that_was_made_again_is_asked_for_all_since_then():
    checkpoints = MemoryCheckpoints()
    pipeline(Made(RECORDS, 1), [MemorySink()], checkpoints).run()
    again = Made([record(activity(9), 9, arrival_ms=ARRIVAL_MS + 30 * DAY_MS)], 2, began="7")

    pipeline(again, [MemorySink()], checkpoints).run()

    assert again.asked == ({}, ARRIVAL_MS - DAY_MS + 120_000)


def test_start_that_is_to_come_is_refused_before_it_is_stored():
    checkpoints = MemoryCheckpoints()
    source = Made(RECORDS, 1, start_ms=ARRIVAL_MS + 1)

    with pytest.raises(ConfigError, match=r"start is after 2026-11-23T07:28:05\.123Z") as caught:
        pipeline(source, [MemorySink()], checkpoints).run()

    assert "has been" in caught.value.hint
    assert checkpoints.beginning(STREAM) is None


class LettersRefused(MemoryStorage):
    """A storage that takes no dead letter, as long as `is_refusing`."""

    is_refusing = True

    def put_if_absent(self, key, data):
        if self.is_refusing and key.startswith("dead-letter/"):
            raise ServiceError("no letters")
        return super().put_if_absent(key, data)


def half_delivered(records, through=None):
    """A storage with the events of a batch without its dead letters."""
    storage = LettersRefused()
    with pytest.raises(ServiceError):
        pipeline(records, [LakeSink(storage)]).run()
    storage.is_refusing = False
    return storage


def test_state_of_another_place_within_a_batch_that_is_held_in_part_does_not_divide_it():
    records = [record(activity(1), 1), record(GARBAGE, 2), record(activity(3), 3)]
    storage, foreign = half_delivered(records), MemoryCheckpoints()
    foreign.begin(STREAM, Beginning(0, 0, DAY_MS, 0), aside="elsewhere")
    foreign.commit(STREAM, SHARD, "1")

    run(records, [LakeSink(storage)], foreign, batch_records_max=1)

    assert set(statements(storage).values()) == {1}
    assert sum(dead_letters(storage).values()) == 1
    assert foreign.progress(STREAM) == {SHARD: "3"}


def test_first_batch_from_now_on_that_is_held_in_part_is_completed_without_what_came_before():
    """The state is lost, and with it where the first run began: what is held tells."""
    before = [record(activity(number), number) for number in (1, 2)]
    wanted = [record(activity(3), 3), record(GARBAGE, 4), record(activity(5), 5)]
    storage = half_delivered(wanted)

    pipeline(Made([*before, *wanted], 0, start_ms=None), [LakeSink(storage)]).run()

    assert set(statements(storage)) == {
        (SHARD, f"SELECT {s}{n}") for n in (3, 5) for s in ("", "-")
    }
    assert set(statements(storage).values()) == {1}
    assert sum(dead_letters(storage).values()) == 1


@pytest.mark.parametrize("start_ms", [ARRIVAL_MS + 1, ARRIVAL_MS + 2])
def test_batch_that_is_held_in_part_and_begins_before_the_start_of_a_state_stops_a_run(start_ms):
    wanted = [
        record(GARBAGE, 1),
        record(activity(2), 2, arrival_ms=ARRIVAL_MS + 1),
        record(activity(3), 3, arrival_ms=ARRIVAL_MS + 2),
    ]
    storage, foreign = half_delivered(wanted), MemoryCheckpoints()
    foreign.begin(STREAM, Beginning(0, start_ms, DAY_MS, 0), aside="elsewhere")

    with pytest.raises(SinkError, match="begins after its first record") as caught:
        pipeline(Made(wanted, 0), [LakeSink(storage)], foreign).run()

    assert "remove the state" in caught.value.hint
    pipeline(Made(wanted, 0, start_ms=start_ms), [LakeSink(storage)]).run()
    assert sum(dead_letters(storage).values()) == 1


def test_what_may_have_expired_before_the_retention_was_raised_stays_lost():
    """Raising it brings nothing back; and it may have been raised just before a start."""
    checkpoints, lost = MemoryCheckpoints(), []
    for number, days in enumerate((7, 1, 7, 7)):
        at = record(activity(number), number + 1, arrival_ms=ARRIVAL_MS + number * DAY_MS)
        source = Made([at], 1, retention_ms=days * DAY_MS)
        pipeline(source, [MemorySink()], checkpoints).run()
        lost.append((source.lost_ms - ARRIVAL_MS) // DAY_MS)

    assert lost == [-7, 0, 1, 1]
    assert checkpoints.beginning(STREAM).retention_ms == 7 * DAY_MS
    assert checkpoints.progress(STREAM) == {SHARD: "4"}
