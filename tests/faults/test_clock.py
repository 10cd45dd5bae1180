"""Clocks that jump make nothing happen twice, and nothing be left out."""

import random

import pytest
from killing import kill_repeatedly
from runs import Forks, Runs


@pytest.fixture
def runs_under_jumping_clocks(tmp_path):
    forks = Forks("jumping_clock.py")
    yield Runs(forks, tmp_path)
    forks.close()


def test_runs_under_clocks_that_jump_deliver_everything_once(make_scene, runs_under_jumping_clocks):
    runs, scene = runs_under_jumping_clocks, make_scene()
    chance = random.Random(1)

    print(kill_repeatedly(scene, runs, chance, 10, hits_min=1))

    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()
