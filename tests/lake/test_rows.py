"""A Parquet file has the matches of the JSON lines of the same events, whatever is asked."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakes
from dastream.lake import object_file
from dastream.lake.matching import Query
from dastream.lake.order import ORDERS
from dastream.lake.search import Search
from dastream.lake.times import microseconds
from dastream.sinks import formats, parquet
from dastream.storage import FileStorage

MINUTE = timedelta(minutes=1)
names = st.sampled_from(["ada", "Ada", "bob", "straße", "STRASSE", None, "a*", "", "\u212aim"])
texts = st.sampled_from(["SELECT 1", "select Straße", "x\ny", None, "'"])
rows = st.fixed_dictionaries(
    {
        "dbUserName": names,
        "databaseName": names,
        "clientApplication": names,
        "objectName": st.sampled_from(["public.a", "a", "b.A", None]),
        "command": st.sampled_from(["SELECT", "select", "DROP TABLE"]),
        "exitCode": st.sampled_from([None, "42501"]),
        "rowCount": st.sampled_from([0, 5, 10**6, None]),
    }
)
minutes = st.none() | st.integers(-1, 12)
queries = st.fixed_dictionaries(
    {},
    optional={
        "user": names,
        "database": names,
        "application": names,
        "object": st.sampled_from(["a", "public.*", "b.a"]),
        "command": st.sampled_from(["select", "drop*"]),
        "text": st.sampled_from(["select", "STRASSE", "\n"]),
        "failed": st.booleans(),
        "since": minutes,
        "until": minutes,
        "cluster": st.sampled_from([None, lakes.support.CLUSTER, lakes.support.INSTANCE, "x"]),
    },
)


def found(root, query, limit, order):
    search = Search(
        FileStorage(root), query, limit=limit, order=ORDERS[order], on_damage=pytest.fail
    )
    return [match.event.id for match in search]


@settings(max_examples=60, deadline=None)
@given(
    some=st.lists(st.tuples(rows, texts, st.integers(0, 10)), min_size=1, max_size=12),
    asked=queries,
    limit=st.none() | st.integers(1, 5),
    order=st.sampled_from(sorted(ORDERS)),
)
def test_both_formats_have_the_same_matches(tmp_path_factory, some, asked, limit, order):
    root = tmp_path_factory.mktemp("lakes")
    times = [asked.pop(name, None) for name in ("since", "until")]
    since, until = (
        None if at is None else microseconds(lakes.MORNING + at * MINUTE) for at in times
    )
    query = Query(**asked, since_us=since, until_us=until)
    events = [
        lakes.event(number, text, at=lakes.MORNING + minute * MINUTE, **members)
        for number, (members, text, minute) in enumerate(some, start=1)
    ]
    lakes.deliver(root / "lines", *events)
    lakes.deliver(root / "parquet", *events, format=formats.PARQUET)
    lakes.deliver(root / "bare", *events, format=formats.PARQUET_WITHOUT_ENTRIES)
    if order != "time" and limit is None:
        limit = 3
    expected = found(root / "lines", query, limit, order)
    if order in ("duration", "rows"):  # which of equal ones are left is not said
        expected, of = len(expected), len
    else:
        of = list
    assert of(found(root / "parquet", query, limit, order)) == expected
    assert of(found(root / "bare", query, limit, order)) == expected


def test_row_groups_that_cannot_hold_the_time_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_ROWS", 10)
    events = [
        lakes.event(n, at=lakes.MORNING + n * MINUTE, dbUserName=f"user {n // 10}")
        for n in range(40)
    ]
    lakes.deliver(tmp_path, *events, format=formats.PARQUET)
    since = microseconds(lakes.MORNING + 25 * MINUTE)
    search = Search(FileStorage(tmp_path), Query(since_us=since), on_damage=pytest.fail)
    assert len(list(search)) == 15
    assert (search.counts.events, search.counts.events_skipped) == (20, 20)


def test_what_a_limit_leaves_out_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_ROWS", 10)
    events = [lakes.event(n, at=lakes.MORNING + n * MINUTE, rowCount=n) for n in range(40)]
    lakes.deliver(tmp_path, *events, format=formats.PARQUET)
    for order in ORDERS.values():
        search = Search(FileStorage(tmp_path), Query(), limit=3, order=order, on_damage=pytest.fail)
        assert (len(list(search)), search.counts.matched) == (3, 40)


class CountedStorage(FileStorage):
    bytes = 0

    def get(self, key, bytes_max=None, *, start=0):
        data = super().get(key, bytes_max, start=start)
        self.bytes += len(data)
        return data


def test_of_a_large_file_only_the_parts_are_read_that_are_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_ROWS", 1000)
    monkeypatch.setattr(object_file, "END_BYTES", 16 << 10)
    random = Random(0)
    events = [
        lakes.event(n, f"SELECT {random.getrandbits(800):x}", dbUserName=f"user {n // 1000}")
        for n in range(5000)
    ]
    lakes.deliver(tmp_path, *events, format=formats.PARQUET)
    (item,) = FileStorage(tmp_path).list()
    storage = CountedStorage(tmp_path)
    search = Search(storage, Query(user="user 2", text="select 5"), on_damage=pytest.fail)
    assert 0 < len(list(search)) < 1000
    assert storage.bytes < item.size * 0.4
    storage = CountedStorage(tmp_path)
    list(Search(storage, Query(user="nobody"), on_damage=pytest.fail))
    assert storage.bytes < item.size * 0.1
