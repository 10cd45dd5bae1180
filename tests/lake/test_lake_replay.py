import gzip
import io
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.decode import Decoder
from dastream.errors import ConfigError, KeyServiceError, ServiceError, SinkError
from dastream.lake import bundles, reader
from dastream.lake import replay as replaying
from dastream.lake.catalog import read_catalog
from dastream.lake.replay import REFUSED_LETTERS_MAX, Replay
from dastream.record import Extent
from dastream.sinks.formats import JSON_LINES, PARQUET
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySink, MemoryStorage
from dastream.transforms import DEFAULT, NamedTransform
from lakes import write
from letters import Keys, firehose_line, lake_lines, lambda_object, numbered
from pipelines import DAY_MS, GARBAGE
from support import (
    ARRIVAL_MS,
    ARRIVAL_TIME,
    CLUSTER,
    CONTEXT,
    DAY,
    HEARTBEAT,
    SHARD,
    gunzip_lines,
    record,
    sealed,
    unwrap,
)

FOLDER = f"dead-letter/cluster={CLUSTER}/day={DAY}"


def replay(place, sink, *, unwrap=unwrap, transforms=DEFAULT, given=None, damages=None):
    running = Replay(
        lambda owner: Decoder(unwrap, resource_id=owner),
        transforms,
        sink,
        given=given,
        on_damage=lambda *told: damages.append(told),
    )
    running(str(place))
    return running.report


def lines(storage):
    return [
        json.loads(line)
        for item in storage.list("events/")
        for line in gunzip_lines(storage.get(item.key))
    ]


def delivered(storage):
    """The SQL texts of all delivered lines, and how often."""
    return Counter(line["commandText"] for line in lines(storage))


def expected(*numbers):
    return Counter(f"SELECT {number}" for number in numbers)


def letters(*numbers):
    return [record(numbered(number), number) for number in numbers]


def put(tmp_path, *records, name="a.jsonl"):
    write(tmp_path, f"{FOLDER}/{name}", lake_lines(*records))
    return tmp_path


def test_event_of_a_replay_is_the_one_that_run_would_have_delivered(tmp_path):
    (letter,) = letters(1)
    replay(put(tmp_path, letter), sink := MemorySink(), unwrap=Keys())

    decoded = Decoder(Keys())(letter)
    assert [(e.id, e.entry, e.origin) for e in sink.events] == [
        (e.id, e.entry, e.origin) for e in decoded
    ]


def test_letters_of_lambda_keep_their_positions_and_those_of_firehose_have_none(tmp_path):
    (letter,) = letters(1)
    write(tmp_path, f"aws/lambda/uuid/{SHARD}/2026/11/23/name", lambda_object(letter))
    replay(tmp_path, LakeSink(of_lambda := MemoryStorage()), unwrap=Keys())
    write(tmp_path, "two/processing-failed/2026/11/23/07/name", firehose_line(numbered(1)))
    replay(tmp_path / "two", LakeSink(of_firehose := MemoryStorage()), unwrap=Keys(), given=CLUSTER)

    (one,), (two,) = lines(of_lambda), lines(of_firehose)
    assert (one["shardId"], one["sequenceNumber"]) == (SHARD, "1")
    assert (two["shardId"], two["sequenceNumber"]) == (None, None)
    assert one["arrivalTime"] == two["arrivalTime"] == ARRIVAL_TIME
    assert one["eventId"] == two["eventId"]


def test_objects_are_named_by_the_letters_of_their_day(tmp_path):
    first, second = letters(1, 2)
    place = put(tmp_path, first, second._replace(arrival_ms=ARRIVAL_MS + DAY_MS))

    replay(place, LakeSink(storage := MemoryStorage()), unwrap=Keys())

    folders, names = zip(*(i.key.rsplit("/", 1) for i in storage.list()), strict=True)
    assert folders == (
        f"events/cluster={CLUSTER}/day=2026-11-23",
        f"events/cluster={CLUSTER}/day=2026-11-24",
    )
    assert len(set(names)) == 2
    assert all(name.startswith("replay-") and name.endswith("-1.jsonl.gz") for name in names)


