"""SIGKILL at points of a seed, over a stream that splits and merges: nothing is lost or twice.

`make soak` kills ten times as often. Another seed: DASTREAM_SEED=17 python -m pytest tests/faults
"""

import os
import random

import pytest
from killing import kill_repeatedly

SEED = int(os.environ.get("DASTREAM_SEED", "1"))


@pytest.fixture
def chance():
    print(f"DASTREAM_SEED={SEED}")
    return random.Random(SEED)


@pytest.mark.parametrize(("peer", "kills"), [("endpoint", 20), ("kinesalite", 20)])
def test_killed_again_and_again_the_lake_on_disk_has_everything_once(
    make_scene, runs, chance, peer, kills, request
):
    """Kinesis is that of the peer; KMS and S3 are always our endpoint's."""
    url = request.getfixturevalue(peer) if peer == "kinesalite" else None
    scene = make_scene(kinesis_url=url)

    print(kill_repeatedly(scene, runs, chance, kills))

    scene.make_temporary_files_old()
    scene.put(chance, 10)
    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()
    assert scene.temporary_files() == []


def test_killed_again_and_again_the_lake_on_s3_has_everything_once(
    make_scene, make_bucket, runs, chance
):
    scene = make_scene(f"{make_bucket()}?format=parquet")

    print(kill_repeatedly(scene, runs, chance, 20))

    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()
