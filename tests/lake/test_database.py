"""SQL over every layout and format, on disk and S3; what is read, and what is not."""

import json
import random
from datetime import date, timedelta
from urllib.parse import urlsplit

import duckdb
import pyarrow.parquet as pq
import pytest

import lakes
import support
from dastream import line
from dastream.errors import ConfigError, ServiceError, SinkError
from dastream.lake.database import Database
from dastream.record import BatchName, DeadLetter, EventBatch
from dastream.sinks import formats
from dastream.sinks.lake import LakeSink
from dastream.sinks.table import SCHEMA, table
from dastream.storage import FileStorage, open_storage
from dastream.testing import MemoryStorage
from test_sinks import BATCH, DEAD_LETTER

DAY = timedelta(days=1)
BUCKET = "a-lake"
FORMATS = {
    "jsonl": formats.JSON_LINES,
    "parquet": formats.PARQUET,
    "without entries": formats.PARQUET_WITHOUT_ENTRIES,
}


class CountingStorage(MemoryStorage):
    """Tells which objects were read, and how many bytes."""

    def __init__(self):
        super().__init__()
        self.read = {}

    def get(self, key, bytes_max=None, *, start=0):
        data = super().get(key, bytes_max, start=start)
        self.read[key] = self.read.get(key, 0) + len(data or b"")
        return data


def deliver(storage, *events, format=formats.PARQUET, cluster=support.CLUSTER):
    """An object for each day of arrival."""
    by_day = {}
    for event in events:
        by_day.setdefault(arrival_day(event), []).append(event)
    for day, held in by_day.items():
        name = BatchName(cluster, day, support.SHARD, f"from-{held[0].origin.position.sequence}")
        batch = EventBatch(name, "9", (), "digest", tuple(held), {}, ())
        LakeSink(storage, format).deliver(batch)


def arrival_day(event):
    return line.parse(line.write(event)).head.arrivalTime[:10]


def ask(storage, sql):
    with Database(storage) as database:
        return [row for batch in database.ask(sql).batches for row in batch.to_pylist()]


@pytest.fixture
def bucket(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["memory", "file", "s3"])
def storage(request, tmp_path):
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "file":
        return open_storage(str(tmp_path / "lake"))
    return open_storage(f"s3://{request.getfixturevalue('bucket')}/some/lake")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_in_every_place_gives_the_same_rows(format, storage):
    events = [
        lakes.event(1, "SELECT 'ü'", paramList=["a", None], exitCode="42P01"),
        lakes.event(2, rowCount=None, startTime="garbage", late=DAY),
        lakes.event(3, raw=b'{"type":"heartbeat"}'),
    ]
    deliver(storage, *events, format=FORMATS[format])
    expected = table(events).to_pylist()
    for row, event in zip(expected, events, strict=True):
        row |= {"cluster": support.CLUSTER, "day": date.fromisoformat(arrival_day(event))}
        if not FORMATS[format].has_entries:
            row["entry"] = None

    assert ask(storage, "FROM events ORDER BY event_id") == expected


def test_objects_of_firehose_are_the_same_events(tmp_path):
    events = [lakes.event(1), lakes.event(2, "SELECT 2")]
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(*events))

    rows = ask(FileStorage(tmp_path), "FROM events ORDER BY event_id")

    assert [{name: row[name] for name in SCHEMA.names} for row in rows] == table(events).to_pylist()
    assert {(row["cluster"], row["day"]) for row in rows} == {(support.CLUSTER, date(2026, 11, 23))}


def test_event_that_firehose_delivered_twice_is_there_once(tmp_path):
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(lakes.event(1), lakes.event(2)))
    lakes.put(tmp_path, "2026/11/23/08/x", lakes.lines(lakes.event(2), lakes.event(3)))

    with Database(FileStorage(tmp_path)) as database:
        for _ in range(2):  # each answer for itself
            [batch] = database.ask("SELECT count(*) n FROM events").batches
            assert batch.to_pylist() == [{"n": 3}]


def test_event_that_firehose_delivered_twice_into_the_layout_of_the_lake_is_there_once(tmp_path):
    folder = f"{lakes.EVENTS}/day=2026-11-23"
    for end in ("07-28-05-c0ffee01-0000-4000-8000-000000000001", "07-29-05-AbCdEf12"):
        name = f"activity-delivery-1-2026-11-23-{end}.jsonl.gz"
        lakes.put(tmp_path, f"{folder}/{name}", lakes.lines(lakes.event(1)))

    assert ask(FileStorage(tmp_path), "SELECT count(*) n FROM events") == [{"n": 1}]


