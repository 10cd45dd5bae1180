"""How a database is used, counted over both formats."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

import lakes
from dastream.lake.database import Database
from dastream.lake.matching import Query
from dastream.lake.ranking import Ranking, Usage
from dastream.lake.stats import New, read_stats
from dastream.lake.times import microseconds
from dastream.sinks import formats
from dastream.storage import FileStorage
from entries import mysql, mysql_auxiliary

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def stats(root, *, limit=10, zone=UTC, **query):
    with Database(FileStorage(root)) as database:
        return read_stats(database, Query(**query), limit=limit, zone=zone)


@pytest.fixture
def lake(tmp_path):
    at = lakes.MORNING
    lakes.deliver(
        tmp_path,
        lakes.event(1, "SELECT * FROM t WHERE a = 'secret'", dbUserName="ada", at=at - 2 * DAY),
        lakes.event(2, "SELECT * FROM t WHERE a = 'other'", at=at, startTime=None, rowCount=5),
        lakes.event(3, "DELETE FROM t", at=at + HOUR, exitCode="42501", errorMessage="no"),
        format=formats.PARQUET,
    )
    lakes.put(
        tmp_path,
        "2026/11/23/07/x",
        lakes.lines(
            lakes.event(4, "SELECT * FROM t WHERE a = 'third'", logTime="2026-11-23 07:28:08+00"),
            lakes.event(5, None, command="CONNECT", clientApplication=None, objectName=None),
            lakes.event(6, raw=b'{"type":"heartbeat"}'),
        ),
    )
    return tmp_path


@pytest.mark.parametrize("limit", [1, 10])
def test_events_are_counted_by_who_what_and_when(lake, limit):
    found = stats(lake, limit=limit)
    assert found.total[:4] == (5, 4, 1, 45)
    assert dict(found.users.most(limit))["davide"].events == 4
    assert len(found.users) == 2
    assert dict(found.applications.all())[None].events == 1
    assert [(hour, usage.events) for hour, usage in sorted(found.hours.all())] == [(7, 4), (8, 1)]
    assert found.failures.most(limit, "failed") == [
        (("davide", "SELECT", "42501"), found.failures.most(1, "failed")[0][1])
    ]


def test_statements_are_counted_by_their_shape_and_show_no_literal(lake):
    found = stats(lake)
    (engine, shape), usage = found.shapes.most(1)[0]
    assert (engine, shape) == ("aurora-postgresql", "SELECT * FROM t WHERE a = ?")
    assert (usage.events, usage.duration_us) == (3, 3_000_000)
    assert found.slowest[0].duration_us == 3_000_000
    assert found.slowest[0].shape == "SELECT * FROM t WHERE a = ?"
    assert "secret" not in repr(found)


def test_hours_are_those_of_the_zone(lake):
    found = stats(lake, zone=timezone(5 * HOUR))
    assert sorted(hour for hour, _ in found.hours.all()) == [12, 13]


def test_new_is_what_was_not_there_in_the_days_before(lake):
    since = microseconds(lakes.MORNING - DAY)
    assert {one.name for one in stats(lake).newest} >= {"ada", "davide", "psql"}
    new = stats(lake, since_us=since).newest
    assert [(one.kind, one.name) for one in new] == [("users", "davide")]
    assert isinstance(new[0], New)
    late = stats(lake, since_us=since + 35 * DAY // timedelta(microseconds=1))
    assert (late.total.events, late.newest) == (0, [])


@pytest.mark.parametrize(
    ("query", "events"),
    [
        ({"user": "AD*"}, 1),
        ({"user": "a_a"}, 0),
        ({"object": "MY_table"}, 4),
        ({"object": "public.*"}, 4),
        ({"text": "DELETE from"}, 1),
        ({"failed": True}, 1),
        ({"command": "connect"}, 1),
        ({"host": "172.*", "database": "postgres", "application": "psql"}, 4),
        ({"cluster": lakes.support.CLUSTER}, 5),
        ({"cluster": "cluster-X"}, 0),
        ({"until_us": microseconds(lakes.MORNING)}, 1),
    ],
)
def test_what_is_asked_for_is_what_search_finds(lake, query, events):
    assert stats(lake, **query).total.events == events


def test_an_auxiliary_event_is_no_statement(tmp_path):
    lakes.deliver(
        tmp_path,
        lakes.mysql_event(1, mysql(statementId=1, objectName=None)),
        lakes.mysql_event(2, mysql_auxiliary(statementId=1, objectName="items")),
        format=formats.PARQUET,
    )
    found = stats(tmp_path)
    assert found.total[:2] == (2, 1)
    assert dict(found.objects.all())["items"].statements == 0


def test_numbers_that_an_entry_claims_do_not_stop_the_count(tmp_path):
    lakes.deliver(tmp_path, *(lakes.event(n, rowCount=2**63 - 1) for n in range(3)))
    assert stats(tmp_path).total.rows == 2**63 - 1
    lakes.deliver(tmp_path, lakes.event(9, rowCount=-5, logTime="9999-12-31 23:59:59+00"))
    assert stats(tmp_path).total.events == 4


def test_a_ranking_is_bounded_and_says_what_it_put_together():
    ranking = Ranking(names_max=100)
    for number in range(1000):
        ranking.add(f"rare {number}", Usage(events=1, first_us=number))
        ranking.add("often", Usage(events=1, failed=1))
    assert len(ranking) <= 101
    assert ranking.most(1) == [("often", Usage(events=1000, failed=1000))]
    assert ranking.others.events + sum(usage.events for _, usage in ranking.all()) == 2000
    assert ranking.most(5, "failed") == ranking.most(1)


@pytest.mark.parametrize(("minute", "hour"), [(10, 15), (45, 16)])
def test_hours_are_those_of_a_zone_that_is_half_an_hour_off(tmp_path, minute, hour):
    at = lakes.MORNING.replace(hour=10, minute=minute)
    lakes.deliver(tmp_path, lakes.event(1, at=at))

    found = stats(tmp_path, zone=timezone(timedelta(hours=5, minutes=30)))

    assert [name for name, _ in found.hours.all()] == [hour]


@pytest.mark.parametrize("hours", [-5, 0, 9])
def test_times_that_no_calendar_has_are_counted_without_an_hour(tmp_path, hours):
    first, last = "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.5+00"
    lakes.deliver(
        tmp_path,
        lakes.event(1, startTime=first, logTime=first),
        lakes.event(2, startTime=last, logTime=last),
        lakes.event(3),
    )
    line = lakes.lines(lakes.event(4, startTime=None, logTime=None))
    without_time = re.sub(rb'"arrivalTime":"[^"]*"', b'"arrivalTime":null', line)
    lakes.put(tmp_path, "2026/11/23/07/x", without_time)

    found = stats(tmp_path, zone=timezone(timedelta(hours=hours)))

    assert found.total.events == 4
    assert (7 + hours) % 24 in dict(found.hours.all())


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"])
def test_a_time_at_the_end_of_the_calendar_may_be_asked_for(lake, moment):
    moment_us = microseconds(datetime.fromisoformat(moment))
    is_first = moment_us < 0

    assert stats(lake, since_us=moment_us).total.events == (5 if is_first else 0)
    assert stats(lake, until_us=moment_us).total.events == (0 if is_first else 5)
