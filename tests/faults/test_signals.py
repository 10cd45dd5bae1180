"""SIGTERM at any moment: what was read is delivered and committed, and the run ends as done."""

import random
import signal
import threading
import time

import pytest
from outages import Outages, slow

SECONDS = 4
SIGNALS = 5


@pytest.fixture
def chance():
    return random.Random(1)


def test_runs_that_are_told_to_end_while_records_come_in_deliver_each_once(
    make_scene, runs, chance
):
    scene = make_scene()
    is_over = threading.Event()

    def produce():
        moments = random.Random(2)
        while not is_over.wait(moments.uniform(0, 0.05)):
            scene.put(moments, 5)

    producer = threading.Thread(target=produce)
    producer.start()
    for _ in range(SIGNALS):
        run = runs.start(*scene.arguments, "--flush-age-seconds-max", "0.1", **scene.environment)
        time.sleep(chance.uniform(0.3, 1.0))
        run.send(signal.SIGTERM)
        assert run.wait().code in {0, 3, -signal.SIGTERM}, run.errors
    is_over.set()
    producer.join()

    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


def test_run_that_is_told_to_end_while_s3_is_slow_waits_for_it(
    make_scene, make_bucket, runs, chance, aws
):
    scene = make_scene(make_bucket())
    scene.put(chance, 30)
    outages = Outages(aws)
    outages.lasting["PutObject"] = slow
    try:
        run = runs.start(*scene.arguments, "--flush-age-seconds-max", "0", **outages.environment)
        while not outages.hits["PutObject"]:
            time.sleep(0.01)
        run.send(signal.SIGTERM)
        assert run.wait().code == 3, run.errors
    finally:
        outages.close()

    scene.assert_everything_is_there()
