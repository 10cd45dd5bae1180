import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import support
from dastream.aws.activity_stream import ActivityStreams
from dastream.cli.app import run_app

ALIVE = support.HEARTBEAT
ORDERS = support.entry("SELECT *\n  FROM orders", paramList=["42"])
FAILED = support.entry("SELECT * FROM nowhere", exitCode="42P01", errorMessage="no such relation")
SERVICE = support.entry("SELECT 1", dbUserName="rdsadmin")


class Stream:
    """An activity stream on the local endpoint, with one shard."""

    def __init__(self, aws, name, resource_id, *, is_there=False):
        self.name = name
        self._kinesis = aws.client("kinesis")
        if not is_there:
            self._kinesis.create_stream(StreamName=name, ShardCount=1)
        self._data_key = aws.client("kms").generate_data_key(
            KeyId=aws.client("kms").create_key()["KeyMetadata"]["KeyId"],
            EncryptionContext={"aws:rds:dbc-id": resource_id},
            KeySpec="AES_256",
        )

    def put(self, *entries):
        data_key, key = self._data_key["Plaintext"], self._data_key["CiphertextBlob"]
        self.put_bytes(support.sealed(entries, data_key=data_key, key=key))

    def put_bytes(self, data):
        self._kinesis.put_record(StreamName=self.name, Data=data, PartitionKey="x")

    def delete(self):
        self._kinesis.delete_stream(StreamName=self.name)


@pytest.fixture
def stream(aws):
    stream = Stream(aws, support.STREAM, support.CLUSTER)
    yield stream
    stream.delete()


@pytest.fixture
def tail(capsys):
    def run(*arguments, stream=support.CLUSTER):
        code = run_app(["tail", stream, "--start", "trim_horizon", "--utc", *arguments])
        return code, *capsys.readouterr()

    return run


def test_events_are_a_line_each_without_heartbeats_and_service_users(stream, tail):
    stream.put(ALIVE, ORDERS, SERVICE)
    stream.put(FAILED)
    code, out, err = tail("--limit", "2")
    assert code == 0
    assert [row.split("\t") for row in out.splitlines()] == [
        ["2026-11-23T07:28:04.920+00:00", "davide", "postgres", "SELECT", "public.my_table", "10",
         "20.104", "ok", "", "SELECT * ↵ FROM orders", '["42"]'],
        ["2026-11-23T07:28:04.920+00:00", "davide", "postgres", "SELECT", "public.my_table", "10",
         "20.104", "failed", "42P01 no such relation", "SELECT * FROM nowhere", ""],
    ]  # fmt: skip
    assert err == (
        f"{support.STREAM}: reading all that it holds, ctrl-c ends\n"
        "2 events shown · dropped: 1 by heartbeats, 1 by service-users\n"
    )


def test_all_applies_no_transforms(stream, tail):
    stream.put(ALIVE, SERVICE)
    _, out, _ = tail("--all", "--limit", "2")
    heartbeat, service = out.splitlines()
    assert heartbeat.split("\t")[3] == "heartbeat"
    assert service.split("\t")[1] == "rdsadmin"


def test_json_is_the_line_that_a_delivery_would_have(stream, tail):
    stream.put(ORDERS)
    _, out, _ = tail("--json", "--limit", "1")
    shown = json.loads(out)
    assert shown["clusterId"] == support.CLUSTER
    assert shown["sequenceNumber"]
    assert {name: shown[name] for name in ORDERS} == ORDERS


@pytest.mark.parametrize(
    "name",
    [support.CLUSTER, support.STREAM, f"kinesis://{support.STREAM}",
     f"kinesis://{support.STREAM}?region=us-east-1"],
)  # fmt: skip
def test_a_stream_is_named_by_resource_id_name_or_url(stream, tail, name):
    stream.put(ORDERS)
    code, out, _ = tail("--limit", "1", stream=name)
    assert (code, out.count("\n")) == (0, 1)


def test_a_stream_is_named_by_its_cluster_as_for_stream_status(aws, tail):
    rds = aws.client("rds")
    cluster = rds.create_db_cluster(
        DBClusterIdentifier="orders",
        Engine="aurora-postgresql",
        MasterUsername="davide",
        MasterUserPassword="not-used-by-anything",
    )["DBCluster"]
    code, _, err = tail(stream="orders")
    assert code == 2
    assert "tail: the activity stream of orders is stopped\nhint: dastream stream start" in err
    key = aws.client("kms").create_key()["KeyMetadata"]["KeyId"]
    ActivityStreams(rds).start("orders", kms_key_id=key, mode="async", apply_immediately=True)
    name = ActivityStreams(rds).wait("orders", "started").stream
    stream = Stream(aws, name, cluster["DbClusterResourceId"], is_there=True)
    for named in ("orders", cluster["DBClusterArn"], cluster["DbClusterResourceId"]):
        stream.put(ORDERS)
        code, out, err = tail("--limit", "1", stream=named)
        assert (code, out.count("\n")) == (0, 1)
        assert err.startswith(f"{name}: reading ")
    rds.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)


