"""A wrong key stops a run before anything is delivered; records that do not open are no reason."""

import pytest

from dastream import refusals
from dastream.checkpoint import MemoryCheckpoints
from dastream.errors import KeyServiceError, SourceError
from dastream.testing import MemorySink, MemorySource
from pipelines import GARBAGE, activity, pipeline
from support import ARRIVAL_MS, SHARD, STREAM, entry, record, sealed

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS


def poison(number, *, every_ms=0):
    """A record whose data key belongs to another one."""
    data = sealed([entry()], data_key=bytes(32))
    return record(data, number, arrival_ms=ARRIVAL_MS + number * every_ms)


def source(records, batch_records_max=1000):
    return MemorySource(STREAM, records, batch_records_max=batch_records_max)


def test_records_that_do_not_decrypt_are_dead_letters_as_long_as_others_do():
    records = [poison(number) for number in range(1, 100)]
    records.append(record(activity(1), 100))
    records.extend(poison(number) for number in (101, 102))

    counters = pipeline(source(records), [sink := MemorySink()]).run()

    assert counters.dead_letters == {"DecryptError": 101}
    (batch,) = sink.batches.values()
    assert [letter.record for letter in batch.dead_letters] == [
        r for r in records if r.data != activity(1)
    ]


@pytest.mark.parametrize("batch_records_max", [7, 1000])
def test_no_record_that_opens_for_minutes_up_to_the_tip_stops_a_run(batch_records_max):
    """Nothing of them is delivered: they wait in the stream."""
    records = [record(activity(1), 1), *(poison(n, every_ms=4 * SECOND_MS) for n in range(2, 200))]
    sink, checkpoints = MemorySink(), MemoryCheckpoints()
    read = source(records, batch_records_max)
    read.ahead = lambda: ()
    pipeline(records[:1], [sink], checkpoints).run()

    for _ in range(3):
        with pytest.raises(KeyServiceError, match=r"1\d\d records in a row did not open") as caught:
            pipeline(read, [sink], checkpoints).run()

    assert "resource id" in caught.value.hint
    assert (len(sink.batches), checkpoints.progress(STREAM)) == (1, {SHARD: "1"})


def test_any_number_of_records_in_a_short_time_stops_nobody():
    """Who may put records could else stop the run at each start, until what follows has expired."""
    records = [poison(number) for number in range(1, 1000)]
    records.append(record(activity(1), 1000, arrival_ms=ARRIVAL_MS + SECOND_MS))

    read = source(records, 7)
    read.ahead = lambda: ()

    counters = pipeline(read, [MemorySink()]).run()

    assert counters.dead_letters == {"DecryptError": 999}
    assert counters.events == 2


def test_many_bytes_that_do_not_open_stop_a_run(monkeypatch):
    monkeypatch.setattr(refusals, "BYTES_MIN", 150 * len(poison(1).data))

    with pytest.raises(KeyServiceError, match="199 records in a row"):
        pipeline(map(poison, range(1, 200)), [MemorySink()]).run()


def test_batches_that_were_held_back_are_delivered_as_they_were_once_a_record_opens():
    records = [record(GARBAGE, 1), *map(poison, range(2, 6)), record(activity(6), 6)]

    counters = pipeline(source(records, 2), [sink := MemorySink()]).run()

    assert [batch.through for batch in sink.batches.values()] == ["2", "4", "6"]
    assert counters.dead_letters == {"DecryptError": 4, "EnvelopeError": 1}


def test_few_records_that_do_not_open_are_dead_letters_if_there_are_no_others():
    counters = pipeline([poison(1), poison(2)], [MemorySink()]).run()

    assert counters.dead_letters == {"DecryptError": 2}


def test_any_number_over_any_time_stops_nobody_if_a_record_behind_them_opens():
    """The database was stopped over night, and somebody put records meanwhile."""
    records = [poison(number, every_ms=MINUTE_MS) for number in range(1, 500)]
    records.append(record(activity(1), 500, arrival_ms=ARRIVAL_MS + 500 * MINUTE_MS))

    counters = pipeline(source(records, 7), [MemorySink()]).run()

    assert (counters.dead_letters, counters.events) == ({"DecryptError": 499}, 2)


def test_records_that_were_read_and_are_not_given_yet_are_looked_at_before_a_run_is_stopped():
    """They may be of another shard, or of the next day."""
    records = [poison(number, every_ms=MINUTE_MS) for number in range(1, 500)]
    read = source(records, 100)
    read.ahead = lambda: [poison(500), record(activity(1), 501)]
    sink = MemorySink()

    with pytest.raises(KeyServiceError, match="499 records"):  # at the end, which there is here
        pipeline(read, [sink]).run()


@pytest.mark.parametrize("is_gone", [True, False])
def test_records_that_were_held_back_are_delivered_if_the_stream_has_gone(is_gone):
    class Stopped(MemorySource):
        def batches(self, progress, start_ms=0, lost_ms=0):
            yield from super().batches(progress, start_ms, lost_ms)
            raise SourceError("kinesis: it failed", is_gone=is_gone)

    sink = MemorySink()
    with pytest.raises(SourceError):
        pipeline(Stopped(STREAM, [poison(1), poison(2)]), [sink]).run()

    assert [len(batch.dead_letters) for batch in sink.batches.values()] == [2] * is_gone


def test_many_records_that_do_not_open_are_not_delivered_if_there_are_no_others():
    with pytest.raises(KeyServiceError, match="100 records in a row"):
        pipeline(map(poison, range(1, 101)), [sink := MemorySink()]).run()

    assert sink.batches == {}


def test_run_that_is_stopped_before_a_record_opened_delivers_nothing():
    sink, checkpoints = MemorySink(), MemoryCheckpoints()
    running = pipeline(source([poison(1), poison(2)], 1), [sink], checkpoints)
    opens = running._deliver.opens

    def stop(of):
        running.stop()
        return opens(of)

    running._deliver.opens = stop
    running.run()

    assert (sink.batches, checkpoints.progress(STREAM)) == ({}, {})


def test_records_that_are_no_envelopes_hold_nothing_back():
    """They say nothing about the key."""
    records = [record(GARBAGE, number) for number in range(1, 200)]
    records += [record(GARBAGE, number, arrival_ms=ARRIVAL_MS + MINUTE_MS * 9) for number in (200,)]

    counters = pipeline(records, [MemorySink()]).run()

    assert counters.dead_letters == {"EnvelopeError": 200}


def test_no_more_is_held_back_than_there_is_room_for(monkeypatch):
    """One record that did not open, and then nothing that tells."""
    monkeypatch.setattr(refusals, "BYTES_MIN", 10_000)
    records = [poison(1), *(record(GARBAGE * 100, number) for number in range(2, 50))]
    delivered = []

    class Told(MemorySink):
        def deliver(self, batch):
            delivered.append(read.count)
            return super().deliver(batch)

    class Counting(MemorySource):
        count = 0

        def batches(self, progress, start_ms=0, lost_ms=0):
            for batch in super().batches(progress, start_ms, lost_ms):
                self.count += 1
                yield batch

    read = Counting(STREAM, records, batch_records_max=1)
    pipeline(read, [Told()]).run()

    assert delivered[0] < 10
