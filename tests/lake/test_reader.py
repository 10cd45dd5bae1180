import gzip
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakes
import support
from dastream import line
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.lake import reader
from dastream.lake.reader import DamageError, read_event, read_lines, recognise
from dastream.record import Position
from dastream.storage import StoredObject
from dastream.testing import MemoryStorage

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
MIDNIGHT_US = 1_795_392_000 * 1_000_000  # 2026-11-23


def span(key):
    found = recognise(StoredObject(key, 1))
    return found and (found.from_us, found.until_us)


@pytest.mark.parametrize(
    "key",
    [
        "events/cluster=cluster-ABC/day=2026-11-23/shardId-000000000000-from-start.jsonl.gz",
        "far/below/events/cluster=cluster-ABC/day=2026-11-23/x.jsonl.gz",
        "cluster=cluster-ABC/day=2026-11-23/x.jsonl.gz",
        "day=2026-11-23/x.jsonl.gz",
    ],
)
def test_an_object_of_the_lake_spans_the_utc_day_of_its_folder(key):
    assert span(key) == (MIDNIGHT_US, MIDNIGHT_US + DAY_US)


@pytest.mark.parametrize(
    "key",
    [
        "2026/11/23/07/delivery-1-2026-11-23-07-28-05-8c9d0e1f-2a3b-4c5d-6e7f-8a9b0c1d2e3f",
        "prefix/2026/11/23/07/my.delivery-1-2026-11-23-07-28-05-8c9d0e1f.gz",
        "events/2026/11/23/07/x.jsonl",
        "a/b/2026/11/23/07/x.json.gz",
    ],
)
def test_an_object_of_firehose_spans_the_utc_hour_of_its_folders(key):
    assert span(key) == (MIDNIGHT_US + 7 * HOUR_US, MIDNIGHT_US + 8 * HOUR_US)


@pytest.mark.parametrize(
    "key",
    [
        "dead-letter/cluster=cluster-ABC/day=2026-11-23/x.jsonl.gz",
        "processing-failed/2026/11/23/07/x",
        "prefix/processing-failed/2026/11/23/07/x.gz",
        "findings/day=2026-11-23/x.jsonl.gz",
        "lake/_dastream/tmp/day=2026-11-23/0123",
        "2026/11/23/07/.hidden",
        "2026/11/23/07/x.parquet",
        "2026/11/23/07/x.snappy",
        "2026/13/23/07/x",
        "day=2026-02-30/x.jsonl.gz",
        "2026/11/23/x",
        "README.md",
        "x",
    ],
)
def test_whatever_else_lies_there_is_left_alone(key):
    assert recognise(StoredObject(key, 1)) is None


def read(data, key="2026/11/23/07/x"):
    storage = MemoryStorage()
    storage.objects[key] = data
    found = recognise(StoredObject(key, len(data)))
    return read_lines(storage, found)


TEXT = b"one\n\ntwo\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(b"one\n") + gzip.compress(b"\n") + gzip.compress(b"two\n"),
        gzip.compress(b"on") + gzip.compress(b"e\n\ntwo"),
    ],
    ids=["plain", "one member", "a member a line", "members within lines"],
)
def test_lines_are_read_from_plain_text_and_from_gzip_of_one_or_more_members(data):
    assert list(read(data)) == [(1, b"one"), (3, b"two")]


@given(
    texts=st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b"")), min_size=1),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
def test_where_members_and_pieces_end_makes_no_difference(texts, cuts):
    data = b"\n".join(texts) + b"\n"
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    members = [data[start:end] for start, end in pairwise(edges)]
    found = list(read(b"".join(map(gzip.compress, members))))
    assert found == [(n, text) for n, text in enumerate(texts, start=1) if text]


def test_an_object_that_inflates_a_thousandfold_takes_little_memory():
    packed = gzip.compress((b"x" * 1023 + b"\n") * 100_000)
    lines = read(packed)
    tracemalloc.start()
    count = sum(1 for _ in lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(TEXT)[:-9], "the gzip data ends too early"),
        (gzip.compress(TEXT)[:-1] + b"\xff", "the gzip data is damaged"),
        (gzip.compress(TEXT) + b"rest", "the gzip data is damaged"),
    ],
    ids=["nothing", "cut off", "wrong length", "garbage after it"],
)
def test_a_damaged_object_says_how(data, reason):
    with pytest.raises(DamageError, match=reason):
        list(read(data))


