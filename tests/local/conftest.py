from __future__ import annotations

import uuid

import pytest

from dastream.local.endpoint import Endpoint


# Of a module, not of the session: a process has one endpoint at a time, other tests want theirs,
# and a start takes milliseconds.
@pytest.fixture(scope="module")
def endpoint():
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def stream(endpoint):
    """The name of a new Kinesis stream with two shards."""
    name = f"stream-{uuid.uuid4()}"
    endpoint.client("kinesis").create_stream(StreamName=name, ShardCount=2)
    return name


@pytest.fixture
def bucket(endpoint):
    """The name of a new bucket."""
    name = f"bucket-{uuid.uuid4()}"
    endpoint.client("s3").create_bucket(Bucket=name)
    return name