def test_second_replay_finds_everything_and_asks_no_key(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2, 3)), MemoryStorage()
    first = replay(place, LakeSink(storage), unwrap=Keys())
    held = dict(storage.objects)

    second = replay(place, LakeSink(storage), unwrap=(keys := Keys()))

    assert (first.records, first.held) == (3, 0)
    assert (second.records, second.events, second.held) == (0, 0, 3)
    assert storage.objects == held
    assert keys.calls == []


def test_what_is_mended_is_delivered_by_the_next_replay_and_nothing_else_is(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2, 3, 4, 5)), MemoryStorage()
    keys = Keys(2, 4, 5)

    first = replay(place, LakeSink(storage), unwrap=keys)
    assert (first.records, first.undeliverable) == (2, {"DecryptError": 3})
    assert delivered(storage) == expected(1, 3)

    keys.broken = {5}
    second = replay(place, LakeSink(storage), unwrap=keys)
    assert (second.records, second.held, second.undeliverable) == (2, 2, {"DecryptError": 1})

    keys.broken = set()
    third = replay(place, LakeSink(storage), unwrap=keys)
    assert (third.records, third.held, third.undeliverable) == (1, 4, {})
    assert delivered(storage) == expected(1, 2, 3, 4, 5)


def test_what_stops_decoding_again_stays_delivered_once(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2)), MemoryStorage()

    replay(place, LakeSink(storage), unwrap=Keys(2))
    report = replay(place, LakeSink(storage), unwrap=Keys(1))

    assert delivered(storage) == expected(1, 2)
    assert (report.held, report.records, report.undeliverable) == (1, 1, {})


def test_undeliverable_letters_are_written_nowhere(tmp_path):
    place = put(tmp_path, record(GARBAGE, 1), *letters(2))

    report = replay(place, LakeSink(storage := MemoryStorage()), unwrap=Keys(2))

    assert storage.objects == {}
    assert report.undeliverable == {"EnvelopeError": 1, "DecryptError": 1}
    assert report.reasons == {
        "EnvelopeError": "envelope: not a JSON object",
        "DecryptError": "data key: kms refused it",
    }
    assert not report.is_clean


def test_same_object_in_another_place_or_packed_is_the_same(tmp_path):
    storage = MemoryStorage()
    replay(put(tmp_path / "one", *letters(1, 2)), LakeSink(storage), unwrap=Keys())
    packed = gzip.compress(lake_lines(*letters(1, 2)))
    write(tmp_path, "two.gz", packed)

    report = replay(tmp_path / "two.gz", LakeSink(storage), unwrap=Keys())

    assert (report.records, report.held) == (0, 2)


def test_copies_in_other_objects_are_left_out_also_when_replayed_again(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2)), MemoryStorage()
    put(place, *letters(2, 3), name="b.jsonl")
    both = firehose_line(numbered(3)) + firehose_line(numbered(4))
    write(place, "processing-failed/2026/11/23/07/name", both)

    first = replay(place, LakeSink(storage), unwrap=Keys(), given=CLUSTER)
    second = replay(place, LakeSink(storage), unwrap=Keys(), given=CLUSTER)

    assert (first.records, first.copies) == (4, 2)
    assert (second.held, second.copies, second.records) == (4, 2, 0)
    assert delivered(storage) == expected(1, 2, 3, 4)


def test_transforms_apply_and_their_drops_are_counted(tmp_path):
    def fails_on_two(event):
        if event.columns.statement == "SELECT 2":
            raise ValueError(event.columns.statement)
        return event

    heartbeat = record(sealed([HEARTBEAT], key=b"key 9"), 9)
    place, storage = put(tmp_path, *letters(1, 2), heartbeat), MemoryStorage()
    chain = (*DEFAULT, NamedTransform("mask", fails_on_two))

    report = replay(place, LakeSink(storage), unwrap=Keys(), transforms=chain)

    assert delivered(storage) == expected(1)
    assert (report.records, report.events, report.dropped) == (2, 1, {"heartbeats": 1})
    assert report.reasons == {"TransformError": "transform mask: raised ValueError"}
    assert replay(place, LakeSink(storage), unwrap=Keys()).records == 1


