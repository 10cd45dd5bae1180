"""Events as Arrow tables: what is decoded together is what is decoded one by one."""

import json
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import support
from dastream.event import Columns, Event, Origin
from dastream.format.engines import ENGINES, TABLES
from dastream.sinks import bulk
from dastream.sinks.table import _decode, _decode_one_by_one, table
from test_line import MORE, OBJECTS, VALUES, as_written

RECORDED = Path(__file__).parent / "golden" / "recorded"
BULK = ["aurora-postgresql", "postgresql", "aurora-mysql", "oracle"]

TIMES = [
    "2026-11-23 07:28:04.920564+00",
    "2026-11-23 07:28:04.920564",
    "2026-11-23T07:28:04.9Z",
    "2026-11-23 07:28:04.920564-05:30",
    "2026-11-23 07:28:04.920564+23:59",
    "2026-11-23 07:28:04+00",
    "2026-11-23 07:28+05:30",
    "2026-11-23",
    "2026-11-23 07:28:04.9205641+00",
    "2026-11-23 24:00:00.000000+00",
    "2026-11-23 23:59:60.000000+00",
    "0001-01-01 00:00:00.000000+00",
    "0001-01-01 00:00:00.000000+01",
    "0000-01-01 00:00:00.000000+00",
    "9999-12-31 23:59:59.999999-01",
    "2026-02-30 00:00:00.000000+00",
    "2026-11-23 07:28:04.920564 UTC",
    "2026-11-23 07:28:04.920564+05:30:10",
    "never",
    "",
    None,
]
NUMBERS = [0, 1, -1, 7, 2**63 - 1, -(2**63), 2**63, 10**30, 1.0, 1.5, "12", "-3", "x", "", None]
TEXTS = ["a", "", None, "0", "000", "SELECT 1", 'a."b".c', "ü🙂", "a\0b", "\u2028", r"it\'s"]
ODD = [True, False, 3.5, [], {}, ["a", None], [1], {"type": "heartbeat"}, "AUX", "FAILED_CONNECT"]
PARAMS = [[], None, ["a", None, ""], [1], "", "x", {}]
KINDS = {"startTime": TIMES, "endTime": TIMES, "logTime": TIMES, "paramList": PARAMS}
KINDS |= dict.fromkeys(["rowCount", "substatementId", "pid", "statementId", "exitCode"], NUMBERS)


@st.composite
def entries(draw, engine):
    """Some entries of an engine, alike as those of one engine are; some have what is odd."""
    members = [m.name for m in TABLES[engine].members.values()] + ["type", "more"]
    usual = {name: draw(st.sampled_from(KINDS.get(name, TEXTS))) for name in members}
    oddities = st.dictionaries(
        st.sampled_from(members), st.sampled_from([*ODD, *TEXTS, *NUMBERS, *TIMES]), max_size=2
    )
    changes = draw(st.lists(st.just({}) | oddities, min_size=1, max_size=5))
    return [json.dumps(usual | change).encode() for change in changes]


def events(engine, entries):
    origin = Origin(ENGINES[engine])
    return [Event(f"{number}-0", entry, origin) for number, entry in enumerate(entries)]


def assert_same(some):
    together, alone = _decode(some), _decode_one_by_one(some)

    differing = [n for n in alone.column_names if not together[n].equals(alone[n])]
    assert (together.schema, differing) == (alone.schema, [])


@pytest.mark.parametrize("engine", ENGINES)
@given(st.data())
def test_decoded_together_is_as_one_by_one(engine, data):
    assert_same(events(engine, data.draw(entries(engine))))


@pytest.mark.parametrize("engine", BULK)
@given(st.data())
def test_decoded_together_is_as_one_by_one_where_nothing_is_odd(engine, data):
    names = [m.name for m in TABLES[engine].members.values()] + ["type"]
    texts = st.text(st.characters(exclude_categories=["Cs"])) | st.none()
    kinds = {
        "paramList": st.lists(texts) | st.none(),
        "class": st.sampled_from(["AUX", "MAIN", "READ", None]),
        "command": st.sampled_from(["QUERY", "FAILED_CONNECT", "SELECT", None]),
        "exitCode": st.sampled_from(["", "0", "1", "42P01", None]),
        "objectName": st.sampled_from(["a.b", '"a""x".b', ".", "b", "", None]) | texts,
        "startTime": st.sampled_from(TIMES[:1]) | st.none(),
        "type": st.sampled_from(["record", "heartbeat", None]),
    }
    kinds |= dict.fromkeys(["endTime", "logTime"], kinds["startTime"])
    kinds |= dict.fromkeys(
        ["rowCount", "substatementId", "pid", "statementId"],
        st.integers(-(2**63), 2**63 - 1) | st.none(),
    )
    one = st.fixed_dictionaries({name: kinds.get(name, texts) for name in names})
    some = events(engine, [json.dumps(e).encode() for e in data.draw(st.lists(one, min_size=1))])

    assert_same(some)


