from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.format.engines import common
from support import compact

TIME_US = 1_558_658_389_940_668
SECOND_US = 1_558_658_389_000_000


def read(value):
    """The time, and whether it fitted."""
    columns = common.columns(compact({"logTime": value}))
    return columns.log_time_us, not columns.misfits


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2019-05-24 00:39:49.940668+00", TIME_US),  # PostgreSQL and MySQL
        ("2019-05-24 00:39:49.940668", TIME_US),  # Oracle: UTC without saying so
        ("2019-05-24 00:39:49.9406687+00", TIME_US),  # SQL Server: seven digits
        ("2019-05-24 00:39:49.940668999+00", TIME_US),
        ("2019-05-24 00:39:49+00", SECOND_US),
        ("2019-05-24 00:39:49.+00", SECOND_US),
        ("2019-05-24 00:39:49", SECOND_US),
        ("2019-05-24 00:39:49.9+00", SECOND_US + 900_000),
        ("2019-05-24 00:39:49.940+00", SECOND_US + 940_000),
        ("2019-05-24 06:09:49.940668+05:30", TIME_US),
        ("2019-05-24 06:09:49.940668+0530", TIME_US),
        ("2019-05-23 16:39:49.940668-08", TIME_US),
        ("2019-05-24 00:39:54.940668+00:00:05", TIME_US),
        ("2019-05-24T00:39:49.940668Z", TIME_US),
        ("2019-05-24 00:39:49.940668 UTC", TIME_US),
        ("1969-12-31 23:59:59.999999+00", -1),
        ("0001-01-01 00:00:00+00", -62_135_596_800_000_000),
        ("9999-12-31 23:59:59.999999+00", 253_402_300_799_999_999),
    ],
)
def test_time_of_every_engine_is_microseconds_in_utc(text, time_us):
    assert read(text) == (time_us, True)


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_time_is_no_misfit(nothing):
    assert read(nothing) == (None, True)


@pytest.mark.parametrize(
    "value",
    [
        "now",
        "2019-05-24",
        "00:39:49",
        "2019-13-24 00:39:49+00",
        "2019-02-29 00:39:49+00",
        "2019-05-24 00:60:49+00",
        "0000-05-24 00:39:49+00",
        "2019-05-24 00:39:49.0123456789+00",
        "2019-05-24 00:39:49 Europe/Berlin",
        "2019-05-24 00:39:49+00 ",
        "٢٠١٩-05-24 00:39:49+00",
        1_558_658_389,
        1.5,
        True,
        ["2019-05-24 00:39:49+00"],
    ],
)
def test_what_is_no_time_is_none_and_named(value):
    assert read(value) == (None, False)


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - a wall clock
    st.integers(-15 * 60, 15 * 60),
)
def test_any_wall_clock_with_any_offset_is_the_right_moment(wall, offset_minutes):
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    moment = wall.replace(tzinfo=UTC) - timedelta(minutes=offset_minutes)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    assert read(f"{wall:%H:%M:%S}") == (None, False)
    text = f"{wall.isoformat(' ', 'microseconds')}{sign}{hours:02d}:{minutes:02d}"
    assert read(text) == (expected, True)
