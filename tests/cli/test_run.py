import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from run_streams import Stream, expected, last_counters, statements, wait_until

from dastream.checkpoint import SqliteCheckpoints
from dastream.cli.app import run_app
from dastream.storage import open_storage
from support import CLUSTER, HEARTBEAT, STREAM, entry, gunzip_lines

GARBAGE = b"no envelope"


def run_once(stream, lake, state, *options):
    return run_app(
        ["run", "--source", stream.url, "--sink", lake, "--state", state, "--once", *options]
    )


def test_once_delivers_every_shard_to_its_tip(stream, lake, state, capsys):
    stream.put_statements(range(10))
    stream.put_entries(HEARTBEAT)

    assert run_once(stream, lake, state) == 0

    assert statements(lake) == expected(range(10))
    counters = last_counters(capsys.readouterr().err)
    assert {name: counters[name] for name in ("records", "events", "dropped", "deadLetters")} == {
        "records": 11,
        "events": 10,
        "dropped": {"heartbeats": 1},
        "deadLetters": {},
    }
    # The first record of each batch is opened twice: also to see that the key is the right one.
    assert (counters["keyHits"], counters["keyMisses"]) == (12, 1)


def test_next_run_goes_on_where_the_last_one_ended(stream, lake, state):
    stream.put_statements(range(5))
    assert run_once(stream, lake, state) == 0
    stream.put_statements(range(5, 10))
    assert run_once(stream, lake, state) == 0
    assert run_once(stream, lake, state) == 0

    assert statements(lake) == expected(range(10))


def test_lost_state_is_told_and_nothing_is_delivered_again(stream, lake, state, tmp_path, capsys):
    stream.put_statements(range(5))
    assert run_once(stream, lake, state) == 0
    (tmp_path / "state.sqlite").unlink()
    capsys.readouterr()

    assert run_once(stream, lake, state) == 0

    assert statements(lake) == expected(range(5))
    first, *_, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert first == {
        "notice": f"{STREAM}: the sinks hold more than the state tells; going on where they end"
    }
    assert (last["events"], last["eventsHeld"]) == (0, 0)


def test_stream_that_was_made_again_is_read_from_its_start(aws, lake, state, capsys):
    for numbers in (range(3), range(3, 6)):
        stream = Stream(aws)
        stream.put_statements(numbers)
        assert run_once(stream, lake, state) == 0
        stream.kinesis.delete_stream(StreamName=stream.name)

    assert statements(lake) == expected(range(6))
    assert "was deleted and made again" in capsys.readouterr().err
    (notice,) = open_storage(lake).list("_dastream/notices/")
    assert f"cluster={CLUSTER}/recreated-" in notice.key


def test_silence_is_told_also_when_no_record_arrives_at_all(stream, lake, state, monkeypatch):
    command = [sys.executable, "-m", "dastream", "run", "--source", stream.url, "--sink", lake]
    options = ["--state", state, "--silence-seconds-max", "0.5", "--flush-age-seconds-max", "0.1"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as running:
        line = running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        *_, last = running.stderr.read().splitlines()

    assert json.loads(line)["notice"].startswith("stream: nothing has arrived since 20")
    assert json.loads(last)["troubles"] == ["stream"]
    assert running.returncode == 0


def test_run_goes_on_when_nobody_reads_what_it_tells(aws, lake, state):
    for numbers in (range(3), range(3, 6)):  # the second time there is something to tell
        stream = Stream(aws)
        stream.put_statements(numbers)
        options = ["--source", stream.url, "--sink", lake, "--state", state, "--once"]
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "dastream", "run", *options]
        subprocess.run(command, stderr=writer, check=True)
        os.close(writer)
        stream.kinesis.delete_stream(StreamName=stream.name)

    assert statements(lake) == expected(range(6))


def test_dead_letters_end_with_3_and_keep_their_bytes(stream, lake, state, capsys):
    stream.put_statements(range(2))
    stream.put(GARBAGE)

    assert run_once(stream, lake, state) == 3

    assert statements(lake) == expected(range(2))
    assert last_counters(capsys.readouterr().err)["deadLetters"] == {"EnvelopeError": 1}
    storage = open_storage(lake)
    (item,) = storage.list("dead-letter/")
    (letter,) = gunzip_lines(storage.get(item.key))
    assert json.loads(letter)["data"] == "bm8gZW52ZWxvcGU="


def test_several_sinks_get_the_same(stream, lake, state, aws):
    aws.client("s3").create_bucket(Bucket="a-lake")
    stream.put_statements(range(4))

    assert run_once(stream, lake, state, "--sink", "s3://a-lake/activity") == 0

    assert statements("s3://a-lake/activity") == statements(lake) == expected(range(4))