@pytest.mark.parametrize(
    "entry",
    [
        b"{}",
        b"[]",
        b"null",
        b"garbage",
        b"",
        b"{} {}",
        b'{"command":"a","command":"b"}',
        b'{"command":"a","comm\\u0061nd":"b"}',
        b'{"comm\\u0061nd":"b"}',
        b'{"commandText":"\\ud83d"}',
        b'{"commandText":"\\ude00"}',
        b'{"commandText":"\\ud83d\\ude00"}',
        b'{"commandText":"\\\\ud83d"}',
        b'{"commandText":"a\x01b"}',
        b'{\n"command":\r\n\t"a"\n}',
        b' {"command":"a"} ',
        b'{"rowCount":-0}',
        b'{"rowCount":1e2}',
        b'{"type":"heartbeat"}',
        b'{"type":["heartbeat"]}',
        b'{"type":"heartbeat","type":"record"}',
        b'{"engineNativeAuditFields":{"schema_name":"dbo","command":"x"}}',
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_unusual_entry_is_as_it_is_alone(engine, entry):
    usual = json.dumps(support.entry()).encode()

    assert_same(events(engine, [entry]))
    assert_same(events(engine, [usual, entry, usual]))


@pytest.mark.parametrize(
    "time",
    [
        "0000-12-31 23:00:00.000000-05",
        "0000-12-31 00:00:00.000000-23:59",
        "0001-01-01 00:00:00.000000+05",
        "0001-01-01 00:00:00.000000+00",
        "0001-01-02 00:00:00.000000+00",
        "9999-12-31 23:00:00.000000-05",
    ],
)
def test_time_at_either_end_of_the_calendar_is_as_it_is_alone(time):
    entries = [support.compact(support.entry(logTime=time))] * 2

    assert_same(events("postgresql", entries))


@pytest.mark.parametrize("place", sorted(RECORDED.iterdir()), ids=lambda place: place.name)
def test_recorded_entries_are_decoded_together(place):
    entries = (place / "entries.jsonl").read_bytes().splitlines()

    assert bulk.arrays(TABLES["postgresql"], entries) is not None
    assert_same(events("postgresql", entries))


@pytest.mark.parametrize("file", sorted(support.shared("samples").glob("*.json")), ids=str)
def test_published_entries_are_as_one_by_one(file):
    for sample in json.loads(file.read_text()):
        engine = {"aurora-mysql": "aurora-mysql", "rds-oracle": "oracle"}.get(sample["engine"])
        engine = engine or ("sqlserver" if "sqlserver" in sample["engine"] else "postgresql")
        found = sample["record"]["databaseActivityEventList"]
        assert_same(events(engine, [support.compact(entry) for entry in found]))


def test_too_many_bytes_at_once_are_taken_one_by_one(monkeypatch):
    monkeypatch.setattr(bulk, "JOINED_BYTES_MAX", 10)

    assert bulk.arrays(TABLES["oracle"], [b'{"command":"SELECT"}']) is None


def test_engine_of_ones_own_decodes_its_own_entries():
    engine = ENGINES["postgresql"]._replace(columns=lambda entry: Columns(user=entry.decode()))
    own = Event("0-0", b'{"dbUserName":"x"}', Origin(engine))
    other = Event("0-1", b'{"dbUserName":"x"}', Origin(ENGINES["postgresql"]))

    rows = table([other, own, other], ["user"])

    assert rows["user"].to_pylist() == ["x", '{"dbUserName":"x"}', "x"]


@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_order_is_kept_over_chunks_and_engines(count):
    some = [
        Event(f"{n}-0", b'{"pid":%d}' % n, Origin(ENGINES[BULK[n // 900 % 3]]))
        for n in range(count)
    ]

    assert table(some, ["pid", "event_id"]).to_pylist() == [
        {"pid": n, "event_id": f"{n}-0"} for n in range(count)
    ]


@given(st.lists(st.integers(-5, 5) | st.none(), min_size=3, max_size=3), st.integers(0, 9))
def test_time_and_duration_are_those_of_the_columns(times, arrival_ms):
    start, end, log = times
    columns = Columns(start_time_us=start, end_time_us=end, log_time_us=log)
    engine = ENGINES["oracle"]._replace(columns=lambda _: columns)
    event = Event("0-0", b"{}", Origin(engine, arrival_ms=arrival_ms))

    [row] = table([event]).to_pylist()

    time_us = columns.time_us if columns.time_us is not None else arrival_ms * 1000
    assert round(row["time"].replace(tzinfo=UTC).timestamp() * 1e6) == time_us
    assert row["duration_us"] == columns.duration_us


@given(OBJECTS | VALUES, st.booleans(), st.booleans(), MORE)
def test_any_entry_comes_back_byte_for_byte(value, spaced, ascii_only, more):
    data = as_written(value, spaced=spaced, ascii_only=ascii_only)
    raw_more = None if more is None else as_written(more, spaced=spaced, ascii_only=ascii_only)

    [row] = table([Event("0-0", data, Origin(ENGINES["oracle"], more=raw_more))]).to_pylist()

    assert row["entry"].encode() == data
    assert (row["more"] and row["more"].encode()) == raw_more
