"""The whole system kept up: `dastream local`, and its activity stream started and stopped."""

import logging
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from dastream.aws.activity_stream import ActivityStreams
from dastream.errors import ServiceError
from dastream.lake.search import Query, Search
from dastream.local.system import CLUSTER, LocalSystem
from servers import wait_until_logged


@pytest.fixture(scope="module")
def system():
    with LocalSystem(flavour="embedded", delivery_seconds=0.2) as system:
        yield system


def statements(system, way):
    damage = []
    search = Search(system.storage(way), Query(), on_damage=damage.append)
    found = {match.event.columns.statement for match in search}
    assert not damage
    return found


def execute(system, text):
    with psycopg.connect(system.server.dsn(), autocommit=True) as connection:
        connection.execute(text)


def test_what_happens_while_the_stream_is_started_is_delivered_in_both_ways(system):
    execute(system, "SELECT 'before'")
    wait_until_logged(system.server.log_directory, "SELECT 'before'")
    status = system.start_activity_stream()
    assert status.status == "started"
    assert status.stream == f"aws-rds-das-{status.resource_id}"
    execute(system, "SELECT 'during'")
    assert system.stop_activity_stream().status == "stopped"
    execute(system, "SELECT 'after'")
    for way in ("firehose", "lake"):
        found = statements(system, way)
        assert "SELECT 'during'" in found
        assert not found & {"SELECT 'before'", "SELECT 'after'"}


def test_a_stream_that_is_started_again_is_delivered_again(system):
    system.start_activity_stream()
    execute(system, "SELECT 'again'")
    system.stop_activity_stream()
    for way in ("firehose", "lake"):
        assert "SELECT 'again'" in statements(system, way)


def test_the_wrong_state_is_refused_with_a_hint(system):
    streams = ActivityStreams(system.endpoint.client("rds"))
    with pytest.raises(ServiceError, match="it is stopped already") as caught:
        streams.stop(CLUSTER, apply_immediately=True)
    assert "stream status" in caught.value.hint


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def environment_of(path):
    lines = path.read_text().splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
    return {name: value.strip("'") for name, value in pairs}


def test_local_serves_until_it_is_told_to_end(tmp_path, clean_environment):
    directory = tmp_path / "here"
    program = [sys.executable, "-m", "dastream"]
    with subprocess.Popen(
        [*program, "local", "--dir", directory, "--postgres", "embedded"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as local:
        wait_for((directory / "environment").exists)
        assert (directory / "environment").stat().st_mode & 0o777 == 0o600
        environment = os.environ | environment_of(directory / "environment")
        server = {
            name[2:].lower(): value for name, value in environment.items() if name[:2] == "PG"
        }
        server["dbname"] = server.pop("database")
        with psycopg.connect(**server, autocommit=True) as connection:
            connection.execute("SELECT 'typed by somebody'")
        status = subprocess.run(
            [*program, "stream", "status", CLUSTER],
            env=environment,
            capture_output=True,
            check=True,
        )
        assert environment["DASTREAM_STREAM"].encode() in status.stdout
        local.send_signal(signal.SIGTERM)
        output, errors = local.communicate(timeout=60)
    assert local.returncode == 0, errors
    assert environment["AWS_ENDPOINT_URL"].encode() in output
    found = subprocess.run(
        [*program, "search", directory / "lake", "--text", "typed by"],
        capture_output=True,
        check=True,
    )
    assert b"typed by somebody" in found.stdout


def test_state_is_there_the_next_time(tmp_path, system):
    del system  # a process has one endpoint at a time: this test's run in others
    program = [sys.executable, "-m", "dastream"]
    streams = []
    for text in ("SELECT 'the first time'", "SELECT 'the next time'"):
        with subprocess.Popen(
            [*program, "local", "--dir", tmp_path, "--postgres", "embedded"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as local:
            wait_for((tmp_path / "environment").exists)
            environment = os.environ | environment_of(tmp_path / "environment")
            subprocess.run(
                [sys.executable, "-c", f"import psycopg; psycopg.connect().execute({text!r})"],
                env=environment,
                check=True,
            )
            streams.append(environment["DASTREAM_STREAM"])
            (tmp_path / "environment").unlink()
            local.send_signal(signal.SIGTERM)
            _, errors = local.communicate(timeout=60)
        assert local.returncode == 0, errors
    assert streams[0] == streams[1]
    for way in ("lake", "firehose"):
        found = subprocess.run(
            [*program, "search", tmp_path / way, "--text", "time'", "--json"],
            capture_output=True,
            check=True,
        )
        assert found.stdout.count(b"SELECT 'the first time'") == 1
        assert found.stdout.count(b"SELECT 'the next time'") == 1


def test_nothing_secret_is_logged_at_debug_level(system, caplog):
    caplog.set_level("DEBUG")
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel("DEBUG")
    system.start_activity_stream()
    execute(system, "SELECT 'a text that is nobody''s business'")
    system.stop_activity_stream()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) > 100
    for word in (system.server.password, "nobody", '"Plaintext"'):
        assert not [message for message in messages if word in message], word
