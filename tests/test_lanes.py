import threading
import time

import pytest

from dastream.errors import SinkError
from dastream.lanes import Lanes
from dastream.record import SHARD_END, RecordBatch


def batch(shard, number, through=None):
    return RecordBatch("stream", shard, str(number - 1), through or str(number), ())


class Moves:
    """What lanes move, in the order in which it was done: lane, shard, where the batch ends."""

    def __init__(self, lanes, do=lambda batch: None):
        self.done = []
        self.moves = [self._move(lane, do) for lane in range(lanes)]

    def _move(self, lane, do):
        def move(batch, is_held):
            do(batch)
            self.done.append((lane, batch.shard, batch.through))

        return move

    def of_shard(self, shard):
        return [through for _, name, through in self.done if name == shard]


def run(moves, batches, failed=lambda: None):
    with Lanes(moves.moves, failed) as move:
        for given in batches:
            move(given, False)


def batches_and(error):
    yield batch("a", 2)
    raise error


def never():
    raise AssertionError("nothing failed")


def test_batches_of_a_shard_are_moved_one_after_another_in_one_lane():
    at_work = threading.Lock()

    def alone(batch):
        assert at_work.acquire(blocking=False)
        time.sleep(0.005)
        at_work.release()

    moves = Moves(3, alone)
    with Lanes(moves.moves, never) as move:
        for number in range(10):
            move(batch("a", number), False)

    assert moves.of_shard("a") == [str(number) for number in range(10)]
    assert len({lane for lane, _, _ in moves.done}) == 1


def test_batches_of_different_shards_are_moved_at_the_same_time():
    both = threading.Barrier(2, timeout=10)

    moves = Moves(2, lambda batch: both.wait())
    with Lanes(moves.moves, never) as move:
        move(batch("a", 1), False)
        move(batch("b", 1), False)

    assert sorted(moves.done) == [(0, "a", "1"), (1, "b", "1")]


def test_shards_are_spread_and_an_ended_one_makes_room():
    moves = Moves(2)
    with Lanes(moves.moves, never) as move:
        for shard in "abcd":
            move(batch(shard, 1), False)
        for shard in "ac":
            move(batch(shard, 2, SHARD_END), False)
        for shard in "ef":
            move(batch(shard, 1), False)

    lane_of = {shard: lane for lane, shard, _ in moves.done}
    assert [lane_of[shard] for shard in "abcdef"] == [0, 1, 0, 1, 0, 0]


def test_who_gives_waits_when_one_batch_is_under_way_and_one_waits():
    go_on = threading.Event()
    given = []

    def give(move):
        for number in range(5):
            move(batch("a", number), False)
            given.append(number)

    moves = Moves(1, lambda batch: go_on.wait(10))
    with Lanes(moves.moves, never) as move:
        giver = threading.Thread(target=give, args=(move,))
        giver.start()
        giver.join(0.2)
        assert len(given) == 2
        go_on.set()
        giver.join()

    assert moves.of_shard("a") == ["0", "1", "2", "3", "4"]


def test_what_was_given_is_moved_before_the_end():
    moves = Moves(2, lambda batch: time.sleep(0.02))
    with Lanes(moves.moves, never) as move:
        for shard in "abab":
            move(batch(shard, 1), False)

    assert len(moves.done) == 4


def fails_on_2(batch):
    if (batch.shard, batch.through) == ("a", "2"):
        raise SinkError("sink: full", hint="make room")


def test_nothing_of_a_lane_is_moved_after_what_failed():
    moves, told = Moves(1, fails_on_2), []

    with pytest.raises(SinkError, match="full"):
        run(moves, (batch("a", number) for number in range(1, 9)), lambda: told.append(1))

    assert moves.of_shard("a") == ["1"]
    assert told == [1]


def test_other_lanes_end_what_they_have_when_one_fails():
    moves = Moves(2, fails_on_2)

    with pytest.raises(SinkError):
        run(moves, [batch("b", 1), batch("a", 2), batch("b", 2)])

    assert moves.of_shard("b")[0] == "1"


def test_error_of_who_gives_goes_before_one_of_a_lane():
    moves = Moves(1, fails_on_2)

    with pytest.raises(ValueError, match="source"):
        run(moves, batches_and(ValueError("the source failed")))


def test_interrupt_waits_for_nobody():
    go_on = threading.Event()
    moves = Moves(1, lambda batch: go_on.wait(10))

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(moves, batches_and(KeyboardInterrupt()))

    assert time.monotonic() - began < 5
    go_on.set()
