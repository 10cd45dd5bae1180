"""What goes into a Parquet file of the lake comes out of it, byte for byte."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakes
import support
from dastream import line
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.lake.database import Database
from dastream.lake.matching import Query
from dastream.lake.object_file import ObjectFile
from dastream.lake.parquet import read_rows
from dastream.lake.reader import DeliveredObject
from dastream.lake.rows import RowFilter
from dastream.record import BatchName, EventBatch, Position
from dastream.sinks import formats
from dastream.sinks.lake import LakeSink
from dastream.testing import MemoryStorage
from test_line import MORE, OBJECTS, VALUES, as_written

RECORDED = Path(__file__).parents[1] / "golden" / "recorded"
SAMPLES = sorted(support.shared("samples").glob("*.json"))


def returned(events):
    """Events that went through a file, in their order."""
    storage = MemoryStorage()
    name = BatchName(support.CLUSTER, support.DAY, support.SHARD, "from-start")
    LakeSink(storage, formats.PARQUET).deliver(
        EventBatch(name, "9", (), "digest", tuple(events), {}, ())
    )
    [(key, data)] = storage.objects.items()
    item = DeliveredObject(key, len(data), 0, 0)
    file = ObjectFile(storage, item)
    groups = read_rows(file, RowFilter(Query()), needs_entries=True)
    found = {event.id: event for group in groups for event in group.events}
    with Database(storage) as database:
        [batch] = database.ask("SELECT event_id, entry FROM events").batches
        asked = {row["event_id"]: row["entry"].encode() for row in batch.to_pylist()}
    assert asked == {event.id: event.entry for event in found.values()}
    return [found[event.id] for event in events]


def assert_whole(events):
    for before, after in zip(events, returned(events), strict=True):
        assert after.entry == before.entry
        assert line.write(after) == line.write(before)
        assert after.columns == before.columns


@settings(max_examples=25)  # each one opens a database
@given(
    st.lists(st.tuples(OBJECTS | VALUES, st.booleans(), st.booleans()), min_size=1, max_size=3),
    MORE,
    st.sampled_from(sorted(ENGINES)),
    st.integers(0, 4_000_000_000_000) | st.none(),
)
def test_any_event_comes_back(values, more, engine, arrival_ms):
    origin = Origin(
        ENGINES[engine],
        cluster_id="c",
        position=Position("", "shard", "1"),
        arrival_ms=arrival_ms,
        more=None if more is None else support.compact(more),
    )
    assert_whole(
        [
            Event(f"{n}-0", as_written(value, spaced=spaced, ascii_only=ascii_only), origin)
            for n, (value, spaced, ascii_only) in enumerate(values)
        ]
    )


@pytest.mark.parametrize("place", sorted(RECORDED.iterdir()), ids=lambda place: place.name)
def test_recorded_entries_come_back(place):
    entries = (place / "entries.jsonl").read_bytes().splitlines()

    assert_whole([lakes.event(n, raw=entry) for n, entry in enumerate(entries)])


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
@pytest.mark.parametrize("indent", [None, 1])
def test_published_entries_of_every_engine_come_back(file, indent):
    engine = next(name for name in ENGINES if file.stem.split("-")[1] in name)
    entries = [
        json.dumps(entry, indent=indent).encode()
        for sample in json.loads(file.read_text())
        for entry in sample["record"]["databaseActivityEventList"]
    ]

    assert entries
    assert_whole([Event(f"{n}-0", e, Origin(ENGINES[engine])) for n, e in enumerate(entries)])
