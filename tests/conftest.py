"""Settings and fixtures that all tests share."""

import os
import uuid
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from accelerators import accelerated
from dastream import clients
from dastream.format.primitives import ACCELERATORS
from tables import make_table

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


@pytest.fixture(params=[(), ACCELERATORS], ids=["pure", "fast"])
def with_and_without_accelerators(request):
    """Each test of a module twice, by `pytestmark`."""
    yield from accelerated(request.param)


@pytest.fixture(scope="session")
def descriptions():
    """What botocore knows of the services is read once, not again for the session of each test."""
    from botocore.loaders import JSONFileLoader, Loader

    files = JSONFileLoader()
    files.load_file = cache(files.load_file)
    Loader.FILE_LOADER_CLASS = staticmethod(lambda: files)
    yield
    Loader.FILE_LOADER_CLASS = JSONFileLoader


@pytest.fixture
def clean_environment(monkeypatch, tmp_path, descriptions):
    """Nothing of the developer's own settings and credentials, and a home that goes again."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "DASTREAM_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clients.session.cache_clear()  # it has the credentials that it found


@pytest.fixture(scope="module")
def endpoint():
    """The embedded AWS peer, empty for each module."""
    from dastream.local.endpoint import Endpoint

    with Endpoint() as running:
        yield running


@pytest.fixture(scope="session")
def kinesalite():
    """The URL of a kinesalite, the other peer beside our endpoint."""
    import kinesalite

    with kinesalite.serving() as url:
        yield url


@pytest.fixture
def aws(endpoint, clean_environment, monkeypatch):
    """The endpoint, found by every boto3 client that is opened during the test."""
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return endpoint


@pytest.fixture
def table(aws):
    """The name of a new table for checkpoints on the endpoint."""
    from dastream.checkpoint import open_checkpoints
    from dastream.errors import ConfigError

    name = f"checkpoints-{uuid.uuid4()}"
    with pytest.raises(ConfigError) as missing:
        open_checkpoints(f"dynamodb://{name}").progress("stream")
    return make_table(aws.client("dynamodb"), missing.value.hint)
