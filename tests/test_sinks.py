import dataclasses
import json
import shutil
import subprocess
from collections import Counter

import pytest
from msgspec import structs

from dastream import dead_letter, line
from dastream.errors import ConfigError, EnvelopeError, SinkError
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.notice import Notice
from dastream.record import BatchName, DeadLetter, DeadSpan, EventBatch, Extent, digest
from dastream.sinks import jsonl, open_sink, parquet
from dastream.sinks.formats import PARQUET
from dastream.sinks.jsonl import RECEIPT_BYTES_MAX, Receipt
from dastream.sinks.lake import LakeSink
from dastream.storage import open_storage
from dastream.testing import MemorySink, MemoryStorage
from support import CLUSTER, DAY, SHARD, compact, entry, gunzip_lines, record

BUCKET = "a-lake"
RECORDS = [record(b"first", 1), record(b"second", 2)]
NAME = BatchName(CLUSTER, DAY, SHARD, "after-0")
EVENTS_KEY = f"events/cluster={CLUSTER}/day={DAY}/{SHARD}-after-0.jsonl.gz"
PARQUET_KEY = EVENTS_KEY.replace("jsonl.gz", "parquet")
DEAD_LETTERS_KEY = EVENTS_KEY.replace("events/", "dead-letter/")

EVENT = Event("0a-0", compact(entry("SELECT 'ü'")), Origin(ENGINES["postgresql"]))
DEAD_LETTER = DeadLetter(RECORDS[1], EnvelopeError("envelope: not a JSON object"))
BATCH = EventBatch(
    name=NAME,
    through="2",
    records=RECORDS,
    digest=digest(RECORDS),
    events=(EVENT, EVENT.replace(commandText="two\nlines")),
    dropped=Counter(heartbeats=3),
    dead_letters=(DEAD_LETTER,),
)
WHOLE = Extent("2", 2, is_whole=True)
RECEIPT = Receipt(
    start="after-0",
    through="2",
    records=2,
    digest=BATCH.digest,
    events=2,
    dropped={"heartbeats": 3},
    dead_letters=1,
    dead_spans=(DeadSpan("2", "2"),),
)