def test_what_a_producer_put_twice_is_there_twice(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1))
    lakes.put(
        tmp_path,
        f"{lakes.EVENTS}/day=2026-11-23/{support.SHARD}-after-1.jsonl.gz",
        lakes.lines(lakes.event(1)),
    )

    assert ask(FileStorage(tmp_path), "SELECT count(*) n FROM events") == [{"n": 2}]


def test_sql_that_is_nested_too_deeply_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="too deeply"):
        ask(FileStorage(tmp_path), "SELECT " + "+".join(["1"] * 900))


def test_batch_in_both_formats_counts_once(tmp_path):
    storage = FileStorage(tmp_path)
    deliver(storage, lakes.event(1), format=formats.JSON_LINES)
    deliver(storage, lakes.event(1), format=formats.PARQUET_WITHOUT_ENTRIES)
    deliver(storage, lakes.event(2, late=DAY), format=formats.JSON_LINES)

    assert ask(storage, "SELECT event_id FROM events ORDER BY ALL") == [
        {"event_id": lakes.event(1).id},
        {"event_id": lakes.event(2).id},
    ]


@pytest.mark.parametrize("format", [formats.JSON_LINES, formats.PARQUET])
@pytest.mark.parametrize(
    ("condition", "days_read"),
    [
        ("day = '2026-11-24'", [24]),
        ("day >= '2026-11-24' AND day < '2026-11-26'", [24, 25]),
        ("day IN ('2026-11-23', '2026-11-27')", [23, 27]),
        ("day BETWEEN '2026-11-23' AND DATE '2026-11-23' + 1", [23, 24]),
        ("cluster = 'none'", []),
        ("day = '2026-11-24' AND user = 'davide' AND cluster LIKE 'cluster-%'", [24]),
        ("day = '2020-01-01' OR user = 'x'", [23, 24, 25, 26, 27]),
    ],
)
def test_objects_of_other_days_and_clusters_are_not_opened(format, condition, days_read):
    storage = CountingStorage()
    deliver(storage, *(lakes.event(n, late=n * DAY) for n in range(5)), format=format)
    storage.read.clear()

    rows = ask(storage, f"SELECT day, time FROM events WHERE {condition}")

    assert sorted(row["day"].day for row in rows) == sorted(
        day for day in days_read if "user = 'x'" not in condition
    )
    assert sorted(int(key.split("day=2026-11-")[1][:2]) for key in storage.read) == days_read


def test_definition_of_the_views_opens_no_object():
    storage = CountingStorage()
    deliver(storage, *(lakes.event(n, late=n * DAY) for n in range(5)))
    storage.read.clear()

    ask(storage, "DESCRIBE events")

    assert storage.read == {}


def test_parts_that_a_query_does_not_need_are_not_read():
    storage = CountingStorage()
    text = random.Random(1).randbytes
    events = (lakes.event(n, text(500).hex(), dbUserName=f"u{n % 7}") for n in range(999))
    deliver(storage, *events)
    [size] = [len(data) for data in storage.objects.values()]
    storage.read.clear()

    ask(storage, "SELECT user, count(*) FROM events GROUP BY ALL")

    [read] = storage.read.values()
    assert read < size / 2


def test_row_groups_of_other_users_and_sessions_are_not_read():
    storage = CountingStorage()
    events = [
        lakes.event(n, f"SELECT {n * 7919}", dbUserName=f"u{n % 9}", sessionId=f"{n % 90}")
        for n in range(70_000)
    ]
    deliver(storage, *events)
    read = []
    for condition in ("true", "user = 'u0'", "session_id = '9'"):
        storage.read.clear()
        ask(storage, f"SELECT statement FROM events WHERE {condition}")
        read += storage.read.values()

    whole, of_user, of_session = read
    assert of_user < 0.6 * whole
    assert of_session < 0.6 * whole


def test_dead_letters_are_those_of_the_lake_and_of_firehose(tmp_path):
    LakeSink(FileStorage(tmp_path)).deliver(BATCH)
    failed = {
        "attemptsMade": 4,
        "arrivalTimestamp": support.ARRIVAL_MS,
        "errorCode": "Lambda.FunctionError",
        "errorMessage": "it failed",
        "rawData": "c2Vjb25k",
    }
    lakes.write(tmp_path, "processing-failed/2026/11/23/07/x", json.dumps(failed).encode() + b"\n")

    assert isinstance(DEAD_LETTER, DeadLetter)
    rows = ask(FileStorage(tmp_path), "FROM dead_letters ORDER BY error")
    assert [(r["error"], r["reason"], r["data"], r["day"]) for r in rows] == [
        ("EnvelopeError", "envelope: not a JSON object", "c2Vjb25k", date(2026, 11, 23)),
        ("Lambda.FunctionError", "it failed", "c2Vjb25k", None),
    ]
    assert len({row["arrival_time"] for row in rows}) == 1
    assert (rows[0]["shard_id"], rows[0]["sequence_number"], rows[0]["cluster"]) == (
        support.SHARD,
        "2",
        support.CLUSTER,
    )


