"""`dastream emit` killed at any moment, with everything around it in trouble."""

from __future__ import annotations

import os
import random
import time

import pytest

from emitting import (
    STREAM,
    Clients,
    Emit,
    Trouble,
    assert_everything_arrived,
    execute,
    kill_server,
)


@pytest.fixture
def stream(endpoint):
    kinesis = endpoint.client("kinesis")
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    yield STREAM
    kinesis.delete_stream(StreamName=STREAM)


@pytest.fixture
def trouble(endpoint):
    trouble = Trouble(endpoint)
    yield trouble
    trouble.close()


@pytest.fixture
def emit(server, stream, endpoint, trouble, tmp_path):
    key_id = endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]
    emit = Emit(
        server.log_directory,
        tmp_path / "state.sqlite",
        trouble.environment,
        key_id,
        mode=server.mode,
        stream=stream,
    )
    yield emit
    emit.close()


def test_nothing_is_lost_when_emitter_and_server_are_killed(server, endpoint, emit, trouble):
    seed = int(os.environ.get("DASTREAM_SEED", random.randrange(1_000_000)))
    print(f"DASTREAM_SEED={seed}")
    chance = random.Random(seed)
    execute(server, "CREATE TABLE t (a int, b text)")
    clients = Clients(server, 3000, seed=seed)
    emit.start()
    clients.start()
    for number in range(10):
        emit.wait_until_at_work()
        time.sleep(chance.uniform(0.0, 0.8))
        trouble.rate = chance.choice([0.0, 0.3, 0.8])
        trouble.is_kms_out = number == 4
        emit.kill()
        if number in (3, 7):
            kill_server(server)
        emit.start()
    clients.join()
    trouble.rate, trouble.is_kms_out = 0.0, False
    code, figures = emit.stop()
    assert (code, figures["gaps"]) == (0, 0), emit.errors.read_text()
    published, ids = assert_everything_arrived(endpoint, server.log_directory, server.mode)
    print(f"{ids} events, {published - ids} of them twice, trouble {trouble.count} times")
    assert trouble.count
