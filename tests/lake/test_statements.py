"""Aurora MySQL's events of one statement are found and shown as one."""

import itertools
import time

import pytest

import lakes
from dastream.lake import statements as statements_module
from dastream.lake.matching import Query
from dastream.lake.order import ORDERS
from dastream.lake.search import Search
from dastream.lake.statements import Statements, fold
from dastream.sinks import formats
from dastream.storage import FileStorage
from entries import mysql, mysql_auxiliary


def join(first=1, statement=7, **members):
    """A join of two tables: its event, and one for each table."""
    text = "SELECT * FROM orders JOIN items USING (id)"
    return [
        lakes.mysql_event(first, mysql(text, statementId=statement, objectName=None, **members)),
        lakes.mysql_event(first + 1, mysql_auxiliary(statementId=statement, objectName="orders")),
        lakes.mysql_event(first + 2, mysql_auxiliary(statementId=statement, objectName="items")),
    ]


def found(events, query):
    statements = Statements(query)
    matches = [match for one in filter(statements.wants, events) for match in statements.add(one)]
    return matches + list(statements.rest())


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(object="items"),
        Query(object="orders", text="join", command="query"),
        Query(user="davide", database="shop"),
    ],
)
def test_a_statement_is_found_once_with_all_its_objects_in_whatever_order(order, query):
    events = join()
    (match,) = found([events[number] for number in order], query)
    assert match.event.columns.statement == "SELECT * FROM orders JOIN items USING (id)"
    assert sorted(fold(match).columns.object_name.split(", ")) == ["items", "orders"]
    assert {one.id for one in match.auxiliaries} == {events[1].id, events[2].id}


@pytest.mark.parametrize(
    "query",
    [
        Query(object="customers"),
        Query(object="items", text="delete"),
        Query(object="items", failed=True),
        Query(object="items", user="ada"),
    ],
)
def test_what_holds_of_none_of_its_events_finds_no_statement(query):
    assert found(join(), query) == []


def test_statements_of_one_number_are_told_apart_by_instance_session_and_start():
    later = join(10, sessionId="9")
    for one, other in zip(join(), later, strict=True):
        assert one.columns.statement_id == other.columns.statement_id
    events = [*join(), later[0]]
    assert [len(match.auxiliaries) for match in found(events, Query())] == [2, 0]


def test_an_auxiliary_event_without_its_statement_is_found_by_itself():
    _, orders, items = join()
    assert [m.event.id for m in found([items, orders], Query(object="orders"))] == [orders.id]
    assert found([items, orders], Query(text="select")) == []


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(statements_module, "WAITING_MAX", 5)
    statements = Statements(Query(object="orders"))
    lonely = [join(3 * number, statement=number)[1] for number in range(100)]
    given = [match for one in lonely for match in statements.add(one)]
    assert [match.event.id for match in given] == [one.id for one in lonely[:95]]
    assert len(statements._waiting) == 5


@pytest.mark.parametrize("format", [formats.JSON_LINES, formats.PARQUET], ids=["lines", "parquet"])
@pytest.mark.parametrize("limit", [None, 1, 50])
@pytest.mark.parametrize("order", ["time", "rows"])
def test_a_search_folds_over_objects_and_formats(tmp_path, format, limit, order):
    first, orders, items = join()
    second = [lakes.mysql_event(20, mysql(statementId=8, rowCount=99, objectName="items"))]
    lakes.deliver(tmp_path, items, format=format)
    lakes.deliver(tmp_path, first, *second, format=format)
    lakes.put(tmp_path, "2026/11/23/07/x", lakes.lines(orders))
    if order != "time" and limit is None:
        limit = 100
    search = Search(
        FileStorage(tmp_path),
        Query(object="items", user="DAVIDE"),
        limit=limit,
        order=ORDERS[order],
        on_damage=pytest.fail,
    )
    matches = {match.event.id: match for match in search}
    assert search.counts.matched == 2
    if limit == 1:
        assert set(matches) <= {first.id, second[0].id}
    else:
        assert {one.id for one in matches[first.id].auxiliaries} == {orders.id, items.id}
        assert matches[second[0].id].auxiliaries == []


def test_other_engines_pass_as_they_are():
    events = [lakes.event(1), lakes.event(2, objectName="x.items")]
    assert [m.event for m in found(events, Query(object="items"))] == [events[1]]
    assert fold(found(events, Query())[0]) is events[0]


def test_statements_that_share_their_numbers_are_both_found():
    """Ids of sessions and statements come again, and a time may be that of a whole second."""
    first, second = lakes.mysql_event(1, mysql("SELECT 1")), lakes.mysql_event(2, mysql("SELECT 2"))
    assert [match.event.id for match in found([first, second], Query())] == [first.id, second.id]


def test_a_statement_of_very_many_objects_takes_no_longer_than_their_number():
    """To compare all of them again with each that comes would take a minute."""
    main, *some = [mysql("SELECT 1"), *([mysql_auxiliary()] * 10_000)]
    events = [lakes.mysql_event(number, entry) for number, entry in enumerate([main, *some])]
    began = time.process_time()
    assert found(events, Query(object="another")) == []
    assert time.process_time() - began < 10