def test_bundle_that_outgrows_memory_is_delivered_in_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(replaying, "EVENT_BYTES_MAX", 1)
    place, storage = put(tmp_path, *letters(1, 2, 3)), MemoryStorage()

    replay(place, LakeSink(storage), unwrap=Keys())
    again = replay(place, LakeSink(storage), unwrap=Keys())

    assert [item.key[-len("-1.jsonl.gz") :] for item in storage.list()] == [
        "-1.jsonl.gz",
        "-2.jsonl.gz",
        "-3.jsonl.gz",
    ]
    assert delivered(storage) == expected(1, 2, 3)
    assert again.held == 3


def test_key_is_asked_for_in_the_context_of_the_letters_owner(tmp_path):
    other = "cluster-OTHER"
    (letter,) = letters(1)
    copied = letter._replace(position=letter.position._replace(stream="copied"))
    write(tmp_path, "dead-letter/cluster=cluster-OTHER/day=2026-11-23/a", lake_lines(copied))
    write(tmp_path, f"{FOLDER}/a", lake_lines(*letters(2)))

    replay(tmp_path / "dead-letter", MemorySink(), unwrap=(keys := Keys()))

    assert [context for _, context in keys.calls] == [CONTEXT, {"aws:rds:dbc-id": other}]


def test_resource_id_that_is_given_goes_before_a_folder_but_not_before_the_streams_name(tmp_path):
    """The folder is named by the `--resource-id` of the run, which may have been a wrong one."""
    (letter,) = letters(1)
    copied = letter._replace(position=letter.position._replace(stream="copied"))
    write(tmp_path, "dead-letter/cluster=cluster-WRONG/day=2026-11-23/a", lake_lines(copied))
    write(tmp_path, f"{FOLDER}/a", lake_lines(*letters(2)))
    write(tmp_path, "processing-failed/a", firehose_line(numbered(3)))

    replay(tmp_path, MemorySink(), unwrap=(keys := Keys()), given="db-GIVEN")

    given = {"aws:rds:db-id": "db-GIVEN"}
    assert [context for _, context in keys.calls] == [CONTEXT, given, given]


def test_letters_that_do_not_tell_whose_they_are_need_the_resource_id(tmp_path):
    write(tmp_path, "processing-failed/a", firehose_line(numbered(1)))

    with pytest.raises(ConfigError, match="whose stream") as caught:
        replay(tmp_path, MemorySink())

    assert "--resource-id" in caught.value.hint


def many(count):
    return b"".join(firehose_line(numbered(7), ARRIVAL_MS + n) for n in range(count))


def test_given_resource_id_under_which_nothing_opens_stops_the_replay(tmp_path):
    write(tmp_path, "processing-failed/a", many(REFUSED_LETTERS_MAX))

    with pytest.raises(KeyServiceError, match="none of 100 letters opened") as caught:
        replay(tmp_path, MemorySink(), unwrap=Keys(7), given=CLUSTER)

    assert "resource id" in caught.value.hint


def test_poison_does_not_stop_the_replay_once_a_letter_has_opened(tmp_path):
    poison = many(REFUSED_LETTERS_MAX)
    write(tmp_path, "processing-failed/a", firehose_line(numbered(1)) + poison)
    write(tmp_path, "processing-failed/b", firehose_line(numbered(2)))

    report = replay(tmp_path, sink := MemorySink(), unwrap=Keys(7), given=CLUSTER)

    assert len(sink.events) == 2
    assert report.undeliverable == {"DecryptError": REFUSED_LETTERS_MAX}


def test_poison_does_not_stop_the_replay_of_letters_that_tell_whose_they_are(tmp_path):
    poison = [record(numbered(7), number) for number in range(1, REFUSED_LETTERS_MAX + 1)]

    report = replay(put(tmp_path, *poison, *letters(200)), sink := MemorySink(), unwrap=Keys(7))

    assert len(sink.events) == 1
    assert report.undeliverable == {"DecryptError": REFUSED_LETTERS_MAX}


