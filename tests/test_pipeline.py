import json
import tracemalloc
from dataclasses import replace

import pytest

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import DecryptError, KeyServiceError, SinkError
from dastream.record import Gap
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from dastream.transforms import DEFAULT, NamedTransform
from pipelines import (
    DAY_MS,
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
from support import (
    ARRIVAL_MS,
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    HEARTBEAT,
    INSTANCE,
    SHARD,
    STREAM,
    entry,
    gunzip_lines,
    record,
    sealed,
    unwrap,
)


class FailingSink(MemorySink):
    """Refuses every batch until it is mended."""

    is_mended = False

    def deliver(self, batch):
        if not self.is_mended:
            raise SinkError("sink: full")
        return super().deliver(batch)


class ForgettingSink(MemorySink):
    """Keeps no batch."""

    def deliver(self, batch):
        return True


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


def test_instance_is_heard_of_by_its_last_record_whatever_becomes_of_its_events():
    records = [
        record(activity(1), 1, arrival_ms=ARRIVAL_MS),
        record(heartbeat(), 2, arrival_ms=ARRIVAL_MS + 2),
        record(GARBAGE, 3, arrival_ms=ARRIVAL_MS + 3),
        record(heartbeat(), 1, shard=OTHER_SHARD, arrival_ms=ARRIVAL_MS + 1),
    ]

    counters = pipeline(records, [MemorySink()]).run()

    assert counters.seen_ms == {INSTANCE: ARRIVAL_MS + 2}
    assert counters.arrival_ms == ARRIVAL_MS + 3


def test_batch_that_every_sink_held_already_is_not_counted_as_delivered():
    first, second, third = MemorySink(), MemorySink(), MemorySink()
    (batch,) = MemorySource(STREAM, [record(activity(1))]).batches({})

    counted = []
    for sinks in ([first, second], [first, second], [first, third]):
        deliver = Deliverer(Decoder(unwrap), DEFAULT, sinks, resource_id=CLUSTER)
        (delivery,) = deliver(batch, whole=False)
        counted.append((delivery.events, delivery.events_held))

    assert counted == [(2, 0), (0, 2), (2, 0)]


@pytest.mark.parametrize(("silent_days", "is_known"), [(1, True), (3, False)])
def test_instance_that_was_heard_before_the_start_is_known_for_a_retention(silent_days, is_known):
    checkpoints = MemoryCheckpoints()
    pipeline([record(activity(1))], [MemorySink()], checkpoints).run()
    assert checkpoints.seen_ms(STREAM) == {INSTANCE: ARRIVAL_MS}
    later = record(GARBAGE, 2, arrival_ms=ARRIVAL_MS + silent_days * DAY_MS)

    counters = pipeline([later], [MemorySink()], checkpoints).run()

    assert counters.seen_ms == ({INSTANCE: ARRIVAL_MS} if is_known else {})


def test_retention_is_known_once_the_run_has_asked():
    running = pipeline([record(activity(1)), record(activity(2), 2)], [MemorySink()])
    assert running.retention_ms is None
    running.run()

    assert running.retention_ms == DAY_MS


def gapped(gap):
    """A source whose second batch comes after a gap."""

    class Gapped(MemorySource):
        def batches(self, progress, start_ms=0, lost_ms=0):
            first, second = super().batches(progress, start_ms, lost_ms)
            yield first
            yield replace(second, gap=gap)

    records = [record(activity(number), number) for number in (1, 2)]
    return Gapped(STREAM, records, batch_records_max=1)


def test_gap_is_a_notice_in_every_sink_and_told_and_counted():
    first, second, told = MemorySink(), LakeSink(storage := MemoryStorage()), []
    gap = Gap(SHARD, "1", "2", None, ARRIVAL_MS)

    counters = pipeline(gapped(gap), [first, second], tell=told.append).run()

    assert counters.gaps == 1
    ((key, notice),) = first.notices.items()
    assert key == (CLUSTER, f"gap-{SHARD}-1-2")
    assert told == [notice.text]
    assert SHARD in notice.text
    data = storage.objects[f"_dastream/notices/cluster={CLUSTER}/gap-{SHARD}-1-2.json"]
    assert json.loads(data) == {
        "notice": "gap",
        "text": notice.text,
        "stream": STREAM,
        "shardId": SHARD,
        "afterSequenceNumber": "1",
        "afterArrivalTime": None,
        "untilSequenceNumber": "2",
        "untilArrivalTime": "2026-11-23T07:28:05.123Z",
    }


def test_notice_of_a_gap_is_durable_before_a_checkpoint_passes_it():
    class Full(MemorySink):
        def notify(self, resource_id, notice):
            raise SinkError("sink: full")

    checkpoints = MemoryCheckpoints()
    with pytest.raises(SinkError, match="full"):
        pipeline(gapped(Gap(SHARD, "1", "2")), [Full()], checkpoints).run()

    assert checkpoints.progress(STREAM) == {SHARD: "1"}


def test_event_is_the_one_that_decode_gives():
    pipeline([record(activity(1))], [sink := MemorySink()]).run()

    decoded = Decoder(unwrap)(record(activity(1)))
    assert [(e.id, e.entry, e.origin) for e in sink.events] == [
        (e.id, e.entry, e.origin) for e in decoded
    ]


def test_batch_tells_what_it_was_made_from():
    pipeline([record(heartbeat(), 1), record(GARBAGE, 2)], [sink := MemorySink()]).run()

    ((name, batch),) = sink.batches.items()
    assert name == (CLUSTER, "2026-11-23", SHARD, "after-0")
    assert [r.position.sequence for r in batch.records] == ["1", batch.through]
    assert batch.dropped == {"heartbeats": 1}
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


def test_stopped_run_delivers_what_was_read_and_ends_without_error():
    sink, checkpoints = MemorySink(), MemoryCheckpoints()
    records = [record(activity(number), number) for number in range(1, 10)]
    running = pipeline(MemorySource(STREAM, records, batch_records_max=2), [sink], checkpoints)
    deliver = sink.deliver

    def stop_after(batch):
        running.stop()
        return deliver(batch)

    sink.deliver = stop_after
    running.run()

    through = checkpoints.progress(STREAM)[SHARD]
    assert [batch.through for batch in sink.batches.values()][-1] == through
    assert int(through) < 9


def test_kms_is_asked_in_the_context_of_the_streams_owner():
    contexts = []

    def unwrap(key, context):
        contexts.append(context)
        return DATA_KEY

    pipeline([record(activity(1))], [MemorySink()], unwrap=unwrap).run()

    assert contexts == [CONTEXT] * 2  # once for the trial, as there is no cache


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
        f"events/cluster={CLUSTER}/day=2026-11-23/{SHARD}-after-0.jsonl.gz",
        f"events/cluster={CLUSTER}/day=2026-11-24/{SHARD}-after-1.jsonl.gz",
    ]


