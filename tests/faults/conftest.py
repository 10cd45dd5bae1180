import uuid

import pytest
from runs import Runs
from scene import Scene


@pytest.fixture
def runs(endpoint, tmp_path):
    started = Runs(tmp_path)
    yield started
    started.close()


@pytest.fixture
def make_bucket(aws):
    """Makes buckets; gives the URL of a place in each."""

    def make():
        name = f"lake-{uuid.uuid4()}"
        aws.client("s3").create_bucket(Bucket=name)
        return f"s3://{name}/activity"

    return make


@pytest.fixture
def make_scene(aws, tmp_path):
    made = []

    def make(lake_url=None, **how):
        made.append(Scene(aws, tmp_path, lake_url or f"file://{tmp_path}/lake", **how))
        return made[-1]

    yield make
    for scene in made:
        scene.close()
