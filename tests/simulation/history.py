"""One history: a stream that lives, and consumers that crash, fail, overlap and start again.

Everything in it follows from its seed. The code that moves records is the real one; the stream,
the storage, the checkpoint store, KMS and the clock are not.
"""

import random

from consumers import consumer
from fault_points import LATE, LATE_SECONDS_MAX, Chances, CrashError, Outside
from outsides import FEED, FencedCheckpoints, Lake
from simulated_kinesis import SimulatedKinesis
from turns import Turns
from virtual_clock import VirtualClock

from dastream.errors import ServiceError
from dastream.sinks.formats import JSON_LINES
from ledger import Ledger

QUICK = [0.0, 1.0, 30.0, 400.0]
SLOW = [0.0, 400.0, 20_000.0, 100_000.0]
"""Seconds between two runs: with the slow ones, records expire before they are read."""

DAY_SECONDS = 86_400
A_DAY = (86_200.0, 86_500.0)
"""When a second run comes so late, records expire while it reads them."""

TURNS_BEFORE_A_START_MAX = 30

PUTS_AFTER_SECONDS_MAX = 100
"""When the last record comes into a stream that was made again."""


class History:
    """`run` it, and everything that must hold has been looked at. Raises AssertionError.

    So many consumers run `at_once`, each made by `make_consumer`; `make_checkpoints` is told what
    to tell of what is written. Each start takes one of the `formats` for each lake. `counts` is
    handed on from history to history: what went wrong, where, and how runs ended.
    """

    def __init__(
        self,
        seed,
        counts,
        *,
        at_once=1,
        make_consumer=consumer,
        make_checkpoints=FencedCheckpoints,
        formats=(JSON_LINES,),
    ):
        random.seed(seed)  # the source spreads its waits by the global one
        self.clock = VirtualClock()
        self._chance = chance = random.Random(seed)
        self.start_ms = chance.choice([0, 0, 0, None])
        self.lakes = [Lake() for _ in range(chance.choice([1, 1, 2]))]
        self.ledger = Ledger()
        self.checkpoints = make_checkpoints(self._begun, self._committed)
        self.kinesis = SimulatedKinesis(self.clock, chance, self._expired)
        self.formats = formats
        self._counts = counts
        self._turns = Turns(chance)
        self._begun_ms = None
        self._at_once = at_once
        self._make_consumer = make_consumer
        self._accident = chance.choice(
            [None, None, self.kinesis.raise_retention, self._recreate, self.checkpoints.lose]
        )
        self._pauses = chance.choice([QUICK, QUICK, SLOW])
        self._late_seconds = chance.choice([0.0, 0.0, 0.0, chance.uniform(*A_DAY)])
        self._end = 400.0 if self._late_seconds else chance.choice(self._pauses)
        self._plan_the_stream()

    def run(self):
        for number in range(self._chance.randint(1, 10)):
            self._turns.run(*[self._start] * self._at_once)
            late_seconds = 0.0 if number else self._late_seconds
            self.clock.advance(self._chance.choice(self._pauses) + late_seconds)
            if self._accident and self._chance.random() < 0.3:
                self._accident()
        self.clock.advance(max(self._end, LATE_SECONDS_MAX, PUTS_AFTER_SECONDS_MAX))
        self._run(Chances(), is_last=True)
        for lake in self.lakes:
            self.ledger.assert_everything(lake.found)

    def _plan_the_stream(self):
        changes = [self._put] * 20 + [self.kinesis.split, self.kinesis.merge]
        for _ in range(self._chance.randint(1, 40)):
            self.clock.at(self._chance.uniform(0, self._end), self._chance.choice(changes))

    def _put(self):
        fed = FEED.draw(self._chance)
        place, arrival_ms = self.kinesis.put(fed.data)
        self.ledger.feed(place, fed, arrival_ms)

    def _recreate(self):
        """What the earlier stream still held is gone."""
        self.kinesis.create()
        self.ledger.excuse_all()
        for _ in range(self._chance.randint(0, 5)):
            wait_seconds = self._chance.uniform(0, PUTS_AFTER_SECONDS_MAX)
            self.clock.at(self.clock.seconds + wait_seconds, self._put)

    def _expired(self, place):
        """A record that nobody read in time is told of when a checkpoint passes its place."""
        self.ledger.excuse_if(place, lambda found: self._is_told(found, place))

    def _is_told(self, found, place):
        """Whether a notice tells that a record may be lost, or will when another one has come.

        A shard that went unread is told of by its ancestors' ends or its descendants' beginnings.
        """
        shard, sequence = place
        if any(found.tells_gap((earlier, sequence)) for earlier in self._ancestors(shard)):
            return True
        if self.ledger.has_passed(place) and self._begun_ms == self.kinesis.created_ms:
            return False
        family = [other for other in self.kinesis.parents if shard in self._ancestors(other)]
        return any(
            found.tells_gap_at_start(later, self.kinesis.firsts[later])
            for later in family
            if later != shard
        ) or any(
            later in self.kinesis.shards and not self.ledger.has_passed((later, sequence))
            for later in family
        )

    def _ancestors(self, shard):
        """A shard, and all whose records came before its own."""
        earlier = [self._ancestors(parent) for parent in self.kinesis.parents[shard]]
        return {shard}.union(*earlier)

    def _begun(self, beginning):
        """Where a lake shows that there was an earlier start, what that wanted is wanted still."""
        self._begun_ms = beginning.created_ms
        is_held = any(key.startswith("events/") for lake in self.lakes for key in lake.objects)
        self.ledger.begin(beginning.start_ms, is_first=not is_held)

    def _committed(self, shard, through):
        if self._begun_ms != self.kinesis.created_ms:
            return  # of the earlier stream, whose shards had the same names
        self.ledger.commit(shard, through, [lake.found for lake in self.lakes])

    def _pause(self, seconds):
        """While a machine stands still, its stream may be made again.

        Tells whether the run may fail of it, or of what expires of a batch that it forms again.
        """
        if self._accident != self._recreate or self._chance.random() < 0.5:
            return seconds > DAY_SECONDS
        self.clock.at(self.clock.seconds + self._chance.uniform(0, seconds / 2), self._recreate)
        return True

    def _start(self):
        if self._at_once > 1:
            for _ in range(self._chance.randrange(TURNS_BEFORE_A_START_MAX)):
                self._turns.pass_on()
        chances = Chances(
            crash=self._chance.choice([0.0, 0.02, 0.1 / self._at_once**3]),
            error=self._chance.choice([0.0, 0.02, 0.1 / self._at_once**3]),
            stop=self._chance.choice([0.0, 0.0, 0.02]),
            late=0.5,
            pause=self._chance.choice([0.0, 0.005, 0.1]),
            calls_max=self._chance.choice([None, self._chance.randint(1, 400)]),
        )
        self._run(chances)

    def _run(self, chances, *, is_last=False):
        """One process of the consumer, from its start to whatever ends it."""
        outside = Outside(self._chance, chances, self.clock, self._counts, self._turns.pass_on)
        is_once = is_last or self._chance.random() < 0.3
        pipeline = self._make_consumer(outside, self, self._chance, once=is_once)
        outside.stop = pipeline.stop
        outside.pause = self._pause
        if not is_once and chances.calls_max is None:
            self.clock.at(self.clock.seconds + self._chance.uniform(0, 120), pipeline.stop)
        late = self._counts[LATE]

        def has_cause():
            is_alone = is_last or self._at_once == 1
            return outside.errors or self._counts[LATE] > late or not is_alone

        self._counts["runs", _end(pipeline, has_cause)] += 1


def _end(pipeline, has_cause):
    """How a run ends. If it fails, there has to be a cause."""
    try:
        pipeline.run()
    except CrashError:
        return "crashed"
    except ServiceError as error:
        if not has_cause():
            raise AssertionError("failed without a fault") from error
        return "failed"
    return "ended"
