from datetime import UTC, datetime, timedelta, timezone

import pytest

from dastream.errors import ConfigError
from dastream.lake.times import microseconds, parse_time

NOW = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("1w", NOW - timedelta(weeks=1)),
        (" 2H ", NOW - timedelta(hours=2)),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T23:59", datetime(2026, 1, 31, 23, 59, tzinfo=UTC)),
        ("2026-01-31 23:59:58.5", datetime(2026, 1, 31, 23, 59, 58, 500_000, tzinfo=UTC)),
        ("2026-01-31t23:59:00z", datetime(2026, 1, 31, 23, 59, tzinfo=UTC)),
        ("2026-01-31T23:59:00+05:30", datetime(2026, 1, 31, 18, 29, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text, moment):
    assert parse_time(text, now=NOW, zone=UTC) == moment


def test_today_is_the_day_of_the_zone_that_times_are_shown_in():
    zone = timezone(timedelta(hours=-5))  # where it is still the 22nd
    assert parse_time("today", now=NOW, zone=zone) == datetime(2026, 11, 22, tzinfo=zone)
    assert parse_time("2026-11-22", now=NOW, zone=zone) == datetime(2026, 11, 22, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc"), [("2026-07-01T12:00", 10), ("2026-12-01T12:00", 11), ("2026-07-01", 22)]
)
def test_local_times_follow_the_summer_time_of_their_own_day(monkeypatch, text, utc):
    import time

    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        moment = parse_time(text, now=NOW)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert moment.astimezone(UTC).hour == utc


@pytest.mark.parametrize(
    "text", ["", "soon", "2x", "-2h", "99:99", "9999999h", "999999w", "2026-13-01"]
)
def test_what_is_no_time_is_a_configuration_error_with_a_hint(text):
    with pytest.raises(ConfigError, match="time:") as caught:
        parse_time(text, now=NOW, zone=UTC)
    assert caught.value.hint


def test_moments_become_the_microseconds_of_the_columns():
    assert microseconds(datetime(2026, 11, 23, 7, 28, 5, 123456, UTC)) == 1_795_418_885_123_456
