"""Kills the endpoint, the emitter and PostgreSQL at random while clients send statements.

    python bench/soak_emit.py [--statements 20000] [--kills 50] [--seed N] [--flavour pgaudit]

Afterwards everything that PostgreSQL has logged must be in the stream, what is there twice must
have one event id, and nothing else may be there. Ends with 1 and says what differs, otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dastream.local.postgres import PostgresServer
from emitting import (
    STREAM,
    Clients,
    Emit,
    Trouble,
    assert_everything_arrived,
    execute,
    kill_server,
)

SERVE = """
import sys, threading
from pathlib import Path
from dastream.local.endpoint import Endpoint
with Endpoint(port=int(sys.argv[1]), directory=Path(sys.argv[2])):
    threading.Event().wait()
"""


class EndpointProcess:
    """The local endpoint in a process of its own, which keeps its state in a directory."""

    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._directory = directory
        self.url = f"http://127.0.0.1:{self._port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "soak",
            "AWS_SECRET_ACCESS_KEY": "soak",
            "AWS_REGION": "us-east-1",
        }
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self._port), self._directory]
        )
        while True:
            assert self._process.poll() is None, "the endpoint does not start"
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def kill(self):
        self._process.kill()
        self._process.wait()

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="soak",
            aws_secret_access_key="soak",
        )


def soak(directory, arguments):
    chance = random.Random(arguments.seed)
    endpoint = EndpointProcess(directory / "endpoint")
    endpoint.client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
    key_id = endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]
    trouble = Trouble(endpoint, arguments.seed)
    with PostgresServer(flavour=arguments.flavour) as server:
        state = directory / "state.sqlite"
        emit = Emit(server.log_directory, state, trouble.environment, key_id, mode=server.mode)
        try:
            clients = begin(server, emit, arguments)
            kills = kill_until_done(clients, endpoint, emit, server, trouble, chance, arguments)
            code, figures = emit.stop()
            assert code == 0, emit.errors.read_text()
            published, ids = assert_everything_arrived(endpoint, server.log_directory, server.mode)
        finally:
            emit.close()
            trouble.close()
            endpoint.kill()
    return {
        "statements": sum(clients.sent.values()),
        "kills": kills,
        "trouble": trouble.count,
        "events": ids,
        "publishedTwice": published - ids,
        "last": figures,
    }


def begin(server, emit, arguments):
    execute(server, "CREATE TABLE t (a int, b text)")
    clients = Clients(server, arguments.statements, seed=arguments.seed)
    emit.start()
    emit.wait_until_at_work()
    clients.start()
    return clients


def kill_until_done(clients, endpoint, emit, server, trouble, chance, arguments):
    kills = {"emitter": 0, "endpoint": 0, "postgresql": 0}
    while sum(kills.values()) < arguments.kills or clients.are_busy:
        time.sleep(chance.uniform(0.0, 1.5))
        trouble.rate = chance.choice([0.0, 0.2, 0.6])
        victim = chance.choice(list(kills))
        if sum(kills.values()) < arguments.kills:
            kills[victim] += 1
            kill(victim, endpoint, emit, server)
    clients.join()
    trouble.rate = 0.0
    return kills


def kill(victim, endpoint, emit, server):
    if victim == "endpoint":
        endpoint.kill()
        endpoint.start()
    elif victim == "emitter":
        emit.kill()
        emit.start()
        emit.wait_until_at_work()
    else:
        kill_server(server)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--statements", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--flavour", default=None)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        done = soak(Path(directory), arguments)
    print(json.dumps(done | {"seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