def test_kms_that_does_not_tell_stops_the_replay_and_the_next_one_goes_on(tmp_path):
    place, storage = put(tmp_path, *letters(1)), MemoryStorage()
    put(place, *letters(2), name="b.jsonl")

    def fails_on_two(key, context):
        if key == b"key 2":
            raise KeyServiceError("kms decrypt: ThrottlingException")
        return Keys()(key, context)

    with pytest.raises(KeyServiceError):
        replay(place, LakeSink(storage), unwrap=fails_on_two)
    assert delivered(storage) == expected(1)

    report = replay(place, LakeSink(storage), unwrap=Keys())
    assert (report.held, report.records) == (1, 1)


def test_line_that_is_no_letter_is_told_and_the_rest_goes_on(tmp_path):
    data = b"no letter\n" + lake_lines(*letters(1)) + b"\n" + lake_lines(*letters(2))
    write(tmp_path, f"{FOLDER}/a.jsonl", data)

    report = replay(tmp_path, sink := MemorySink(), unwrap=Keys(), damages=(damages := []))

    assert len(sink.events) == 2
    assert damages == [(f"{FOLDER}/a.jsonl", "line 1: not a dead letter")]
    assert (report.damages, report.is_clean) == (1, False)


def test_letter_after_a_line_that_is_too_long_is_replayed(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LINE_BYTES_MAX", 1 << 20)
    before, after = lake_lines(*letters(1)), lake_lines(*letters(2))
    write(tmp_path, f"{FOLDER}/a.jsonl", before + b"x" * (3 << 20) + b"\n" + after)

    report = replay(tmp_path, sink := MemorySink(), unwrap=Keys(), damages=(damages := []))

    assert len(sink.events) == 2
    assert damages == [(f"{FOLDER}/a.jsonl", "line 2: not a dead letter")]
    assert (report.letters, report.damages) == (2, 1)


def test_object_that_ends_too_early_is_delivered_once_it_is_whole(tmp_path):
    """Half a bundle has another name than the whole one: its letters would come twice."""
    whole = gzip.compress(lake_lines(*letters(1, 2, 3)))
    storage = MemoryStorage()
    write(tmp_path, "letters.gz", whole[:-20])
    damages = []

    half = replay(tmp_path / "letters.gz", LakeSink(storage), unwrap=Keys(), damages=damages)
    write(tmp_path, "letters.gz", whole)
    report = replay(tmp_path / "letters.gz", LakeSink(storage), unwrap=Keys())

    assert (half.records, half.damages) == (0, 1)
    assert damages == [("letters.gz", "the gzip data ends too early")]
    assert report.records == 3
    assert delivered(storage) == expected(1, 2, 3)


def shown(storage):
    """The SQL texts that readers of a lake find: a batch in both formats counts once."""
    catalog = read_catalog(storage)
    found = Counter()
    for item in catalog.parquet:
        data = io.BytesIO(storage.get(item.key))
        found.update(pq.read_table(data, columns=["statement"])["statement"].to_pylist())
    for item in catalog.lines:
        found.update(
            json.loads(line)["commandText"] for line in gunzip_lines(storage.get(item.key))
        )
    return found


def test_letters_are_there_once_when_a_replay_changes_the_format(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2)), MemoryStorage()

    replay(place, LakeSink(storage), unwrap=Keys(2))
    replay(place, LakeSink(storage), unwrap=Keys())
    report = replay(place, LakeSink(storage, PARQUET), unwrap=Keys())
    last = replay(place, LakeSink(storage), unwrap=Keys())

    assert shown(storage) == expected(1, 2)
    assert (report.records, report.letters, last.held) == (2, 2, 2)
    assert len(read_catalog(storage).parquet) == 2


def test_pass_that_cannot_be_formed_again_in_another_format_stays_as_it_is(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2)), MemoryStorage()
    replay(place, LakeSink(storage), unwrap=Keys())

    with pytest.raises(SinkError, match="held in part"):
        replay(place, LakeSink(storage, PARQUET), unwrap=Keys(2))

    assert shown(storage) == expected(1, 2)


def test_place_without_letters_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no dead letters"):
        replay(tmp_path, MemorySink())


