"""A put that is still under way when its consumer has been killed, and the next one is at work.

S3 may carry out a request after its sender is gone; and a consumer that was replaced, but has been
standing still, may send one. Only the names of objects guard against it.
"""

import pytest

from dastream.checkpoint import MemoryCheckpoints
from dastream.errors import ServiceError
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySource, MemoryStorage
from pipelines import GARBAGE, activity, dead_letters, heartbeat, pipeline, statements
from support import SHARD, STREAM, record


class SlowStorage(MemoryStorage):
    """Carries out the first put of events late: just before, or just after, the next one."""

    def __init__(self, *, is_before):
        super().__init__()
        self._is_before = is_before
        self._under_way = None

    def put_if_absent(self, key, data):
        if not key.startswith("events/"):
            return super().put_if_absent(key, data)
        if self._under_way is None:
            self._under_way = (key, data)
            raise ServiceError("killed while it was under way")
        if self._is_before:
            super().put_if_absent(*self._under_way)
        is_first = super().put_if_absent(key, data)
        super().put_if_absent(*self._under_way)
        return is_first


def run_until_it_ends(storage, records, batch_records_max):
    """Runs with batches of so many records, one after another, until one ends as it should."""
    checkpoints = MemoryCheckpoints()
    for size in [*batch_records_max, *[batch_records_max[-1]] * 3]:
        source = MemorySource(STREAM, records, batch_records_max=size)
        try:
            pipeline(source, [LakeSink(storage)], checkpoints).run()
        except ServiceError:
            continue
        return
    pytest.fail("no run ends as it should")


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("sizes", [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_batch_that_comes_late_is_found_by_its_name(sizes, is_before):
    storage = SlowStorage(is_before=is_before)
    records = [record(activity(number), number) for number in range(1, 7)]

    run_until_it_ends(storage, records, sizes)

    assert set(statements(storage).values()) == {1}


def test_batch_that_comes_late_does_not_hold_records_that_were_passed_without_an_object():
    """The next consumer commits the heartbeat, and begins a batch after it."""
    storage = SlowStorage(is_before=False)

    run_until_it_ends(storage, [record(heartbeat(), 1), record(activity(2), 2)], (2, 1))

    assert set(statements(storage).values()) == {1}


def test_batch_that_comes_late_does_not_divide_the_objects_of_another_one():
    """The next consumer has a batch of three records for the name that comes to hold one."""
    storage = SlowStorage(is_before=True)
    records = [record(activity(1), 1), record(GARBAGE, 2), record(activity(3), 3)]

    run_until_it_ends(storage, records, (1, 3))

    expected = {(SHARD, f"SELECT {sign}{number}"): 1 for number in (1, 3) for sign in ("", "-")}
    assert statements(storage) == expected
    assert set(dead_letters(storage).values()) == {1}
