"""Dead letters are there before anything says that their records are done."""

from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.record import RecordBatch, is_reached
from dastream.sinks import jsonl
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from pipelines import (
    EXPECTED_DEAD_LETTERS,
    GARBAGE,
    activity,
    dead_letters,
    pipeline,
    statements,
    stream,
)
from support import CLUSTER, SHARD, STREAM, record, unwrap


def test_checkpoint_never_passes_a_dead_letter_that_is_not_durable():
    storage = MemoryStorage()
    passed = []

    class Checkpoints(MemoryCheckpoints):
        def commit(self, stream, shard, through, seen_ms=None):
            due = {
                letter
                for letter in EXPECTED_DEAD_LETTERS
                if letter[0] == shard and is_reached(letter[1], by=through)
            }
            assert due <= set(dead_letters(storage))
            passed.append(due)
            super().commit(stream, shard, through, seen_ms)

    source = MemorySource(STREAM, stream(), batch_records_max=2)
    pipeline(source, [LakeSink(storage)], Checkpoints()).run()

    assert any(passed)
    assert dead_letters(storage) == EXPECTED_DEAD_LETTERS


LONG = 49_600_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000
"""Sequence numbers are as long as this."""


def every_second_is_dead(count):
    return [
        record(activity(number) if number % 2 else GARBAGE, LONG + number)
        for number in range(1, 2 * count + 1)
    ]


def test_batch_with_more_spans_of_dead_letters_than_a_receipt_lists_is_delivered_in_parts():
    records = every_second_is_dead(250)
    storage = MemoryStorage()

    pipeline(MemorySource(STREAM, records, batch_records_max=999), [LakeSink(storage)]).run()

    receipts = [
        jsonl.receipt(data[: jsonl.RECEIPT_BYTES_MAX])
        for key, data in storage.objects.items()
        if key.startswith("events/")
    ]
    assert [len(receipt.dead_spans) for receipt in receipts] == [100, 100, 50]
    assert sum(statements(storage).values()) == 2 * 250
    assert sum(dead_letters(storage).values()) == 250


def test_batch_that_must_stay_whole_has_the_rest_of_it_among_its_dead_letters():
    """There is no room to tell of more spans, and what is a letter can be replayed."""
    records = every_second_is_dead(150)
    sink = MemorySink()
    deliver = Deliverer(Decoder(unwrap), (), [sink], resource_id=CLUSTER)
    through = records[-1].position.sequence
    (told,) = deliver(RecordBatch(STREAM, SHARD, "0", through, tuple(records)), whole=True)

    ((_, batch),) = sink.batches.items()
    assert len(batch.dead_spans) == 100
    assert (len(batch.events), len(batch.dead_letters)) == (2 * 100, 200)
    assert told.dead_letters == {"EnvelopeError": 100, "RecordError": 100}


def test_memory_for_dead_letters_is_bounded_as_that_for_events_is():
    """A record of a few bytes takes a hundred times as much when it is a letter."""
    records = [record(b"x", number) for number in range(1, 101)]

    source = MemorySource(STREAM, records, batch_records_max=100)
    pipeline(source, [sink := MemorySink()], event_bytes_max=10_000).run()

    assert [len(batch.dead_letters) for batch in sink.batches.values()] == [12] * 8 + [4]
