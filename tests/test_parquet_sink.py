"""Parquet files: rows, order, receipts, bytes."""

import io
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

import lakes
from dastream.delivery import DeliveryPlan
from dastream.errors import ConfigError, SinkError
from dastream.event import SCHEMA_VERSION, Columns, Event, Origin
from dastream.format.engines import ENGINES
from dastream.lake.database import Database
from dastream.lake.search import Query, Search
from dastream.record import BatchName, EventBatch, Extent
from dastream.settings import Settings
from dastream.sinks import formats, open_sink, parquet, require_entries
from dastream.sinks.jsonl import Receipt
from dastream.sinks.lake import LakeSink
from dastream.sinks.table import SCHEMA, table
from dastream.testing import MemorySink, MemorySource, MemoryStorage
from pipelines import EXPECTED_STATEMENTS, pipeline, stream
from support import CLUSTER, DAY, SHARD, STREAM

NAME = BatchName(CLUSTER, DAY, SHARD, "after-0")
KEY = f"events/cluster={CLUSTER}/day={DAY}/{SHARD}-after-0.parquet"
RECEIPT = Receipt(
    start="after-0", through="9", records=9, digest="d", events=2, dropped={"x": 1}, dead_letters=0
)
NO_ORIGIN = Origin(ENGINES["postgresql"])


def batch(*events):
    return EventBatch(NAME, "9", (), "digest", events, {}, ())


def read(data):
    return pq.read_table(io.BytesIO(data))


def in_utc(moment):
    return moment.replace(tzinfo=UTC)


def packed_row(event):
    [row] = read(parquet.pack([event], RECEIPT)).to_pylist()
    return row


def test_row_has_every_column_of_the_event_and_where_it_came_from():
    event = lakes.event(7, "SELECT 'ü'", paramList=["a", None])
    row = packed_row(event)

    for name in Columns.__struct_fields__:
        value = getattr(event.columns, name)
        if name.endswith("_time_us"):
            moment = row[name.removesuffix("_us")]
            assert (moment and round(in_utc(moment).timestamp() * 1e6)) == value, name
        else:
            assert (tuple(row[name]) if isinstance(value, tuple) else row[name]) == value, name
    assert row["entry"].encode() == event.entry
    assert (row["event_id"], row["kind"], row["engine"]) == (
        event.id,
        "activity",
        "aurora-postgresql",
    )
    assert (row["cluster_id"], row["instance_id"]) == (
        event.origin.cluster_id,
        event.origin.instance_id,
    )
    assert (row["shard_id"], row["sequence_number"]) == (SHARD, "7")
    assert in_utc(row["time"]) == in_utc(row["start_time"]) == lakes.MORNING
    assert row["duration_us"] == 0


def test_times_are_microseconds():
    schema = pq.read_schema(io.BytesIO(parquet.pack([lakes.event()], RECEIPT)))

    for name in ("time", "start_time", "end_time", "log_time", "arrival_time"):
        assert (str(schema.field(name).type), schema.field(name).nullable) == (
            "timestamp[us]",
            True,
        )


def test_what_a_path_does_not_know_is_null():
    row = packed_row(Event("0a-0", b'{"type":"heartbeat"}', NO_ORIGIN))

    assert row["kind"] == "heartbeat"
    assert {name for name, value in row.items() if value not in (None, False, [])} == {
        "event_id",
        "kind",
        "engine",
        "entry",
    }


def test_event_without_a_time_has_that_of_its_arrival():
    row = packed_row(lakes.event(startTime=None, logTime="never"))

    assert in_utc(row["time"]) == in_utc(row["arrival_time"]) == lakes.MORNING
    assert row["misfits"] == ["logTime"]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_number_beyond_64_bits_is_null_and_the_entry_keeps_it(number):
    row = packed_row(lakes.event(rowCount=number))

    assert row["row_count"] is None
    assert str(number) in row["entry"]


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_largest_numbers_fit(number):
    assert packed_row(lakes.event(rowCount=number))["row_count"] == number


