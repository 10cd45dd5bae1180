"""SIGTERM while a run works: what was read is delivered and committed, and it ends as done."""

import random
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from outages import Outages, slow

SIGNALS = 5


@pytest.fixture
def chance():
    return random.Random(1)


@pytest.fixture
def outages(aws):
    started = Outages(aws)
    yield started
    started.close()


@contextmanager
def records_coming_in(scene):
    """Records are put again and again, from another thread."""
    is_over = threading.Event()

    def produce():
        moments = random.Random(2)
        while not is_over.wait(moments.uniform(0, 0.05)):
            scene.put(moments, 5)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        yield
    finally:
        is_over.set()
        producer.join()


def counts(scene):
    """The events and the dead letters of a lake."""
    found = scene.found()
    return tuple(sum(map(len, kind.values())) for kind in (found.events, found.dead_letters))


def wait_until(condition, seconds_max=20):
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_runs_that_are_told_to_end_while_records_come_in_deliver_each_once(
    make_scene, runs, chance
):
    scene = make_scene()
    with records_coming_in(scene):
        for _ in range(SIGNALS):
            before = counts(scene)
            run = runs.start(
                *scene.arguments, "--flush-age-seconds-max", "0.1", **scene.environment
            )
            wait_until(lambda before=before: counts(scene) > before)
            time.sleep(chance.uniform(0, 0.5))
            run.send(signal.SIGTERM)

            assert run.wait().code in {0, 3}, run.errors
            told = run.counters["events"], sum(run.counters["deadLetters"].values())
            assert told == tuple(
                now - then for now, then in zip(counts(scene), before, strict=True)
            )

    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


def test_run_that_is_told_to_end_delivers_what_it_has_read_of_a_batch_that_is_not_due(
    make_scene, runs, chance, outages
):
    scene = make_scene(shards=1)
    scene.put(chance, 30)
    outages.lasting["GetRecords"] = lambda _operation, forward: forward()

    run = runs.start(*scene.arguments, "--flush-age-seconds-max", "3600", **outages.environment)
    wait_until(lambda: outages.hits["GetRecords"] >= 2)  # so it has the first page, with all of it
    assert counts(scene) == (0, 0)
    run.send(signal.SIGTERM)

    assert run.wait().code == 3, run.errors
    scene.assert_everything_is_there()


def test_run_that_is_told_to_end_while_s3_is_slow_waits_for_it(
    make_scene, make_bucket, runs, chance, outages
):
    scene = make_scene(make_bucket(), shards=1)  # another one might not have been read yet
    scene.put(chance, 30)
    outages.lasting["PutObject"] = slow

    run = runs.start(*scene.arguments, "--flush-age-seconds-max", "0", **outages.environment)
    wait_until(lambda: outages.hits["PutObject"])
    run.send(signal.SIGTERM)

    assert run.wait().code == 3, run.errors
    scene.assert_everything_is_there()
