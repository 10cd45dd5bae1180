"""Whatever fails and whenever the process ends, nothing is lost and nothing comes twice.

Each history follows from its seed. One that fails says which it was, and is run again alone by

    DASTREAM_SEED=17 python -m pytest tests/simulation

`make soak` runs many more.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from consumers import consumer
from fault_points import POINTS
from history import History
from outsides import TableCheckpoints

from dastream.sinks.formats import FORMATS

HISTORIES = 2000
HERE = Path(__file__).parent


def run_histories(seeds, **how):
    """Every history, and what went wrong in all of them by point, moment and fault."""
    counts = Counter()
    if chosen := os.environ.get("DASTREAM_SEED"):
        seeds = [int(chosen)]
    for seed in seeds:
        try:
            History(seed, counts, **how).run()
        except BaseException as error:
            error.add_note(f"DASTREAM_SEED={seed}")
            raise
    return counts


def test_nothing_is_lost_or_comes_twice_whatever_fails():
    counts = run_histories(range(HISTORIES))

    if "DASTREAM_SEED" not in os.environ:
        missing = {
            (point, moment, fault)
            for point in POINTS
            for moment in ("before", "after")
            for fault in ("crash", "error")
            if counts[point, moment, fault] < 2
        }
        assert not missing, "too little went wrong"


def test_nothing_is_lost_or_comes_twice_while_two_consumers_overlap():
    """Commits are fenced, deliveries are not: the names of objects have to do it.

    A consumer that was replaced, but does not know it yet, may still put the objects of a batch.
    """
    run_histories(range(250), at_once=2)


def test_nothing_is_lost_or_comes_twice_with_checkpoints_in_a_table(aws, table):
    make = partial(TableCheckpoints, aws.client("dynamodb"), table)

    run_histories(range(30), at_once=2, make_checkpoints=make)


def test_nothing_is_lost_or_comes_twice_when_the_format_changes_with_each_start():
    run_histories(range(80), formats=FORMATS)


def fingerprint(seed):
    """What a history was: every fault, how long it took, and the objects that were left."""
    history = History(seed, counts := Counter())
    history.run()
    faults = sorted(f"{key} {count}" for key, count in counts.items())
    return [faults, history.clock.seconds, [sorted(lake.objects) for lake in history.lakes]]


def test_seed_tells_the_whole_history_in_every_process():
    code = "import json, test_simulation as t; print(json.dumps(t.fingerprint(5)))"
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout) == fingerprint(5)


class Mistaken:
    """A deliverer with a mistake; all else is as it is."""

    def __init__(self, deliver, pipeline):
        self._deliver = deliver
        self._checkpoints = pipeline._checkpoints

    def __getattr__(self, name):
        return getattr(self._deliver, name)

    def __call__(self, batch, *, whole):
        return self._deliver(batch, whole=whole)


class ForgetsWhatIsHeld(Mistaken):
    def extent(self, batch):
        return None

    def held(self, stream, shards):
        return ()


class CommitsTooEarly(Mistaken):
    def __call__(self, batch, *, whole):
        self._checkpoints.commit(batch.stream, batch.shard, batch.through)
        return self._deliver(batch, whole=whole)


class CutsWhatIsHeld(Mistaken):
    def __call__(self, batch, *, whole):
        return self._deliver(batch, whole=False)


class LosesGarbage(Mistaken):
    def __call__(self, batch, *, whole):
        kept = tuple(r for r in batch.records if not r.data.startswith(b"\xff"))
        return self._deliver(replace(batch, records=kept), whole=whole)


@pytest.mark.parametrize(
    "mistake", [ForgetsWhatIsHeld, CommitsTooEarly, CutsWhatIsHeld, LosesGarbage]
)
def test_consumer_with_a_mistake_is_found_out(mistake):
    def mistaken(*world, **how):
        pipeline = consumer(*world, **how)
        pipeline._deliver = mistake(pipeline._deliver, pipeline)
        return pipeline

    with pytest.raises(AssertionError):
        run_histories(range(HISTORIES), make_consumer=mistaken)
