"""One history: a stream that lives, and consumers that crash, fail, overlap and start again.

Everything in it follows from its seed. The code that moves records is the real one; the stream,
the storage, the checkpoint store, KMS and the clock are not.
"""

import random

from consumers import consumer
from fault_points import Chances, CrashError, Outside
from outsides import FEED, FencedCheckpoints, Lake
from simulated_kinesis import SimulatedKinesis
from turns import Turns
from virtual_clock import VirtualClock

from dastream.errors import ServiceError
from ledger import Ledger

RETENTION_SECONDS = 24 * 3600
TURNS_BEFORE_A_START_MAX = 30


class History:
    """`run` it, and everything that must hold has been looked at. Raises AssertionError.

    So many consumers run `at_once`, each made by `make_consumer`. `counts` is handed on from
    history to history: what went wrong, where, and how runs ended.
    """

    def __init__(self, seed, counts, *, at_once=1, make_consumer=consumer):
        random.seed(seed)  # the source spreads its waits by the global one
        self.clock = VirtualClock()
        self._chance = chance = random.Random(seed)
        self.lakes = [Lake() for _ in range(chance.choice([1, 1, 2]))]
        self.ledger = Ledger()
        self.checkpoints = FencedCheckpoints(self._committed)
        self.kinesis = SimulatedKinesis(
            self.clock,
            chance,
            shards=chance.randint(1, 3),
            retention_seconds=RETENTION_SECONDS,
            trimmed=self.ledger.trim,
        )
        self._counts = counts
        self._turns = Turns(chance)
        self._at_once = at_once
        self._make_consumer = make_consumer
        self._end = chance.choice([0.0, 10.0, 600.0])
        self._plan_the_stream()

    def run(self):
        for _ in range(self._chance.randint(1, 10)):
            self._turns.run(*[self._start] * self._at_once)
            self.clock.advance(self._chance.choice([0.0, 1.0, 30.0, 400.0]))
        self.clock.advance(self._end)
        self._run(Chances(), is_last=True)
        for lake in self.lakes:
            self.ledger.assert_everything(lake.found)

    def _plan_the_stream(self):
        changes = [self._put] * 20 + [self.kinesis.split, self.kinesis.merge]
        for _ in range(self._chance.randint(1, 40)):
            self.clock.at(self._chance.uniform(0, self._end), self._chance.choice(changes))

    def _put(self):
        fed = FEED.draw(self._chance)
        self.ledger.feed(self.kinesis.put(fed.data), fed)

    def _committed(self, shard, through):
        self.ledger.assert_goes_on(shard, through)
        for lake in self.lakes:
            self.ledger.assert_delivered(lake.found, shard, through)

    def _start(self):
        if self._at_once > 1:
            for _ in range(self._chance.randrange(TURNS_BEFORE_A_START_MAX)):
                self._turns.pass_on()
        chances = Chances(
            crash=self._chance.choice([0.0, 0.02, 0.1 / self._at_once**3]),
            error=self._chance.choice([0.0, 0.02, 0.1 / self._at_once**3]),
            stop=self._chance.choice([0.0, 0.0, 0.02]),
        )
        self._run(chances)

    def _run(self, chances, *, is_last=False):
        """One process of the consumer, from its start to whatever ends it."""
        outside = Outside(self._chance, chances, self.clock, self._counts, self._turns.pass_on)
        is_once = is_last or self._chance.random() < 0.3
        pipeline = self._make_consumer(outside, self, self._chance, once=is_once)
        outside.stop = pipeline.stop
        if not is_last:
            self.clock.at(self.clock.seconds + self._chance.uniform(0, 120), pipeline.stop)
        is_alone = is_last or self._at_once == 1
        self._counts["runs", _end(pipeline, lambda: outside.errors or not is_alone)] += 1


def _end(pipeline, may_fail):
    try:
        pipeline.run()
    except CrashError:
        return "crashed"
    except ServiceError as error:
        if not may_fail():
            raise AssertionError("failed without a fault") from error
        return "failed"
    return "ended"
