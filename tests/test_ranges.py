import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.ranges import numbers, ranges


@given(st.sets(st.integers(1, 1000), min_size=1))
def test_numbers_come_back_from_their_ranges(given):
    assert numbers(ranges(sorted(given)), 1000) == given


def test_ranges_are_short():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"
    assert len(ranges(range(1, 1001, 2))) < 4096


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1 2", "SHARD_END", "\u0661"])
def test_what_is_no_ranges_is_refused(text):
    with pytest.raises(ValueError, match="no ranges"):
        numbers(text, 1000)


@pytest.mark.parametrize("text", ["1001", "1-1001", "1-999999999", "49613"])
def test_numbers_that_are_too_large_are_refused_before_they_take_memory(text):
    with pytest.raises(ValueError, match="too large"):
        numbers(text, 1000)
