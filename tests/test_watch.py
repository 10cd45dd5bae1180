"""Silence and lateness are told when they begin and when they are over."""

import pytest

from dastream.watch import Watch
from support import ARRIVAL_MS

DAY_MS = 86_400_000
MINUTE_MS = 60_000


@pytest.fixture
def watch():
    """Five minutes of silence are too many; what was read is delivered within one."""
    return Watch(silence_ms_max=5 * MINUTE_MS, lag_share_max=0.5, delivery_ms=MINUTE_MS)


def check(watch, minute, *, arrival=0.0, lag=0.0, **seen):
    """Checks at a minute after the first arrival; all times are in minutes after it."""
    return watch.check(
        at(minute),
        lag_ms=round(lag * MINUTE_MS),
        retention_ms=DAY_MS,
        arrival_ms=at(arrival),
        seen_ms={name: at(last) for name, last in seen.items()},
    )


def at(minute):
    return ARRIVAL_MS + round(minute * MINUTE_MS)


def test_instance_that_is_silent_is_told_once_and_again_when_it_is_heard(watch):
    assert check(watch, 0, arrival=0, writer=0, reader=0) == []
    assert check(watch, 6, arrival=6, writer=6, reader=0) == []
    told = check(watch, 6.1, arrival=6, writer=6, reader=0)
    assert told == ["reader: nothing has arrived since 2026-11-23T07:28:05.123Z"]
    assert watch.troubles == ("reader",)
    assert check(watch, 9, arrival=8, writer=8, reader=0) == []
    assert check(watch, 10, arrival=9, writer=9, reader=9) == ["reader: well again"]
    assert watch.troubles == ()


def test_stream_that_is_silent_is_told_instead_of_each_of_its_instances(watch):
    assert check(watch, 0, writer=0, reader=0) == []
    assert check(watch, 6.1, writer=0, reader=0) == [
        "stream: nothing has arrived since 2026-11-23T07:28:05.123Z"
    ]
    assert watch.troubles == ("stream",)


def test_stream_of_which_nothing_ever_came_is_silent_since_the_first_check(watch):
    silent = {"lag_ms": 0, "retention_ms": DAY_MS, "arrival_ms": 0, "seen_ms": {}}

    assert watch.check(at(0), **silent) == []
    assert watch.check(at(5), **silent) == []
    (told,) = watch.check(at(5.1), **silent)
    assert told == "stream: nothing has arrived since 2026-11-23T07:27:05.123Z"


def test_silence_before_the_start_is_not_counted(watch):
    """A run after a pause finds old records at first."""
    assert check(watch, 600, arrival=0) == []


def test_consumer_that_is_behind_does_not_take_that_for_silence(watch):
    assert check(watch, 60, arrival=0, lag=60, writer=0) == []
    assert check(watch, 61, arrival=2, lag=59, writer=2) == []


def test_instance_is_silent_by_the_time_that_the_consumer_has_read_to(watch):
    assert check(watch, 55, arrival=0, lag=59, writer=0, reader=-5) == []
    assert check(watch, 60, arrival=0, lag=59, writer=0, reader=-5) == []
    assert len(check(watch, 61, arrival=2, lag=59, writer=2, reader=-5)) == 1


def test_instance_that_was_silent_before_the_start_is_told_once_it_could_have_been_heard(watch):
    assert check(watch, 600, arrival=0, writer=0, reader=0) == []
    assert check(watch, 604, arrival=603, writer=603, reader=0) == []
    assert check(watch, 605.1, arrival=604, writer=604, reader=0) == [
        "reader: nothing has arrived since 2026-11-23T07:28:05.123Z"
    ]


@pytest.mark.parametrize(("hours", "is_told"), [(12, False), (12.1, True)])
def test_consumer_behind_half_of_the_retention_is_told(watch, hours, is_told):
    told = check(watch, 2000, arrival=1990, lag=hours * 60)

    assert (
        told
        == ["consumer: 43560 s behind, of the 86400 s for which the stream keeps a record"][
            : int(is_told)
        ]
    )
    assert check(watch, 2001, arrival=1990, lag=60) == ["consumer: well again"][: int(is_told)]


def test_clock_that_goes_back_tells_nothing(watch):
    assert check(watch, 10, arrival=9, writer=9) == []
    assert check(watch, -600, arrival=9, writer=9) == []