def test_lake_of_nothing_has_no_rows():
    assert ask(MemoryStorage(), "FROM events") == []
    assert ask(MemoryStorage(), "FROM dead_letters") == []


def test_what_is_delivered_meanwhile_is_seen_by_the_next_database(tmp_path):
    storage = FileStorage(tmp_path)
    deliver(storage, lakes.event(1))
    with Database(storage) as database:
        deliver(storage, lakes.event(2, late=DAY))
        [batch] = database.ask("SELECT count(*) n FROM events").batches
        assert batch.to_pylist() == [{"n": 1}]

    assert ask(storage, "SELECT count(*) n FROM events") == [{"n": 2}]


def test_damaged_line_is_told_and_the_rest_is_read(tmp_path):
    good = lakes.lines(lakes.event(1))
    lakes.put(
        tmp_path, "2026/11/23/07/x", good + b'{"eventId":"x"}\n' + lakes.lines(lakes.event(2))
    )
    with Database(FileStorage(tmp_path)) as database:
        [batch] = database.ask("SELECT count(*) n FROM events").batches

    assert batch.to_pylist() == [{"n": 2}]
    assert database.damages == [("2026/11/23/07/x", "line 2: not a delivered line")]


@pytest.mark.parametrize("damage", [b"", b"text", b"PAR1" + bytes(2000) + b"PAR1"])
def test_damaged_parquet_file_is_named(tmp_path, damage):
    storage = FileStorage(tmp_path)
    deliver(storage, lakes.event(1))
    [item] = storage.list()
    (tmp_path / item.key).write_bytes(damage)

    with pytest.raises(ServiceError, match=item.key):
        ask(storage, "FROM events")


def test_object_that_goes_meanwhile_is_a_service_error(tmp_path):
    storage = FileStorage(tmp_path)
    deliver(storage, lakes.event(1))
    [item] = storage.list()
    with Database(storage) as database:
        (tmp_path / item.key).unlink()
        with pytest.raises(ServiceError, match="gone") as caught:
            list(database.ask("FROM events").batches)
    assert caught.value.hint


@pytest.mark.parametrize("format", [formats.JSON_LINES, formats.PARQUET])
def test_failing_storage_is_told_as_what_it_is(format):
    class Failing(MemoryStorage):
        fails = False

        def get(self, key, bytes_max=None, *, start=0):
            if self.fails:
                raise SinkError("s3: cannot read in a-bucket (SlowDown)", hint="wait")
            return super().get(key, bytes_max, start=start)

    storage = Failing()
    deliver(storage, lakes.event(1), format=format)
    storage.fails = True

    with pytest.raises(ServiceError, match="SlowDown"):
        ask(storage, "FROM events")


def test_own_sql_takes_parameters(tmp_path):
    deliver(FileStorage(tmp_path), lakes.event(1), lakes.event(2, dbUserName="ada"))
    with Database(FileStorage(tmp_path)) as database:
        answer = database.read("SELECT user FROM events WHERE user = $name", {"name": "ada"})

        assert answer.schema.names == ["user"]
        assert [batch.to_pylist() for batch in answer.batches] == [[{"user": "ada"}]]


def test_file_that_pyarrow_reads_by_itself_has_the_same_columns(tmp_path):
    """Other programs read the lake too: Athena, Spark, pandas."""
    storage = FileStorage(tmp_path)
    deliver(storage, lakes.event(1))
    [item] = storage.list()

    rows = pq.read_table(tmp_path / item.key, partitioning=None)

    assert rows.schema.names == SCHEMA.names
    assert urlsplit(storage.url).scheme == "file"


def test_duckdb_reads_our_json_lines_without_us(tmp_path):
    LakeSink(FileStorage(tmp_path)).deliver(BATCH)

    rows = duckdb.sql(
        f"SELECT eventId FROM read_json('{tmp_path}/events/**/*.jsonl.gz')"
    ).fetchall()

    assert len(rows) == len(BATCH.events)