def test_a_stream_of_another_name_needs_the_resource_id(aws, tail):
    stream = Stream(aws, "copied", support.CLUSTER)
    stream.put(ORDERS)
    code, _, err = tail(stream="copied")
    assert code == 2
    assert "--resource-id" in err
    code, out, _ = tail("--resource-id", support.CLUSTER, "--limit", "1", stream="copied")
    assert (code, out.count("\n")) == (0, 1)
    stream.delete()


def test_a_limit_ends_in_the_middle_of_a_record(stream, tail):
    stream.put(*[ORDERS] * 10)
    code, out, err = tail("--limit", "3")
    assert (code, out.count("\n")) == (0, 3)
    assert "3 events shown" in err


def test_a_dead_letter_is_told_with_its_position_and_the_exit_code_is_3(stream, tail):
    stream.put_bytes(b"secret")
    stream.put(ORDERS)
    code, out, err = tail("--limit", "1")
    assert code == 3
    assert out.count("\n") == 1
    assert f"dead letter at {support.SHARD} " in err
    assert "EnvelopeError: " in err
    assert err.endswith("\n1 event shown · 1 dead letter\n")
    assert "secret" not in out + err


def test_a_table_on_a_terminal(stream, tail, monkeypatch):
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "120", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    stream.put(ORDERS, FAILED | {"commandText": "SELECT '\x1b[2J'"})
    _, out, _ = tail("--limit", "2")
    assert "\x1b" not in out
    assert 'SELECT * ↵ FROM orders  ["42"]' in out
    assert "✗ SELECT" in out
    assert "╰ 42P01 no such relation" in out


def test_a_table_of_120_columns_leaves_the_statement_a_third_of_them(stream, tail, monkeypatch):
    for name, value in {
        "TTY_COMPATIBLE": "1",
        "COLUMNS": "120",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    stream.put(ORDERS | {"commandText": "x" * 99, "paramList": []})
    _, out, _ = tail("--limit", "1")
    assert out.splitlines()[-1].count("x") >= 40


def test_a_start_may_be_a_time(stream, capsys):
    stream.put(ORDERS)
    for start in ("15m", "2026-01-01T00:00:00Z", "TRIM_HORIZON"):
        assert run_app(["tail", support.CLUSTER, "--start", start, "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 3
    assert "reading from 2026-01-01T00:00:00+00:00 on" in err


def test_a_start_in_the_url_holds_unless_the_option_says_otherwise(stream, capsys):
    stream.put(ORDERS)
    url = f"kinesis://{support.STREAM}?start=trim_horizon"
    assert run_app(["tail", url, "--limit", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["x", "--start", "soon"], ["x", "--limit", "0"], ["ftp://x"], []]
)
def test_wrong_usage_is_exit_code_2(aws, arguments):
    assert run_app(["tail", *arguments]) == 2


def test_a_stream_that_is_not_there_is_exit_code_1(aws, tail):
    code, _, err = tail(stream="cluster-NOSUCH")
    assert code == 1
    assert "there is no stream" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_view_cleanly(stream, number):
    process = subprocess.Popen(
        [sys.executable, "-c", "from dastream.cli import main; main()", "tail", support.CLUSTER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    shown = threading.Event()
    rows: list[bytes] = []

    def read():
        for row in process.stdout:
            rows.append(row)
            shown.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        deadline = time.monotonic() + 30
        while not shown.is_set() and time.monotonic() < deadline:
            stream.put(ORDERS)  # again and again: a view from `latest` on has missed the first
            shown.wait(0.2)
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        reader.join()
    err = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert rows
    assert f"\n{len(rows)} event{'s' if len(rows) > 1 else ''} shown" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_the_view(stream):
    stream.put(*[ORDERS] * 10)
    with subprocess.Popen(
        [sys.executable, "-c", "from dastream.cli import main; main()",
         "tail", support.CLUSTER, "--start", "trim_horizon"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as process:  # fmt: skip
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            stream.put(ORDERS)
            time.sleep(0.1)
        process.kill()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode != -signal.SIGKILL
