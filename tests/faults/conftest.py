import uuid

import pytest
from runs import Forks, Runs
from scene import Scene


@pytest.fixture(scope="session")
def forks():
    started = Forks()
    yield started
    started.close()


@pytest.fixture
def runs(forks, tmp_path):
    return Runs(forks, tmp_path)


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

    def make(lake_url=None, *, state=None, **how):
        lake_url = lake_url or f"file://{tmp_path}/lake"
        made.append(Scene(aws, state or tmp_path / "state.sqlite", lake_url, **how))
        return made[-1]

    yield make
    for scene in made:
        scene.close()
