"""What older versions wrote is read by this one: files that are kept, one for each schema."""

import re
from pathlib import Path

import pytest

import support
from dastream.event import SCHEMA_VERSION
from dastream.lake.database import Database
from dastream.lake.matching import Query
from dastream.lake.search import Search
from dastream.testing import MemoryStorage
from lake.kept.keep import events

KEPT = Path(__file__).parent / "kept"
FILES = sorted(path for path in KEPT.iterdir() if path.suffix in {".gz", ".parquet"})
ADDED_IN_1 = {"is_auxiliary", "object_schema", "object_detail", "statement_part"}


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def kept(request):
    """A version, and a lake that holds its file."""
    version, _, suffix = request.param.name.partition(".")
    storage = MemoryStorage()
    key = f"events/cluster=cluster-KEPT/day=2026-11-23/shard-from-1.{suffix}"
    storage.put_if_absent(key, request.param.read_bytes())
    return int(version), suffix, storage


def test_a_file_is_kept_for_every_version_and_format():
    versions = {re.fullmatch(r"(\d+)\.(.*)", file.name).groups() for file in FILES}

    assert versions >= {(str(v), "parquet") for v in range(SCHEMA_VERSION + 1)}
    assert versions >= {(str(v), "jsonl.gz") for v in range(1, SCHEMA_VERSION + 1)}


def test_query_has_every_column_and_null_where_the_version_had_none(kept):
    version, suffix, storage = kept
    with Database(storage) as database:
        [batch] = database.ask("FROM events ORDER BY event_id").batches
    rows = batch.to_pylist()

    for row, event in zip(rows, events(), strict=True):
        assert (row["event_id"], row["entry"].encode()) == (event.id, event.entry)
        assert (row["user"], row["statement"]) == (event.columns.user, event.columns.statement)
        assert tuple(row["params"]) == event.columns.params
        assert (row["pid"], row["succeeded"]) == (event.columns.pid, event.columns.succeeded)
        assert row["cluster"] == "cluster-KEPT"
        is_old = version == 0 and suffix == "parquet"
        assert {row[name] is None for name in ADDED_IN_1 - {"object_detail", "statement_part"}} == (
            {True} if is_old else {False}
        )


def test_search_finds_the_events_as_they_were(kept):
    _, _, storage = kept
    found = list(Search(storage, Query(), on_damage=pytest.fail))

    assert [match.event.id for match in found] == [event.id for event in events()]
    assert [match.event.entry for match in found] == [event.entry for event in events()]
    assert {match.event.origin.cluster_id for match in found} == {support.CLUSTER}


def test_search_narrows_a_parquet_file_down_as_it_does_lines(kept):
    _, _, storage = kept

    assert len(list(Search(storage, Query(user="ada"), on_damage=pytest.fail))) == 1
    assert len(list(Search(storage, Query(failed=True), on_damage=pytest.fail))) == 1