@pytest.mark.parametrize("text", ["a\0b", "\u2028", "🙂", "x" * 1_000_000, "'; --\n\r\t"])
def test_text_of_any_kind_stays_as_it_is(text):
    event = lakes.event(text=text)
    row = packed_row(event)

    assert row["statement"] == text
    assert row["entry"].encode() == event.entry


def test_entry_that_is_no_object_is_kept():
    row = packed_row(Event("0a-0", b'[1, "\\ud800"]', NO_ORIGIN))

    assert (row["entry"], row["misfits"], row["kind"]) == ('[1, "\\ud800"]', ["entry"], "activity")


def test_columns_are_decoded_only_where_they_are_asked_for():
    event = Event("0a-0", b"{}", Origin(ENGINES["oracle"]._replace(columns=None)))

    assert table([event], ["event_id", "engine"]).to_pylist() == [
        {"event_id": "0a-0", "engine": "oracle"}
    ]


def test_rows_are_in_the_order_of_user_session_and_time():
    events = [
        lakes.event(1, dbUserName="b", sessionId="1"),
        lakes.event(2, dbUserName="a", sessionId="2", at=datetime(2026, 11, 23, 9, tzinfo=UTC)),
        lakes.event(3, dbUserName="a", sessionId="2"),
        lakes.event(4, dbUserName="a", sessionId="1"),
    ]

    rows = read(parquet.pack(events, RECEIPT))

    assert rows["sequence_number"].to_pylist() == ["4", "3", "2", "1"]


def test_same_events_give_the_same_bytes():
    events = [lakes.event(number, f"SELECT {number}") for number in range(500)]

    assert parquet.pack(events, RECEIPT) == parquet.pack(
        [Event(e.id, e.entry, e.origin) for e in events], RECEIPT
    )


def test_entries_are_left_out_where_they_are_kept_elsewhere():
    names = pq.read_schema(
        io.BytesIO(parquet.pack([lakes.event()], RECEIPT, has_entries=False))
    ).names

    assert names == [name for name in SCHEMA.names if name != "entry"]


def test_receipt_and_schema_version_stand_at_the_end_of_the_file():
    data = parquet.pack([lakes.event(n) for n in range(40_000)], RECEIPT)
    metadata = pq.read_metadata(io.BytesIO(data))

    assert metadata.num_row_groups > 1
    assert parquet.receipt(data[-formats.FOOTER_BYTES_MAX :]) == RECEIPT
    assert parquet.receipt(data[-64_000:]) == RECEIPT
    assert metadata.metadata[parquet.SCHEMA_KEY.encode()] == str(SCHEMA_VERSION).encode()


@pytest.mark.parametrize("data", [b"", b"text", b"PAR1", b"\xff\xff\xff\x7fPAR1", bytes(99_999)])
def test_what_is_no_parquet_file_of_ours_has_no_receipt(data):
    assert parquet.receipt(data) is None


def test_parquet_file_of_another_maker_has_no_receipt():
    output = io.BytesIO()
    pq.write_table(table([lakes.event()]), output)

    assert parquet.receipt(output.getvalue()) is None


def test_object_of_another_maker_under_the_name_stops_with_a_sink_error():
    storage = MemoryStorage()
    storage.put_if_absent(KEY, b"text")

    with pytest.raises(SinkError, match="not as dastream writes it"):
        LakeSink(storage, formats.PARQUET).deliver(batch(lakes.event()))


@pytest.mark.parametrize("first", formats.FORMATS)
@pytest.mark.parametrize("second", formats.FORMATS)
def test_extent_is_that_of_either_format_and_whole_in_ones_own(first, second):
    """The format may be changed between a crash and the start after it."""
    storage = MemoryStorage()
    LakeSink(storage, first).deliver(batch(lakes.event()))
    sink = LakeSink(storage, second)

    assert sink.extent(NAME) == Extent("9", 0, is_whole=first is second)
    assert list(sink.names(CLUSTER, DAY)) == [NAME]