def test_name_that_is_held_by_something_else_stops_the_replay(tmp_path):
    place, storage = put(tmp_path, *letters(1, 2)), MemoryStorage()
    sink = LakeSink(storage)

    class Meanwhile(LakeSink):
        """Another replay, under which other letters decode, comes between question and put."""

        def deliver(self, batch):
            replay(place, sink, unwrap=Keys(1))
            return super().deliver(batch)

    with pytest.raises(SinkError, match="holds other records"):
        replay(place, Meanwhile(storage), unwrap=Keys())

    replay(place, sink, unwrap=Keys())
    assert delivered(storage) == expected(1, 2)


@pytest.mark.parametrize("through", ["SHARD_END", "2", "1", "2-1"])
def test_receipt_that_lists_no_letters_of_this_pass_stops_the_replay(tmp_path, through):
    class Strange(MemorySink):
        def extent(self, name):
            return Extent(through, 1, is_whole=True)

    with pytest.raises(SinkError, match="not as dastream writes it"):
        replay(put(tmp_path, *letters(1)), Strange(), unwrap=Keys())


class CrashingStorage(MemoryStorage):
    """Ends the process, as it were, before or after one of its puts."""

    crash_at, is_stored = 0, False

    def put_if_absent(self, key, data):
        self.crash_at -= 1
        if self.crash_at == 0 and not self.is_stored:
            raise ServiceError("crashed before")
        is_first = super().put_if_absent(key, data)
        if self.crash_at == 0:
            raise ServiceError("crashed after")
        return is_first


NUMBERS = range(1, 13)


@given(
    broken_in_each=st.lists(st.sets(st.sampled_from(NUMBERS)), min_size=1, max_size=5),
    crashes=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=5, max_size=5),
    objects=st.lists(st.lists(st.sampled_from(NUMBERS), min_size=1), min_size=1, max_size=4),
    letters_max=st.integers(1, 5),
    formats=st.lists(st.sampled_from([JSON_LINES, PARQUET]), min_size=6, max_size=6),
)
def test_each_record_is_delivered_once_whatever_decodes_and_whenever_it_ends(
    tmp_path_factory, broken_in_each, crashes, objects, letters_max, formats
):
    place, storage = tmp_path_factory.mktemp("letters"), CrashingStorage()
    for index, held in enumerate(objects):
        put(place, *letters(*held), name=f"{index}.jsonl")
    present = {number for held in objects for number in held}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles, "LETTERS_MAX", letters_max)
        for broken, format, (storage.crash_at, storage.is_stored) in zip(
            broken_in_each, formats, crashes, strict=False
        ):
            try:
                replay(place, LakeSink(storage, format), unwrap=Keys(*broken))
            except ServiceError:
                continue
            assert set(shown(storage)) >= set(expected(*(present - broken)))
        storage.crash_at = 0
        replay(place, LakeSink(storage, formats[-1]), unwrap=Keys())

    assert shown(storage) == expected(*present)


@given(st.sets(st.integers(1, 1000), min_size=1))
def test_numbers_come_back_from_their_ranges(numbers):
    assert bundles.numbers(bundles.ranges(sorted(numbers))) == numbers


def test_ranges_are_short():
    assert bundles.ranges([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"
    assert len(bundles.ranges(range(1, bundles.LETTERS_MAX + 1, 2))) < 4096


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "1,,2", "1 2", "SHARD_END", "49613", "\u0661"]
)
def test_what_is_no_ranges_is_refused(text):
    with pytest.raises(ValueError, match="no ranges"):
        bundles.numbers(text)


def test_bundle_has_at_most_so_many_letters_and_bytes(monkeypatch):
    monkeypatch.setattr(bundles, "LETTERS_MAX", 3)
    monkeypatch.setattr(bundles, "LETTER_BYTES_MAX", 20)
    small = [bundles.Letter(record(b"x", n), CLUSTER) for n in range(7)]
    large = [bundles.Letter(record(b"x" * 15, n), CLUSTER) for n in range(4)]

    assert [len(b.records) for b in bundles.bundles(small)] == [3, 3, 1]
    assert [len(b.records) for b in bundles.bundles(large)] == [2, 2]
    assert list(bundles.bundles([])) == []