def test_transforms_can_be_chosen(stream, lake, state):
    stream.put_entries(HEARTBEAT, entry("SELECT 1", dbUserName="rdsadmin"))

    assert run_once(stream, lake, state, "--transforms", "heartbeats") == 0

    assert statements(lake) == expected([1])


def test_stream_of_another_name_needs_the_resource_id(aws, lake, state, capsys):
    stream = Stream(aws, "copied")
    stream.put_statements(range(2))

    assert run_once(stream, lake, state) == 2
    assert "--resource-id" in capsys.readouterr().err
    assert run_once(stream, lake, state, "--resource-id", CLUSTER) == 0
    assert statements(lake) == expected(range(2))


def test_state_lies_in_the_users_state_directory_by_default(stream, lake, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "100% mine"))
    stream.put_statements(range(2))

    assert run_app(["run", "--source", stream.url, "--sink", lake, "--once"]) == 0

    directory = tmp_path / "100% mine" / "dastream"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (file,) = directory.glob("*.sqlite")
    store = SqliteCheckpoints(file)
    assert store.progress(STREAM)
    store.close()


def test_another_sink_gets_all_of_the_stream_by_default(stream, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stream.put_statements(range(3))

    for lake in (tmp_path / "one", tmp_path / "two"):
        assert run_app(["run", "--source", stream.url, "--sink", lake.as_uri(), "--once"]) == 0
        assert statements(lake.as_uri()) == expected(range(3))


def test_second_consumer_of_the_state_is_refused(stream, lake, state, tmp_path, capsys):
    held = SqliteCheckpoints(tmp_path / "state.sqlite")

    assert run_once(stream, lake, state) == 2

    assert "another consumer uses this file" in capsys.readouterr().err
    held.close()


def test_stream_that_is_not_there_ends_with_1(aws, lake, state, capsys):
    missing = ["run", "--source", "kinesis://aws-rds-das-cluster-NONE", "--sink", lake]

    assert run_app([*missing, "--state", state]) == 1

    assert capsys.readouterr().err.splitlines()[-2:] == [
        "error: kinesis: there is no stream aws-rds-das-cluster-NONE here",
        "hint: check the name and the region; an activity stream that was stopped is deleted",
    ]


def test_bucket_that_is_not_there_ends_with_2_and_once_it_is_the_next_run_delivers(
    stream, lake, state, aws, capsys
):
    stream.put_statements(range(3))

    assert run_once(stream, "s3://not-there-yet", state) == 2
    assert "error: s3: there is no bucket not-there-yet (NoSuchBucket)" in capsys.readouterr().err

    aws.client("s3").create_bucket(Bucket="not-there-yet")
    assert run_once(stream, "s3://not-there-yet", state) == 0
    assert statements("s3://not-there-yet") == expected(range(3))


@pytest.mark.parametrize(
    "options",
    [
        ["--source", "file:///x", "--sink", "file:///tmp/x"],
        ["--source", f"kinesis://{STREAM}", "--sink", "ftp://x"],
        ["--source", f"kinesis://{STREAM}", "--sink", "file:///tmp/x", "--state", "s3://b"],
        ["--source", f"kinesis://{STREAM}", "--sink", "file:///tmp/x", "--transforms", "no-such"],
        ["--source", f"kinesis://{STREAM}", "--sink", "file:///tmp/x", "--flush-bytes-max", "0"],
        ["--source", f"kinesis://{STREAM}"],
        ["--sink", "file:///tmp/x"],
    ],
)
def test_wrong_usage_ends_with_2(aws, options, capsys):
    assert run_app(["run", *options]) == 2
    assert "error" in capsys.readouterr().err.lower()


def test_wrong_setting_ends_with_2(stream, lake, state, monkeypatch, capsys):
    monkeypatch.setenv("DASTREAM_KEY_CACHE_KEYS_MAX", "many")

    assert run_once(stream, lake, state) == 2
    assert "DASTREAM_KEY_CACHE_KEYS_MAX" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_delivers_what_was_read_and_ends_with_0(stream, lake, state, tmp_path, number):
    """The batch ends after the second record of the shard, so the third one has been read too."""
    for statement in (1, 3, 5):
        stream.put_entries(entry(f"SELECT {statement}"))
    arguments = ["--source", stream.url, "--sink", lake, "--state", state]
    limits = ["--flush-bytes-max", "1500", "--flush-age-seconds-max", "3600"]

    with subprocess.Popen(
        [sys.executable, "-m", "dastream", "run", *arguments, *limits],
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as running:
        wait_until(lambda: list(Path(tmp_path, "lake").glob("events/**/*.gz")))
        assert statements(lake) == expected([1, 3])
        running.send_signal(number)
        err = running.stderr.read().decode()

    assert running.returncode == 0
    assert statements(lake) == expected([1, 3, 5])
    assert last_counters(err)["events"] == 3
