"""Following a lake: what is delivered while one looks, each event once."""

from datetime import timedelta

import pytest

import lakes
from dastream.lake.matching import Query
from dastream.lake.search import Search
from dastream.sinks import formats
from dastream.storage import FileStorage
from entries import mysql, mysql_auxiliary

MINUTE = timedelta(minutes=1)


def numbers(matches):
    return [int(match.event.id[:32], 16) for match in matches]


def followed(search, *deliveries):
    """What comes while one delivery is made at each wait."""
    waiting = list(deliveries)

    def wait(seconds):
        assert seconds >= 2
        if waiting:
            waiting.pop(0)()
            return False
        return True

    return search.follow(wait)


def test_what_is_delivered_later_comes_once_in_any_layout_and_format(tmp_path):
    def deliver(*some, format=formats.JSON_LINES):
        at = [lakes.event(n, at=lakes.MORNING + n * MINUTE) for n in some]
        return lambda: lakes.deliver(tmp_path, *at, format=format)

    deliver(1, 2)()
    search = Search(FileStorage(tmp_path), Query(), on_damage=pytest.fail)
    assert numbers(search) == [1, 2]
    assert numbers(
        followed(
            search,
            deliver(3),
            lambda: None,
            deliver(4, 5, format=formats.PARQUET),
            deliver(4, 5),  # the same batch, in the other format
            lambda: lakes.put(
                tmp_path, "2026/11/23/07/x", lakes.lines(lakes.event(5), lakes.event(6))
            ),
        )
    ) == [3, 4, 5, 6]
    assert search.counts.objects == 4


def test_what_does_not_match_does_not_come(tmp_path):
    lakes.deliver(tmp_path, lakes.event(1))
    search = Search(FileStorage(tmp_path), Query(user="ada"), limit=1, on_damage=pytest.fail)
    assert numbers(search) == []
    new = followed(
        search,
        lambda: lakes.deliver(tmp_path, lakes.event(2), lakes.event(3, dbUserName="ada")),
        lambda: lakes.deliver(tmp_path, lakes.event(4, dbUserName="ada")),
    )
    assert numbers(new) == [3, 4]


def test_a_place_that_is_not_there_yet_can_be_followed(tmp_path):
    search = Search(FileStorage(tmp_path / "lake"), Query(), on_damage=pytest.fail)
    assert numbers(search) == []
    assert numbers(followed(search, lambda: lakes.deliver(tmp_path / "lake", lakes.event(1)))) == [
        1
    ]


def test_objects_of_a_statement_that_come_later_are_not_lost(tmp_path):
    search = Search(FileStorage(tmp_path), Query(), on_damage=pytest.fail)
    list(search)
    new = followed(
        search,
        lambda: lakes.deliver(tmp_path, lakes.mysql_event(1, mysql_auxiliary(statementId=1))),
        lambda: lakes.deliver(tmp_path, lakes.mysql_event(2, mysql(statementId=1))),
    )
    assert numbers(new) == [1, 2]
