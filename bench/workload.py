"""Synthetic records as Aurora PostgreSQL writes them, sealed by the official SDK.

The entries are 850 to 1020 bytes of JSON, 4 % of them heartbeats and 12 % by `rdsadmin`. They
compress as far as entries of a mixed workload do: 1.6, 4.1 and 6.7 times at 1, 10 and 100 entries
a record.
"""

import base64
import gzip
import json
import random

import aws_encryption_sdk
import reference
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.identifiers import AlgorithmSuite

CLUSTER = "cluster-4HNY5V4RRNPKKYB7ICFKE5JBQQ"
STREAM = f"aws-rds-das-{CLUSTER}"
HEARTBEATS = 0.04
SERVICE_USERS = 0.12
ARRIVAL_MS = 1769860800000

TABLES = [f"{a}_{b}" for a in ("order", "customer", "invoice", "stock") for b in ("line", "log")]
COLUMNS = ("id", "total", "state", "name", "region", "price", "created_at", "amount", "owner")

client = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
)


def entry(rng):
    kind = rng.random()
    if kind < HEARTBEATS:
        return {"type": "heartbeat"}
    table, second, microsecond = rng.choice(TABLES), rng.randrange(60), rng.randrange(10**6)
    return {
        "logTime": f"2026-01-31 12:00:{second:02}.{microsecond:06}+00",
        "statementId": rng.randrange(5000),
        "substatementId": 1,
        "objectType": "TABLE",
        "command": "SELECT",
        "objectName": f"public.{table}",
        "databaseName": "shop",
        "dbUserName": "rdsadmin"
        if kind < HEARTBEATS + SERVICE_USERS
        else f"app_{rng.randrange(25)}",
        "remoteHost": f"10.0.{rng.randrange(256)}.{rng.randrange(256)}",
        "remotePort": str(rng.randrange(1024, 65536)),
        "sessionId": f"{rng.randrange(1 << 32):08x}.{rng.randrange(1 << 16):x}",
        "rowCount": rng.randrange(100),
        "commandText": statement(rng, table),
        "paramList": [str(rng.randrange(10**9)), f"{rng.randrange(1 << 160):040x}"],
        "pid": rng.randrange(1 << 16),
        "clientApplication": "shop-api",
        "exitCode": None,
        "class": "READ",
        "serverVersion": "15.4.2",
        "serverType": "PostgreSQL",
        "serviceName": "Amazon Aurora PostgreSQL-Compatible edition",
        "serverHost": "10.0.0.12",
        "netProtocol": "TCP",
        "dbProtocol": "Postgres 3.0",
        "type": "record",
        "startTime": f"2026-01-31 12:00:{second:02}.{microsecond // 2:06}+00",
        "errorMessage": None,
    }


def statement(rng, table):
    """SQL of about 330 characters, of which some are like others and some are not."""
    columns = ", ".join(f"t.{rng.choice(COLUMNS)}" for _ in range(rng.randrange(5, 11)))
    where = " AND ".join(
        f"t.{rng.choice(COLUMNS)} {rng.choice('<>=')} ${n}" for n in range(1, rng.randrange(3, 6))
    )
    return (
        f"SELECT {columns} FROM {table} t JOIN customers c ON c.id = t.customer"
        f" WHERE {where} ORDER BY t.{rng.choice(COLUMNS)} LIMIT {rng.randrange(1000)}"
        f" /* request {rng.randrange(1 << 96):024x} */"
    )


def payload(rng, entries):
    return json.dumps(
        {
            "type": "DatabaseActivityMonitoringRecord",
            "clusterId": CLUSTER,
            "instanceId": "db-FZJTMYKCXQBUUZ6VLU7NW3ITCM",
            "databaseActivityEventList": [entry(rng) for _ in range(entries)],
        },
        separators=(",", ":"),
    ).encode()


def seal(text, suite, data_key, key=None):
    """A payload as the data of a Kinesis record; `key` is the wrapped data key, if KMS made one."""
    provider = reference.KeyProvider(data_key)
    provider.add_master_key("DataKey")
    message, _ = client.encrypt(
        source=gzip.compress(text),
        key_provider=provider,
        algorithm=AlgorithmSuite.get_by_id(suite),
        frame_length=4096,
    )
    envelope = {
        "type": "DatabaseActivityMonitoringRecords",
        "version": "1.1",
        "databaseActivityEvents": base64.b64encode(message).decode(),
        "key": base64.b64encode(key or data_key.rjust(184, b"k")).decode(),
    }
    return json.dumps(envelope).encode()


def unwrap(key, context=None):
    """KMS at no cost: the data key is in the key that `seal` writes."""
    return key[-32:]


def records(suite, entries, count, data_keys):
    """Records with the data keys in turn, equal ones at each call."""
    rng = random.Random(entries)
    keys = (data_keys * count)[:count]
    return [seal(payload(rng, entries), suite, key) for key in keys]


def invocation(data):
    """Records as Firehose hands them to its transformation."""
    return {
        "sourceKinesisStreamArn": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
        "records": [
            {
                "recordId": f"{number:056d}",
                "data": base64.b64encode(one).decode(),
                "approximateArrivalTimestamp": ARRIVAL_MS + number,
                "kinesisRecordMetadata": {
                    "shardId": "shardId-000000000000",
                    "sequenceNumber": f"49{number:054d}",
                    "subsequenceNumber": 0,
                    "approximateArrivalTimestamp": ARRIVAL_MS + number,
                },
            }
            for number, one in enumerate(data)
        ],
    }