def test_one_refused_record_is_told_with_its_error():
    pipeline(
        [record(sealed([entry()], data_key=bytes(32))), record(activity(1), 2)],
        [sink := MemorySink()],
    ).run()

    (batch,) = sink.batches.values()
    (letter,) = batch.dead_letters
    assert isinstance(letter.error, DecryptError)
    assert replace(batch, dead_letters=()).events == batch.events


def test_batch_is_delivered_in_parts_when_its_events_outgrow_their_bound():
    records = [record(activity(number), number) for number in range(1, 8)]
    sink, checkpoints = MemorySink(), MemoryCheckpoints()

    pipeline(records, [sink], checkpoints, event_bytes_max=1).run()

    batches = sink.batches.values()
    assert [len(batch.records) for batch in batches] == [1] * 7
    assert [batch.through for batch in batches] == [r.position.sequence for r in records]
    assert checkpoints.progress(STREAM) == {SHARD: records[-1].position.sequence}


def test_memory_is_bounded_also_where_entries_are_of_two_bytes():
    """They compress to next to nothing, so a batch of records may hold any number of them."""
    data = sealed([{}] * 2000)
    records = [record(data, number) for number in range(1, 51)]
    bound = 4 << 20

    tracemalloc.start()
    pipeline(records, [ForgettingSink()], transforms=(), event_bytes_max=bound).run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * bound


def test_batch_that_is_held_already_is_not_cut_into_parts():
    records = [record(activity(number), number) for number in range(1, 8)]
    sink = MemorySink()
    pipeline(records, [sink]).run()

    pipeline(records, [sink], event_bytes_max=1).run()  # the checkpoint was lost

    assert len(sink.batches) == 1


def test_dead_letter_holds_nothing_but_its_record_and_the_error():
    sink = MemorySink()

    pipeline([record(GARBAGE, 1)], [sink]).run()

    (batch,) = sink.batches.values()
    (letter,) = batch.dead_letters
    assert letter.error.__traceback__ is None
    assert letter.error.__context__ is None


def test_memory_is_bounded_also_where_each_line_repeats_what_else_was_in_the_record():
    envelope = json.loads(sealed([{}] * 200)) | {"unknown": "x" * 60_000}
    records = [record(json.dumps(envelope).encode(), number) for number in range(1, 6)]

    pipeline(records, [sink := MemorySink()], transforms=(), event_bytes_max=1 << 20).run()

    assert len(sink.batches) == 5  # each would be twelve million bytes of lines
