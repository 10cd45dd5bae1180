"""Entries to records of a stream, read back with the official SDK."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import uuid
from types import SimpleNamespace

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from botocore.exceptions import ClientError, EndpointConnectionError

from dastream.activity import publisher as publisher_module
from dastream.activity import seal as seal_module
from dastream.activity.entry import Entry
from dastream.activity.log_rows import CUT
from dastream.activity.publisher import PUT_BYTES_MAX, RECORD_BYTES_MAX, Publisher
from dastream.activity.seal import SUITES, Sealer
from dastream.errors import ConfigError, KeyServiceError, SinkError

CLUSTER = "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INSTANCE = "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture
def kms(endpoint):
    return endpoint.client("kms")


@pytest.fixture
def open_sealer(kms):
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    return lambda resource_id, **options: Sealer(
        kms, key_id=key_id, resource_id=resource_id, **options
    )


@pytest.fixture
def kinesis(endpoint):
    return endpoint.client("kinesis")


@pytest.fixture
def stream(kinesis):
    name = f"aws-rds-das-{uuid.uuid4()}"
    kinesis.create_stream(StreamName=name, ShardCount=3)
    return name


@pytest.fixture
def read(kinesis, kms):
    """All payloads of a stream, decrypted by the official SDK under the context."""

    def read(stream, context):
        return [_open(record, kms, context) for record in _records(kinesis, stream)]

    return read


def _records(kinesis, stream):
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while records := (answer := kinesis.get_records(ShardIterator=iterator))["Records"]:
            yield from records
            iterator = answer["NextShardIterator"]


def _open(record, kms, context):
    envelope = json.loads(record["Data"])
    assert list(envelope) == ["type", "version", "databaseActivityEvents", "key"]
    assert (envelope["type"], envelope["version"]) == ("DatabaseActivityMonitoringRecords", "1.1")
    blob = base64.b64decode(envelope["key"])
    key = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"],
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )
    message = base64.b64decode(envelope["databaseActivityEvents"])
    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
    plaintext, header = client.decrypt(
        source=message,
        key_provider=RawMasterKey(provider_id="BC", key_id="DataKey", wrapping_key=key),
    )
    return json.loads(gzip.decompress(plaintext)) | {"header": header, "key": blob}


def entry(text="SELECT 1", **members):
    return Entry(
        **{
            "start_time": "2026-01-02 03:04:05.000000+00",
            "log_time": "2026-01-02 03:04:05.000000+00",
            "statement_id": 2,
            "command": "SELECT",
            "database_name": "d",
            "db_user_name": "u",
            "remote_host": "127.0.0.1",
            "remote_port": "1",
            "session_id": "1.1",
            "command_text": text,
            "pid": 1,
            "client_application": None,
            "class_": "READ",
            "server_version": "15",
            "server_host": "127.0.0.1",
            "net_protocol": "TCP",
        }
        | members
    )


def open_publisher(seal, kinesis, stream, **options):
    return Publisher(
        seal,
        **{
            "kinesis": kinesis,
            "stream": stream,
            "cluster_id": CLUSTER,
            "instance_id": INSTANCE,
            "record_bytes_max": 4000,
            "record_age_seconds_max": 3600.0,
        }
        | options,
    )


@pytest.fixture
def publisher(open_sealer, kinesis, stream):
    return open_publisher(open_sealer(CLUSTER).seal, kinesis, stream)


def texts(payloads):
    return [e["commandText"] for p in payloads for e in p["databaseActivityEventList"]]


@pytest.mark.parametrize("suite", SUITES, ids=hex)
def test_records_are_what_the_official_sdk_reads(suite, open_sealer, kinesis, stream, read):
    publisher = open_publisher(open_sealer(CLUSTER, suite=suite).seal, kinesis, stream)
    publisher.add(entry("SELECT 'é'"))
    publisher.flush()
    (payload,) = read(stream, {"aws:rds:dbc-id": CLUSTER})
    assert list(payload)[:4] == [
        "type",
        "clusterId",
        "instanceId",
        "databaseActivityEventList",
    ]
    assert payload["type"] == "DatabaseActivityMonitoringRecord"
    assert (payload["clusterId"], payload["instanceId"]) == (CLUSTER, INSTANCE)
    assert texts([payload]) == ["SELECT 'é'"]
    assert payload["header"].algorithm.algorithm_id == suite
    assert payload["header"].frame_length == 4096
    (encrypted_key,) = payload["header"].encrypted_data_keys
    assert encrypted_key.key_provider.provider_id == "BC"


def test_an_instance_has_its_own_context(open_sealer, kinesis, stream, read):
    open_publisher(open_sealer(INSTANCE).seal, kinesis, stream).put_heartbeat()
    assert len(read(stream, {"aws:rds:db-id": INSTANCE})) == 1


def test_only_known_suites_and_resources_are_taken(open_sealer):
    with pytest.raises(ConfigError):
        open_sealer(CLUSTER, suite=0x14)
    with pytest.raises(ConfigError):
        open_sealer("database-1")


def test_entries_share_records_up_to_a_size(publisher, stream, read):
    for number in range(40):
        publisher.add(entry(f"SELECT {number}"))
    publisher.flush()
    payloads = read(stream, {"aws:rds:dbc-id": CLUSTER})
    assert sorted(texts(payloads)) == sorted(f"SELECT {n}" for n in range(40))
    assert 5 < len(payloads) < 20
    assert publisher.counters.records == len(payloads)
    assert publisher.counters.entries == {"SELECT": 40}
    assert publisher.counters.bytes > 0


def test_a_record_waits_for_more_up_to_an_age():
    publisher = open_publisher(plainly, Kinesis(), "s", record_age_seconds_max=0.2)
    publisher.add(entry())
    assert not publisher.is_due()
    time.sleep(0.2)
    assert publisher.is_due()
    publisher.flush()
    assert not publisher.is_due()


def test_a_record_that_is_full_does_not_wait():
    publisher = open_publisher(plainly, Kinesis(), "s", record_bytes_max=1)
    publisher.add(entry())
    assert not publisher.is_due()
    publisher.add(entry())
    assert publisher.is_due()


def test_a_heartbeat_is_a_record_of_its_own(publisher, stream, read):
    publisher.add(entry())
    publisher.flush()
    publisher.put_heartbeat()
    payloads = read(stream, {"aws:rds:dbc-id": CLUSTER})
    assert sorted(len(p["databaseActivityEventList"][0]) for p in payloads) == [1, 27]
    assert [{"type": "heartbeat"}] in [p["databaseActivityEventList"] for p in payloads]
    assert publisher.counters.heartbeats == 1


def test_partition_keys_are_random(publisher, kinesis, stream):
    for _ in range(4):
        publisher.put_heartbeat()
    keys = [uuid.UUID(record["PartitionKey"]) for record in _records(kinesis, stream)]
    assert len(set(keys)) == 4


def test_data_keys_are_replaced_after_a_number_of_records(publisher, stream, read, monkeypatch):
    monkeypatch.setattr(seal_module, "DATA_KEY_RECORDS_MAX", 2)
    for _ in range(5):
        publisher.put_heartbeat()
    keys = [payload["key"] for payload in read(stream, {"aws:rds:dbc-id": CLUSTER})]
    assert len(set(keys)) == 3


def test_data_keys_are_replaced_after_a_time(publisher, stream, read, monkeypatch):
    monkeypatch.setattr(seal_module, "DATA_KEY_AGE_SECONDS_MAX", 0.0)
    for _ in range(3):
        publisher.put_heartbeat()
    keys = [payload["key"] for payload in read(stream, {"aws:rds:dbc-id": CLUSTER})]
    assert len(set(keys)) == 3


def incompressible(chars):
    import random

    return "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyzABCDEF0123456789", k=chars))


def test_an_entry_that_compresses_into_a_record_stays_whole(publisher, stream, read):
    publisher.add(entry("x" * 3_000_000))
    publisher.flush()
    assert [len(t) for t in texts(read(stream, {"aws:rds:dbc-id": CLUSTER}))] == [3_000_000]
    assert publisher.counters.cut == 0


@pytest.mark.parametrize(
    "members",
    [
        {"command_text": incompressible(2_000_000)},
        {"error_message": incompressible(2_000_000)},
        {"param_list": [incompressible(2_000_000)]},
        {"param_list": re.findall(".{20}", incompressible(2_000_000))},
    ],
    ids=["text", "message", "value", "values"],
)
def test_an_entry_too_large_for_a_record_is_cut_with_a_mark(publisher, stream, read, members):
    publisher.add(entry("before"))
    publisher.add(entry(**members))
    publisher.flush()
    payloads = read(stream, {"aws:rds:dbc-id": CLUSTER})
    assert len(payloads) == 2
    assert publisher.counters.cut == 1
    (cut,) = [
        e for p in payloads for e in p["databaseActivityEventList"] if e["commandText"] != "before"
    ]
    name = {"command_text": "commandText", "error_message": "errorMessage"}
    kept = cut[name.get(next(iter(members)), "paramList")]
    assert (kept if isinstance(kept, str) else kept[-1]).endswith(CUT)


class Kinesis:
    """Takes records, unless a scripted refusal is next."""

    def __init__(self, *script):
        self.script = list(script)
        self.calls = []
        self.taken = []

    def put_records(self, *, StreamName, Records):  # noqa: N803 - boto3's names
        self.calls.append((len(Records), sum(len(r["Data"]) for r in Records)))
        step = self.script.pop(0) if self.script else set()
        if isinstance(step, Exception):
            raise step
        results = [{"ErrorCode": "Slow"} if i in step else {} for i in range(len(Records))]
        self.taken += [r["Data"] for r, result in zip(Records, results, strict=True) if not result]
        return {"FailedRecordCount": len(step), "Records": results}


def plainly(payload):
    return payload


THROTTLED = ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutRecords")
UNREACHABLE = EndpointConnectionError(endpoint_url="http://secret.example")


def test_refused_records_are_put_again_in_their_order():
    kinesis = Kinesis({1, 3}, THROTTLED, UNREACHABLE, {0})
    publisher = open_publisher(plainly, kinesis, "s", record_bytes_max=1)
    for number in range(5):
        publisher.add(entry(f"SELECT {number}"))
    publisher.flush()
    found = [json.loads(data)["databaseActivityEventList"][0] for data in kinesis.taken]
    assert [e["commandText"][-1] for e in found] == ["0", "2", "4", "3", "1"]
    assert [count for count, _ in kinesis.calls] == [5, 2, 2, 2, 1]
    assert publisher.counters.retries == 4
    assert publisher.counters.records == 5


def test_put_records_stays_within_its_limits():
    kinesis = Kinesis()
    publisher = open_publisher(plainly, kinesis, "s", record_bytes_max=1)
    for _ in range(1100):
        publisher.add(entry())
    for _ in range(12):
        publisher.add(entry("x" * 900_000))
    publisher.flush()
    assert sum(count for count, _ in kinesis.calls) == 1112
    assert max(count for count, _ in kinesis.calls) <= 500
    assert max(size for _, size in kinesis.calls) <= PUT_BYTES_MAX
    assert max(len(data) for data in kinesis.taken) <= RECORD_BYTES_MAX


def test_trouble_is_logged_without_what_is_published(caplog):
    publisher = open_publisher(plainly, Kinesis(THROTTLED, UNREACHABLE), "s")
    publisher.add(entry("SELECT 'private'", param_list=["private"]))
    publisher.flush()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "ProvisionedThroughputExceededException" in line
    assert "private" not in caplog.text
    assert "secret" not in caplog.text


def test_trouble_at_the_end_comes_out_after_a_moment(monkeypatch):
    monkeypatch.setattr(publisher_module, "WAIT_SECONDS_MAX", 0.01)
    monkeypatch.setattr(publisher_module, "LAST_SECONDS_MAX", 0.1)
    publisher = open_publisher(plainly, Kinesis(*[THROTTLED] * 100), "s")
    publisher.stop()
    publisher.add(entry())
    with pytest.raises(SinkError, match="ProvisionedThroughputExceeded"):
        publisher.flush()
    assert publisher.counters.retries > 0


def test_a_key_service_in_trouble_is_asked_again(monkeypatch):
    monkeypatch.setattr(publisher_module, "WAIT_SECONDS_MAX", 0.01)
    denied = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GenerateDataKey")
    attempts = []

    def generate_data_key(**arguments):
        attempts.append(arguments)
        if len(attempts) < 4:
            raise denied
        return {"Plaintext": bytes(32), "CiphertextBlob": b"blob"}

    kms = SimpleNamespace(generate_data_key=generate_data_key)
    sealer = Sealer(kms, key_id="k", resource_id=CLUSTER)
    publisher = open_publisher(sealer.seal, kinesis := Kinesis(), "s")
    publisher.add(entry())
    publisher.flush()
    assert len(kinesis.taken) == 1
    assert publisher.counters.retries == 3
    assert attempts[0] == {
        "KeyId": "k",
        "KeySpec": "AES_256",
        "EncryptionContext": {"aws:rds:dbc-id": CLUSTER},
    }
    attempts.clear()
    with pytest.raises(KeyServiceError, match="AccessDenied"):
        Sealer(kms, key_id="k", resource_id=CLUSTER).seal(b"")
