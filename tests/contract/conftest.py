"""The peers on which the contract runs, and how a test says that one of them differs.

A test says what AWS does. `@pytest.mark.differs(kinesalite="what it does instead")` means that
the test fails there, and must: where it passes, the mark is wrong. With `run=False` it is not
tried, as it would end the peer. The marks become the list of differences in docs/local.md. The
peer `endpoint` is ours.
"""

import uuid
from contextlib import suppress

import boto3
import pytest
from botocore.config import Config
from contract_calls import wait_until_active


def pytest_configure(config):
    config.addinivalue_line("markers", "differs(peer=reason, run=True): not as AWS")


def pytest_collection_modifyitems(items):
    for item in items:
        peer = item.callspec.params.get("peer") if hasattr(item, "callspec") else None
        for mark in item.iter_markers("differs"):
            if reason := mark.kwargs.get(peer or "endpoint"):
                run = mark.kwargs.get("run", True)
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True, run=run))


@pytest.fixture(scope="module", params=["endpoint", "kinesalite"])
def peer(request):
    """The URL of a Kinesis."""
    started = request.getfixturevalue(request.param)
    return started if isinstance(started, str) else started.url


@pytest.fixture(scope="module")
def kinesis(peer):
    client = boto3.client(
        "kinesis",
        endpoint_url=peer,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(
            proxies={}, read_timeout=3, retries={"total_max_attempts": 1}, max_pool_connections=8
        ),
    )
    yield client
    client.close()


@pytest.fixture
def make(kinesis):
    """Makes streams, which go with the test."""
    made = []

    def make(shards=1):
        name = f"stream-{uuid.uuid4()}"
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        made.append(name)
        wait_until_active(kinesis, name)
        return name

    yield make
    for name in made:
        with suppress(kinesis.exceptions.ResourceNotFoundException):
            kinesis.delete_stream(StreamName=name)


@pytest.fixture
def stream(make):
    """The name of a stream with one shard."""
    return make()