def test_lines_before_the_damage_are_read():
    lines = [support.compact({"line": number}) for number in range(100_000)]
    packed = gzip.compress(b"\n".join(lines))
    found = []
    with pytest.raises(DamageError, match="ends too early"):
        found.extend(text for _, text in read(packed[: len(packed) // 2]))
    assert len(found) > 40_000
    assert found == lines[: len(found)]


def test_a_line_that_is_too_long_is_given_as_an_empty_one_and_the_next_ones_are_read(monkeypatch):
    monkeypatch.setattr(reader, "LINE_BYTES_MAX", 5 << 20)
    lines = [b"x" * (20 << 20), b"y" * (5 << 20), b"", b"z" * ((5 << 20) + 1), b"last"]

    found = list(read(gzip.compress(b"\n".join(lines), 1)))

    assert found == [(1, b""), (2, lines[1]), (4, b""), (5, b"last")]


def test_an_endless_line_takes_no_more_memory_than_a_line_may(monkeypatch):
    monkeypatch.setattr(reader, "LINE_BYTES_MAX", 4 << 20)
    lines = read(gzip.compress(b"x" * (64 << 20)))
    tracemalloc.start()
    assert list(lines) == [(1, b"")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("length", [64 << 20, 32 * 300_000], ids=["large", "in many pieces"])
def test_a_long_line_that_comes_in_pieces_is_whole(length):
    """Put together anew for each piece, the second one would be copied a hundred thousand times."""
    line = b"0123456789abcdef" * (length // 16)
    packed = gzip.compress(line, 1) if length == 64 << 20 else _MEMBER * (length // 32)

    found = list(read(packed + gzip.compress(b"\nlast")))

    assert found == [(1, line), (2, b"last")]


_MEMBER = gzip.compress(b"0123456789abcdef" * 2)


def test_a_million_empty_lines_are_passed_over_and_counted():
    packed = gzip.compress(b"first" + b"\n" * 1_000_001 + b"last")
    assert list(read(packed)) == [(1, b"first"), (1_000_002, b"last")]


def test_an_object_that_inflates_without_end_is_damage(monkeypatch):
    monkeypatch.setattr(reader, "INFLATED_BYTES_MAX", 5 << 20)
    with pytest.raises(DamageError, match="more than 5242880 bytes, decompressed"):
        list(read(gzip.compress(b"\n" * (6 << 20))))


def test_an_object_that_went_while_it_was_searched_is_damage():
    found = recognise(StoredObject("2026/11/23/07/x", 1))
    with pytest.raises(DamageError, match="gone since it was listed"):
        list(read_lines(MemoryStorage(), found))


def test_an_event_read_back_has_the_columns_and_the_origin_it_had():
    before = lakes.event(7, "SELECT 'é'", paramList=["1", None])
    after = read_event(line.write(before))
    assert after.id == before.id
    assert after.entry == before.entry
    assert after.columns == before.columns
    origin = before.origin
    assert after.origin == Origin(
        origin.engine,
        origin.cluster_id,
        origin.instance_id,
        Position("", support.SHARD, "7"),
        origin.arrival_ms,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


@given(
    entry=json_values | st.dictionaries(st.sampled_from(["eventId", "entry.x", "a"]), json_values),
    engine=st.sampled_from([*ENGINES.values()]),
    cluster=st.none() | st.text(),
    more=st.none() | st.just(b'{"payload":{"new":1}}'),
)
def test_every_delivered_line_turns_back_into_itself(entry, engine, cluster, more):
    origin = Origin(engine, cluster, None, None, None, more)
    delivered = line.write(Event("id-0", support.compact(entry), origin))
    assert line.write(read_event(delivered)) == delivered


@pytest.mark.parametrize(
    "delivered",
    [
        b"",
        b"{}",
        b"[]",
        b'{"eventId":"x"}',
        lakes.lines(lakes.event())[:-3],
        lakes.lines(lakes.event()).rstrip() * 2,
        lakes.lines(lakes.event()).rstrip().replace(b"davide", b"dav\xffde"),
        lakes.lines(lakes.event()).rstrip().replace(b'"2026-11-23T', b'"2026-11-2xT'),
        lakes.lines(lakes.event()).rstrip().replace(b'05.000Z"', b'05.000"'),
    ],
)
def test_a_line_that_is_none_of_ours_is_damage_and_is_not_quoted(delivered):
    with pytest.raises(DamageError) as caught:
        read_event(delivered)
    assert str(caught.value) == "not a delivered line"
    assert caught.value.__suppress_context__