@pytest.fixture
def bucket(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def file_url(tmp_path):
    return (tmp_path / "lake").as_uri()


@pytest.fixture(params=["memory", "file", "s3", "file parquet", "s3 parquet"])
def sink(request):
    """Every sink in turn: the contract is one."""
    place, _, format = request.param.partition(" ")
    if place == "memory":
        sink = MemorySink()
    elif place == "file":
        sink = open_sink(f"{request.getfixturevalue('file_url')}?format={format or 'jsonl'}")
    else:
        bucket = request.getfixturevalue("bucket")
        sink = open_sink(f"s3://{bucket}/lake?format={format or 'jsonl'}")
    yield sink
    sink.close()


def changed(**values):
    return dataclasses.replace(BATCH, **values)


def test_nothing_is_held_before_the_first_delivery(sink):
    assert sink.extent(NAME) is None


@pytest.mark.parametrize(
    "batch",
    [BATCH, changed(events=()), changed(dead_letters=())],
    ids=["events and dead letters", "dead letters only", "events only"],
)
def test_delivered_batch_is_held_to_its_end(sink, batch):
    sink.deliver(batch)

    assert sink.extent(NAME) == WHOLE


def test_every_part_of_the_name_tells_batches_apart(sink):
    sink.deliver(BATCH)

    for part in NAME._fields:
        assert sink.extent(NAME._replace(**{part: "cluster-OTHER"})) is None


def test_same_batch_again_changes_nothing(sink):
    assert sink.deliver(BATCH) is True
    assert sink.deliver(BATCH) is False

    assert sink.extent(NAME) == WHOLE


def test_names_are_those_of_the_batches_of_the_day(sink):
    others = [
        NAME._replace(shard="shardId-000000000001"),
        NAME._replace(start=f"after-{'9' * 56}"),
        NAME._replace(day="2026-11-24"),
        NAME._replace(resource_id="cluster-OTHER"),
    ]
    for name in (NAME, *others):
        sink.deliver(changed(name=name))

    assert set(sink.names(CLUSTER, DAY)) == {NAME, *others[:2]}
    assert set(sink.names("cluster-OTHER", DAY)) == {others[3]}
    assert list(sink.names(CLUSTER, "2026-11-25")) == []


def test_notice_may_be_given_again(sink):
    notice = Notice("gap-1", "something is missing", {"shardId": SHARD, "arrival": None})
    sink.notify(CLUSTER, notice)
    sink.notify(CLUSTER, notice)

    assert list(sink.names(CLUSTER, DAY)) == []


def test_batch_whose_dead_letters_are_missing_is_not_whole_until_it_is_delivered_again():
    sink = LakeSink(storage := MemoryStorage())
    sink.deliver(BATCH)
    del storage.objects[DEAD_LETTERS_KEY]

    assert sink.extent(NAME) == Extent("2", 2, is_whole=False)
    assert set(sink.names(CLUSTER, DAY)) == {NAME}
    assert sink.deliver(BATCH) is True
    assert sink.extent(NAME) == WHOLE


@pytest.mark.parametrize("now", ["first", "both", "none"])
def test_which_records_are_dead_letters_is_settled_by_the_first_delivery(now):
    """The second one would have others: a limit was raised, or a transform failed once."""
    sink = LakeSink(storage := MemoryStorage())
    sink.deliver(BATCH)
    del storage.objects[DEAD_LETTERS_KEY]
    dead = {"first": RECORDS[:1], "both": RECORDS, "none": []}[now]
    letters = tuple(DeadLetter(one, EnvelopeError("envelope: too long")) for one in dead)

    assert sink.deliver(changed(events=(), dead_letters=letters, is_again=True)) is True

    (letter,) = gunzip_lines(storage.objects[DEAD_LETTERS_KEY])
    told = json.loads(letter)
    assert (told["sequenceNumber"], told["data"]) == ("2", "c2Vjb25k")
    assert told["error"] == ("EnvelopeError" if now == "both" else "RecordError")
    assert sink.extent(NAME) == WHOLE


def test_receipt_that_does_not_tell_which_records_are_dead_means_those_of_now():
    """Written by a version before."""
    storage = MemoryStorage()
    before = structs.replace(RECEIPT, dead_spans=())
    storage.put_if_absent(EVENTS_KEY, jsonl.pack(line.texts(BATCH.events), before))

    LakeSink(storage).deliver(changed(is_again=True))

    assert gunzip_lines(storage.objects[DEAD_LETTERS_KEY]) == [dead_letter.write(DEAD_LETTER)]


def test_event_that_is_there_is_not_left_out_of_another_format():
    """A reader takes one format of a batch, and would not see it any more."""
    storage = MemoryStorage()
    LakeSink(storage).deliver(changed(dead_letters=()))

    with pytest.raises(SinkError, match="does not decode now") as caught:
        LakeSink(storage, PARQUET).deliver(changed(events=(EVENT,), is_again=True))

    assert "in its format" in caught.value.hint
    assert list(storage.objects) == [EVENTS_KEY]


@pytest.mark.parametrize("count", [1, 99])
def test_spans_tell_which_records_are_dead(count):
    records = [record(b"%d" % number, number) for number in range(1, 200)]
    letters = tuple(DeadLetter(one, EnvelopeError("x")) for one in records[: 2 * count : 2])
    batch = changed(records=records, dead_letters=letters)

    assert batch.dead_spans == [DeadSpan(str(n), str(n)) for n in range(1, 2 * count, 2)]
    again = dataclasses.replace(batch, dead_letters=())
    assert [r.record for r in again.settled(batch.dead_spans).dead_letters] == [
        letter.record for letter in letters
    ]
    together = dataclasses.replace(batch, dead_letters=[DeadLetter(r, None) for r in records[2:5]])
    assert together.dead_spans == [DeadSpan("3", "5")]


@pytest.mark.parametrize("expired", [0, 1, 2, 3])
def test_dead_letters_that_are_missing_are_found_wherever_records_expired(expired):
    records = [record(b"%d" % number, number) for number in range(1, 5)]
    letters = [DeadLetter(one, EnvelopeError("envelope: x")) for one in records[1:3]]
    whole = changed(records=records, through="4", digest="of all", dead_letters=letters, events=())
    sink = LakeSink(storage := MemoryStorage())
    sink.deliver(whole)
    del storage.objects[DEAD_LETTERS_KEY]

    left = [one for one in records if one is not records[expired]]
    again = dataclasses.replace(whole, records=left, digest="of fewer", dead_letters=())
    sink.deliver(dataclasses.replace(again, has_gap=True, is_again=True))

    told = [json.loads(text) for text in gunzip_lines(storage.objects[DEAD_LETTERS_KEY])]
    assert [letter["sequenceNumber"] for letter in told] == [
        one.position.sequence for one in records[1:3] if one in left
    ]


def test_record_that_was_a_dead_letter_gives_no_event_in_another_format():
    storage = MemoryStorage()
    LakeSink(storage).deliver(BATCH)
    del storage.objects[DEAD_LETTERS_KEY]
    of_second = Event(
        "0b-0", EVENT.entry, Origin(EVENT.origin.engine, position=RECORDS[1].position)
    )
    again = changed(events=(EVENT, of_second), dead_letters=(), is_again=True)

    LakeSink(storage, PARQUET).deliver(again)

    assert parquet.receipt(storage.objects[PARQUET_KEY]).events == 1
    assert len(gunzip_lines(storage.objects[DEAD_LETTERS_KEY])) == 1


def test_receipt_with_other_dead_records_stops_with_a_sink_error():
    receipt = structs.replace(RECEIPT, dead_spans=(DeadSpan("x", "2"),))
    storage = MemoryStorage()
    storage.put_if_absent(EVENTS_KEY, jsonl.pack([], receipt))

    with pytest.raises(SinkError, match="not as dastream writes it"):
        LakeSink(storage).deliver(BATCH)


def test_events_are_written_before_dead_letters():
    """Whoever puts them first has the batch; nobody else can then put its dead letters."""
    sink = LakeSink(storage := MemoryStorage())
    sink.deliver(BATCH)

    assert list(storage.objects) == [EVENTS_KEY, DEAD_LETTERS_KEY]


@pytest.mark.parametrize(
    "batch", [changed(events=()), changed(events=(), dead_letters=())], ids=["letters", "nothing"]
)
def test_batch_without_events_has_its_object_so_that_its_name_is_taken(batch):
    sink = LakeSink(storage := MemoryStorage())
    sink.deliver(batch)

    assert gunzip_lines(storage.objects[EVENTS_KEY]) == []
    with pytest.raises(SinkError, match="other records"):
        sink.deliver(changed(through="3"))


def test_notice_lies_in_the_lake_as_one_json_object():
    sink = LakeSink(storage := MemoryStorage())
    sink.notify(CLUSTER, Notice("gap-1", "something is missing", {"shardId": SHARD, "to": None}))

    ((key, data),) = storage.objects.items()
    assert key == f"_dastream/notices/cluster={CLUSTER}/gap-1.json"
    assert json.loads(data) == {
        "notice": "gap",
        "text": "something is missing",
        "shardId": SHARD,
        "to": None,
    }


def test_what_dastream_did_not_name_is_no_batch():
    sink = LakeSink(storage := MemoryStorage())
    folder = EVENTS_KEY.rpartition("/")[0]
    for name in (
        "x",
        "after-1.jsonl.gz",
        f"{SHARD}-after-x.jsonl.gz",
        f"{SHARD}-after-1.jsonl.gz.1",
    ):
        storage.put_if_absent(f"{folder}/{name}", b"")

    assert list(sink.names(CLUSTER, DAY)) == []


@pytest.mark.parametrize(
    "other",
    [
        changed(digest=digest([record(b"others", 1), record(b"second", 2)])),
        changed(through="3"),
        changed(through="3", events=()),
        changed(through="SHARD_END", dead_letters=()),
    ],
)
def test_other_records_under_the_name_stop_with_a_sink_error(sink, other):
    sink.deliver(BATCH)

    with pytest.raises(SinkError, match="other records"):
        sink.deliver(other)

    assert sink.extent(NAME) == WHOLE


def test_batch_of_which_records_expired_is_what_is_held_if_it_goes_as_far(sink):
    sink.deliver(BATCH)
    rest = changed(digest="of fewer records", records=RECORDS[1:], has_gap=True)

    assert sink.deliver(rest) is False
    with pytest.raises(SinkError, match="other records"):
        sink.deliver(dataclasses.replace(rest, through="3"))


def test_batch_of_which_nothing_is_left_is_held_as_any_other(sink):
    nothing = changed(events=(), dead_letters=())

    assert sink.deliver(nothing) is True
    assert sink.deliver(nothing) is False
    assert sink.extent(NAME) == WHOLE
    assert set(sink.names(CLUSTER, DAY)) == {NAME}


def test_memory_sink_shows_the_events_in_their_order():
    sink = MemorySink()
    sink.deliver(BATCH)
    sink.deliver(changed(name=NAME._replace(start="after-2"), events=(EVENT,)))

    assert sink.events == [*BATCH.events, EVENT]


def test_lake_has_one_object_of_events_and_one_of_dead_letters(file_url):
    open_sink(file_url).deliver(BATCH)
    storage = open_storage(file_url)

    assert [item.key for item in storage.list()] == [DEAD_LETTERS_KEY, EVENTS_KEY]
    assert gunzip_lines(storage.get(EVENTS_KEY)) == [line.write(event) for event in BATCH.events]
    assert gunzip_lines(storage.get(DEAD_LETTERS_KEY)) == [dead_letter.write(DEAD_LETTER)]


def test_receipt_tells_the_range_and_the_counts_at_the_start_of_both_objects(file_url):
    open_sink(file_url).deliver(BATCH)
    storage = open_storage(file_url)

    for key in (EVENTS_KEY, DEAD_LETTERS_KEY):
        assert jsonl.receipt(storage.get(key, RECEIPT_BYTES_MAX)) == RECEIPT


def test_same_batch_gives_the_same_bytes_everywhere(file_url, bucket):
    stores = [MemoryStorage(), open_storage(file_url), open_storage(f"s3://{bucket}")]
    for storage in stores:
        LakeSink(storage).deliver(BATCH)

    for key in (EVENTS_KEY, DEAD_LETTERS_KEY):
        assert len({storage.get(key) for storage in stores}) == 1


def test_standard_gunzip_reads_the_objects(file_url, tmp_path):
    gunzip = shutil.which("gunzip")
    assert gunzip, "gunzip belongs to every system that runs these tests"
    open_sink(file_url).deliver(BATCH)

    done = subprocess.run(
        [gunzip, "--stdout", tmp_path / "lake" / EVENTS_KEY], capture_output=True, check=True
    )

    assert done.stdout == b"".join(line.write(event) + b"\n" for event in BATCH.events)
    assert done.stderr == b""


def test_dead_letter_line_keeps_the_original_bytes():
    letter = json.loads(dead_letter.write(DEAD_LETTER))

    assert letter == {
        "stream": RECORDS[1].position.stream,
        "shardId": SHARD,
        "sequenceNumber": "2",
        "arrivalTime": "2026-11-23T07:28:05.123Z",
        "error": "EnvelopeError",
        "reason": "envelope: not a JSON object",
        "data": "c2Vjb25k",
    }


def test_dead_letter_line_of_a_record_without_position():
    letter = json.loads(
        dead_letter.write(DeadLetter(RECORDS[0]._replace(position=None), DEAD_LETTER.error))
    )

    assert (letter["stream"], letter["shardId"], letter["sequenceNumber"]) == (None, None, None)


@pytest.mark.parametrize("data", [b"", b"text", b"\x1f\x8b", bytes(RECEIPT_BYTES_MAX)])
def test_object_of_another_maker_under_the_name_stops_with_a_sink_error(data):
    storage = MemoryStorage()
    storage.put_if_absent(EVENTS_KEY, data)
    sink = LakeSink(storage)

    with pytest.raises(SinkError, match="not as dastream writes it"):
        sink.extent(NAME)
    with pytest.raises(SinkError, match="not as dastream writes it"):
        sink.deliver(changed(dead_letters=()))


def test_receipt_of_a_later_version_that_tells_more_is_read():
    storage = MemoryStorage()
    LakeSink(storage).deliver(BATCH)
    held, more = storage.objects[EVENTS_KEY], b'"more":{"a":[1]},'
    # RFC 1952: lengths of the extra field, and of its subfield after two letters.
    lengths = [int.from_bytes(held[at : at + 2], "little") + len(more) for at in (10, 14)]
    field, subfield = (length.to_bytes(2, "little") for length in lengths)
    storage.objects[EVENTS_KEY] = (
        held[:10] + field + held[12:14] + subfield + b"{" + more + held[17:]
    )

    assert LakeSink(storage).extent(NAME) == WHOLE
    assert LakeSink(storage).deliver(BATCH) is False


@pytest.mark.parametrize("torn", [b'"stArt"', b'"st\xffrt"', b'"st\0rt"'])
def test_object_whose_receipt_is_torn_stops_with_a_sink_error(torn):
    storage = MemoryStorage()
    LakeSink(storage).deliver(BATCH)
    storage.objects[EVENTS_KEY] = storage.objects[EVENTS_KEY].replace(b'"start"', torn)

    with pytest.raises(SinkError, match="not as dastream writes it"):
        LakeSink(storage).deliver(changed(dead_letters=()))


def test_trouble_with_the_storage_is_a_sink_error(tmp_path, aws):
    (tmp_path / "file").write_bytes(b"")
    for url in ((tmp_path / "file").as_uri(), "s3://no-such-bucket/lake"):
        sink = open_sink(url)
        with pytest.raises(SinkError) as caught:
            sink.deliver(BATCH)
        assert caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "file:///x?format=csv",
        "file:///x?formt=jsonl",
        "file:///x?format=jsonl&compress=no",
        "file:///x?format",
        "file:///x?format=jsonl&raw=no",
        "file:///x?raw=no",
        "s3://bucket/x?format=parquet&raw=maybe",
        "ftp://host/x",
        "/plain/path",
        "",
    ],
)
def test_unusable_url_is_a_config_error(aws, url):
    with pytest.raises(ConfigError, match="sink: ") as caught:
        open_sink(url)

    assert caught.value.hint
