"""From SQL on a real server to the entries in the stream."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from types import SimpleNamespace

import psycopg
import pytest

from dastream.activity import publisher as publisher_module
from dastream.activity.emitter import Emitter
from dastream.activity.redact import MASK
from dastream.decode import decode_record
from dastream.errors import ConfigError, SinkError
from dastream.keys import kms_unwrap
from dastream.record import Record
from servers import wait_until_logged

CLUSTER = "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SECRET = "tr0ub4dor-and-3"


class Kinesis:
    """Keeps what is put, and refuses while `broken` is set."""

    def __init__(self):
        self.envelopes = []
        self.broken = threading.Event()

    def put_records(self, *, StreamName, Records):  # noqa: N803 - boto3's names
        if self.broken.is_set():
            return {"Records": [{"ErrorCode": "InternalFailure"} for _ in Records]}
        self.envelopes += [json.loads(record["Data"]) for record in Records]
        return {"Records": [{} for _ in Records]}


class Kms:
    """Gives data keys, and keeps them to open what was sealed with them."""

    def __init__(self):
        self.data_keys = {}

    def generate_data_key(self, **_):
        blob = os.urandom(8)
        self.data_keys[blob] = os.urandom(32)
        return {"CiphertextBlob": blob, "Plaintext": self.data_keys[blob]}

    def unwrap(self, key, context):
        assert context == {"aws:rds:dbc-id": CLUSTER}
        return self.data_keys[key]


@pytest.fixture
def published(server):
    """Starts an emitter on peers in memory, and reads what it has published."""
    kinesis, kms = Kinesis(), Kms()

    def start(**options):
        peers.emitter = Emitter(
            server.log_directory,
            **{
                "stream": "s",
                "resource_id": CLUSTER,
                "instance_id": "db-A",
                "kms_key_id": "k",
                "kinesis": kinesis,
                "kms": kms,
                "mode": server.mode,
                "server_version": server.version,
            }
            | options,
        )
        peers.emitter.start()
        return peers.emitter

    def events():
        records = [Record(json.dumps(envelope).encode()) for envelope in kinesis.envelopes]
        unwrap = kms.unwrap
        return [e for one in records for e in decode_record(one, unwrap, resource_id=CLUSTER)]

    def texts(beginning="SELECT '"):
        entries = [json.loads(event.entry) for event in events()]
        found = [entry.get("commandText") or "" for entry in entries]
        return [text for text in found if text.startswith(beginning)]

    peers = SimpleNamespace(
        start=start, events=events, texts=texts, kinesis=kinesis, kms=kms, emitter=None
    )
    yield peers
    if peers.emitter is not None:
        peers.emitter.stop()


def wait_until(holds, seconds_max=10):
    deadline = time.monotonic() + seconds_max
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def execute(server, *statements):
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_what_is_executed_before_stop_is_published_once(server, published):
    sent = [f"SELECT 'statement {number}'" for number in range(500)]
    emitter = published.start()
    execute(server, *sent)
    emitter.stop()
    assert published.texts() == sent
    assert emitter.statements >= 500
    assert emitter.counters.entries["SELECT"] >= 500
    assert (emitter.malformed, emitter.cut_lines, emitter.counters.cut) == (0, 0, 0)


def test_what_was_logged_before_is_published_if_asked_for(server, published):
    execute(server, "SELECT 'earlier'")
    wait_until_logged(server.log_directory, "SELECT 'earlier'")
    published.start().stop()
    assert published.texts() == []
    published.start(start_at="beginning").stop()
    assert published.texts("SELECT 'earlier") == ["SELECT 'earlier'"]


def test_events_are_published_while_statements_come(server, published):
    published.start(record_age_seconds_max=0.1)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for number in range(3):
            connection.execute(f"SELECT 'live {number}'")
            wait_until(lambda: len(published.texts()) == number + 1)  # noqa: B023 - waited for here


def test_heartbeats_come_at_their_interval(published):
    began = time.monotonic()
    emitter = published.start(heartbeat_seconds=0.1)
    wait_until(lambda: emitter.counters.heartbeats >= 4)
    emitter.stop()
    seconds = time.monotonic() - began
    beats = [event for event in published.events() if event.kind == "heartbeat"]
    assert 4 <= len(beats) == emitter.counters.heartbeats <= 1 + seconds / 0.1
    assert json.loads(beats[0].entry) == {"type": "heartbeat"}


def test_rotation_loses_and_repeats_nothing(server, published):
    sent = []
    emitter = published.start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for number in range(30):
            sent.append(f"SELECT 'rotated {number}'")
            connection.execute(sent[-1])
            if number in (5, 20):
                time.sleep(1.1)  # the names of the files have seconds
                connection.execute("/* rotate */ SELECT pg_rotate_logfile()")
    emitter.stop()
    assert published.texts() == sent
    assert len(list(server.log_directory.glob("*.json"))) >= 3


def test_statements_of_many_sessions_are_published_once(server, published):
    emitter = published.start()

    def client(name):
        execute(server, *(f"SELECT '{name} {number}'" for number in range(50)))

    threads = [threading.Thread(target=client, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emitter.stop()
    expected = [f"SELECT '{name} {number}'" for name in "abcdef" for number in range(50)]
    assert sorted(published.texts()) == sorted(expected)


def test_an_outage_of_the_stream_delays_and_loses_nothing(server, published, monkeypatch):
    monkeypatch.setattr(publisher_module, "WAIT_SECONDS_MAX", 0.05)
    published.kinesis.broken.set()
    emitter = published.start(heartbeat_seconds=0.1)
    execute(server, "SELECT 'in the outage'")
    wait_until(lambda: emitter.counters.retries > 3)
    assert published.texts() == []
    published.kinesis.broken.clear()
    execute(server, "SELECT 'after'")
    emitter.stop()
    assert published.texts() == ["SELECT 'in the outage'", "SELECT 'after'"]


def test_stop_raises_what_kept_the_emitter_from_publishing(published, monkeypatch):
    monkeypatch.setattr(publisher_module, "WAIT_SECONDS_MAX", 0.01)
    published.kinesis.broken.set()
    emitter = published.start()
    wait_until(lambda: emitter.counters.retries > 0)
    with pytest.raises(SinkError):
        emitter.stop()
    published.emitter = None


def test_a_resource_that_has_no_context_is_refused_at_once(published):
    with pytest.raises(ConfigError):
        published.start(resource_id="database-1")


def test_the_password_of_a_role_is_in_no_payload_and_no_log_of_ours(server, published, caplog):
    caplog.set_level("DEBUG")
    emitter = published.start()
    execute(server, f"CREATE USER davide WITH PASSWORD '{SECRET}'")
    with pytest.raises(psycopg.Error):
        execute(server, f"CREATE USER davide WITH PASSWORD '{SECRET}'")
    execute(server, f"DO $$ BEGIN ALTER ROLE davide PASSWORD '{SECRET}'; END $$")
    execute(server, "DROP USER davide")
    emitter.stop()
    masked = f"CREATE USER davide WITH PASSWORD {MASK}"
    assert published.texts("CREATE USER") == [masked, masked]
    assert SECRET.encode() not in b"".join(event.entry for event in published.events())
    assert SECRET not in caplog.text
    assert "davide" not in caplog.text


def test_the_embedded_peer_takes_and_opens_what_is_published(server, endpoint):
    kinesis, kms = endpoint.client("kinesis"), endpoint.client("kms")
    stream = f"aws-rds-das-{CLUSTER}-{uuid.uuid4()}"
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    emitter = Emitter(
        server.log_directory,
        stream=stream,
        resource_id=CLUSTER,
        instance_id="db-A",
        kms_key_id=kms.create_key()["KeyMetadata"]["KeyId"],
        kinesis=kinesis,
        kms=kms,
        mode=server.mode,
        suite=0x0378,
    )
    emitter.start()
    execute(server, "SELECT 'over HTTP'")
    emitter.stop()
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    events = [
        event
        for record in records
        for event in decode_record(Record(record["Data"]), kms_unwrap(kms), resource_id=CLUSTER)
    ]
    texts = [json.loads(event.entry).get("commandText") for event in events]
    assert texts.count("SELECT 'over HTTP'") == 1
    assert {event.origin.instance_id for event in events} == {"db-A"}
    assert {event.origin.engine.name for event in events if event.kind == "activity"} <= {
        "postgresql",
        "aurora-postgresql",
    }