def test_batch_of_which_no_event_is_left_is_a_file_of_no_rows():
    storage = MemoryStorage()
    LakeSink(storage, formats.PARQUET).deliver(batch())

    assert read(storage.get(KEY)).num_rows == 0
    assert LakeSink(storage, formats.PARQUET).extent(NAME) == Extent("9", 0, is_whole=True)


class CrashError(Exception):
    pass


class CrashingSink(LakeSink):
    """Ends the run instead of delivering its third batch."""

    delivered = 0

    def deliver(self, batch):
        self.delivered += 1
        if self.delivered == 3:
            raise CrashError
        return super().deliver(batch)


def statements(storage):
    """The statements that SQL finds by shard, and those that search finds, and how often."""
    with Database(storage) as database:
        answer = database.ask("SELECT shard_id, statement FROM events")
        asked = Counter(tuple(r.values()) for b in answer.batches for r in b.to_pylist())
    found = Search(storage, Query(), on_damage=pytest.fail)
    return asked, Counter(match.event.columns.statement for match in found)


@pytest.mark.parametrize("sizes", [(4, 7), (7, 4), (4, 4)])
@pytest.mark.parametrize("formats_before", [["jsonl"], ["parquet"], ["jsonl", "bare"]])
@pytest.mark.parametrize("formats_after", [["jsonl"], ["parquet"], ["jsonl", "bare"]])
def test_every_event_is_there_once_after_a_crash_and_another_format(
    formats_before, formats_after, sizes
):
    """Checkpoints are lost, too, and batches are cut elsewhere."""
    storage = MemoryStorage()
    named = {
        "jsonl": formats.JSON_LINES,
        "parquet": formats.PARQUET,
        "bare": formats.PARQUET_WITHOUT_ENTRIES,
    }
    before = MemorySource(STREAM, stream(), batch_records_max=sizes[0])
    *whole, last = formats_before
    with suppress(CrashError):
        sinks = [LakeSink(storage, named[name]) for name in whole]
        pipeline(before, [*sinks, CrashingSink(storage, named[last])]).run()
    after = MemorySource(STREAM, stream(), batch_records_max=sizes[1])
    pipeline(after, [LakeSink(storage, named[name]) for name in formats_after]).run()

    once = Counter({text for _, text in EXPECTED_STATEMENTS})  # both shards have the same ids
    assert statements(storage) == (EXPECTED_STATEMENTS, once)


def test_dead_letters_beside_parquet_stay_json_lines(tmp_path):
    from test_sinks import BATCH, DEAD_LETTERS_KEY

    storage = MemoryStorage()
    LakeSink(storage, formats.PARQUET).deliver(BATCH)

    assert set(storage.objects) == {KEY, DEAD_LETTERS_KEY}


def test_one_of_the_sinks_must_keep_the_entries(tmp_path):
    bare = open_sink(f"{tmp_path.as_uri()}?format=parquet&raw=no")
    whole = open_sink(f"{tmp_path.as_uri()}?format=parquet")

    for sinks in ([whole], [bare, whole], [bare, MemorySink()]):
        require_entries(sinks)
    with pytest.raises(ConfigError, match="no sink keeps the entries") as caught:
        require_entries([bare, bare])
    assert caught.value.hint


def test_run_that_would_keep_no_entries_does_not_begin(tmp_path):
    plan = DeliveryPlan(Settings(), [f"{tmp_path.as_uri()}?format=parquet&raw=no"], CLUSTER)

    with pytest.raises(ConfigError, match="no sink keeps the entries"):
        plan.open()


def test_sink_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "dastream.sinks.parquet", raising=False)
    monkeypatch.delattr("dastream.sinks.parquet", raising=False)
    monkeypatch.delitem(sys.modules, "dastream.sinks.table", raising=False)

    with pytest.raises(ConfigError, match="pyarrow is not installed") as caught:
        open_sink(f"{tmp_path.as_uri()}?format=parquet")
    assert ".[lake]" in caught.value.hint
