"""The program `dastream emit`, on a log that a test writes."""

import json
import os
import socket
import time
from collections import Counter

import pytest

from dastream.cli import emit as emit_module
from dastream.cli.app import run_app
from emitting import CLUSTER, STREAM, Emit, Trouble, published_events


@pytest.fixture
def log(tmp_path):
    directory = tmp_path / "data" / "log"
    directory.mkdir(parents=True)
    (directory.parent / "PG_VERSION").write_text("15\n")

    def write(line_num, text):
        row = {
            "timestamp": f"2026-01-02 03:04:{line_num:02}.000 UTC",
            "pid": 7,
            "session_id": "69573000.7",
            "line_num": line_num,
            "ps": "SELECT",
            "error_severity": "LOG",
            "message": f"duration: 1.000 ms  statement: {text}",
            "backend_type": "client backend",
        }
        with (directory / "postgresql.json").open("ab") as file:
            file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")

    write.directory = directory
    return write


@pytest.fixture
def stream(aws):
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    yield STREAM
    kinesis.delete_stream(StreamName=STREAM)


@pytest.fixture
def key_id(aws):
    return aws.client("kms").create_key()["KeyMetadata"]["KeyId"]


@pytest.fixture
def arguments(log, key_id, tmp_path):
    return [
        "emit",
        *("--postgres-log", str(log.directory), "--kms-key", key_id),
        *("--state", str(tmp_path / "state.sqlite"), "--start-at", "beginning"),
    ]


@pytest.fixture
def trouble(aws):
    trouble = Trouble(aws)
    yield trouble
    trouble.close()


@pytest.fixture
def process(log, stream, key_id, trouble, tmp_path):
    state = tmp_path / "state.sqlite"
    process = Emit(
        log.directory, state, trouble.environment, key_id, mode="statements", stream=stream
    )
    yield process
    process.close()


def texts(aws):
    return Counter(json.loads(event.entry)["commandText"] for event in published_events(aws))


def wait_until(holds, seconds_max=20):
    deadline = time.monotonic() + seconds_max
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_publishes_until_it_is_told_to_end(aws, log, process):
    log(1, "SELECT 1")
    process.start()
    wait_until(lambda: texts(aws) == {"SELECT 1": 1})
    log(2, "SELECT 2")
    code, figures = process.stop()
    assert code == 0
    assert texts(aws) == {"SELECT 1": 1, "SELECT 2": 1}
    assert (figures["statements"], figures["entries"], figures["lagBytes"]) == (2, 2, 0)
    assert figures["records"] == 2 + figures["heartbeats"]
    assert figures["malformedRows"] == figures["missingRows"] == figures["retries"] == 0
    assert process.errors.read_text().count("\n") == 1


def test_it_waits_for_a_key_service_that_is_out_of_reach_and_says_so(aws, log, process, trouble):
    trouble.is_kms_out = True
    log(1, "SELECT 'kept in the log'")
    process.start()
    wait_until(lambda: "kms" in process.errors.read_text(), seconds_max=60)
    assert texts(aws) == {}
    trouble.is_kms_out = False
    wait_until(lambda: texts(aws) == {"SELECT 'kept in the log'": 1}, seconds_max=60)
    assert process.stop()[0] == 0
    lines = process.errors.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("activity: kms: no data key (")
    assert "trying again" in lines[0]
    assert "SELECT" not in process.errors.read_text()


@pytest.fixture
def black_hole():
    """An address that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_network_that_swallows_everything_does_not_keep_it_from_ending(
    aws, log, key_id, black_hole, tmp_path
):
    environment = aws.environment | {"AWS_ENDPOINT_URL": black_hole}
    emit = Emit(log.directory, tmp_path / "s.sqlite", environment, key_id, mode="statements")
    log(1, "SELECT 'kept in the log'")
    emit.start()
    try:
        emit.wait_until_at_work()
        time.sleep(1)  # it waits for an answer now
        began = time.monotonic()
        code, figures = emit.stop()
    finally:
        emit.close()
    # One attempt, that it was in, and no more of them.
    assert time.monotonic() - began < 3 * emit_module.ANSWER_SECONDS_MAX
    assert (code, figures["statements"], figures["records"]) == (0, 1, 0)
    assert "published after the next start" in emit.errors.read_text()


def test_a_second_emitter_is_kept_out(process, arguments, stream, capsys):
    process.start()
    process.wait_until_at_work()
    assert run_app([*arguments, "--stream", stream]) == 2
    assert "another emitter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stream", "aws-rds-das-cluster-NONE"], "kinesis: the stream cannot be used"),
        (["--stream", STREAM, "--kms-key", "alias/none"], "kms: the key cannot be used"),
        (["--stream", "plain"], "resource id: the stream's name does not tell it"),
        (["--stream", "plain", "--resource-id", "database-1"], "resource id"),
        (["--stream", STREAM, "--log-timezone", "Nowhere"], "no time zone"),
        (["--stream", STREAM, "--suite", "0x0014"], "Invalid value"),
        (["--stream", "../plain", "--resource-id", CLUSTER], "stream"),
        ([], "Missing option '--stream'"),
        (["--stream", STREAM, "--postgres-log", "/nowhere"], "the directory does not exist"),
        (["--stream", STREAM, "--resource-id", "cluster-OTHER"], "another one is given"),
    ],
)
def test_what_cannot_work_ends_with_2_and_says_why(arguments, stream, capsys, options, words):
    assert run_app([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_directory_without_a_log_is_told(tmp_path, arguments, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "postgresql-15-main.log").write_text("LOG: started")
    options = ["--postgres-log", str(tmp_path / "empty"), "--stream", "aws-rds-das-cluster-NONE"]

    assert run_app([*arguments, *options]) == 2
    assert "notice: no JSON or CSV log is in --postgres-log" in capsys.readouterr().err


def test_times_that_are_not_certain_end_with_2_and_say_what_to_set(arguments, log, stream, capsys):
    log(1, "SELECT 1")
    path = log.directory / "postgresql.json"
    path.write_bytes(path.read_bytes().replace(b" UTC", b" IST"))
    assert run_app([*arguments, "--stream", stream]) == 2
    assert "hint: set log_timezone = 'UTC'" in capsys.readouterr().err


def test_state_in_a_directory_that_is_not_there_ends_with_2(arguments, stream, tmp_path, capsys):
    """A new state would begin at the end of the log, and what was logged before be left out."""
    options = ["--stream", stream, "--state", str(tmp_path / "mistyped" / "state.sqlite")]

    assert run_app([*arguments, *options]) == 2

    assert "hint: its directory is not there" in capsys.readouterr().err
    assert not (tmp_path / "mistyped").exists()


def test_what_the_log_does_not_tell_has_defaults(log, tmp_path, monkeypatch):
    assert emit_module._version(log.directory) == "15"
    assert emit_module._version(tmp_path) == ""
    assert emit_module._own_address().count(".") == 3
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert emit_module._default_state("s") == tmp_path / "dastream" / "emit-s.sqlite"
    assert os.environ["XDG_STATE_HOME"] == str(tmp_path)
