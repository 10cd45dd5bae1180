"""The Firehose handler against the reference handler: same records, same process, CPU time.

The two alternate, and medians are compared, since these machines are noisy; the ratio is what
counts. KMS is a stub at no cost for both. Prints a table.
"""

import base64
import gzip
import json
import os
import random
import statistics
import time
from collections import Counter

import aws_encryption_sdk
import reference
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.identifiers import AlgorithmSuite

from dastream.aws.firehose import FirehoseTransform
from dastream.decode import Decoder
from dastream.keys import CachingUnwrap
from dastream.transforms import DEFAULT

ROUNDS = 15
RECORDS = 40
SUITES = (0x0178, 0x0378)
EVENTS_A_RECORD = (1, 10, 100)
STREAM = "aws-rds-das-cluster-BENCHMARK"

writer = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
)


def entry(rng: random.Random) -> dict:
    kind = rng.random()
    if kind < 0.04:
        return {"type": "heartbeat"}
    number = rng.randrange(10**9)
    return {
        "startTime": "2026-01-31 12:00:00.123456+00",
        "logTime": "2026-01-31 12:00:00.234567+00",
        "statementId": number % 5000,
        "substatementId": 1,
        "objectType": "TABLE",
        "command": "SELECT",
        "objectName": f"public.orders_{number % 40}",
        "databaseName": "shop",
        "dbUserName": "rdsadmin" if kind < 0.16 else f"app_{number % 25}",
        "remoteHost": f"10.0.{number % 250}.{number % 97}",
        "remotePort": str(1024 + number % 60000),
        "sessionId": f"{number:x}.{number % 65535:x}",
        "rowCount": number % 100,
        "commandText": f"SELECT o.id, o.total, c.name FROM orders_{number % 40} o JOIN customers"
        f" c ON c.id = o.customer WHERE o.id = $1 AND o.state <> 'done' -- request {number:x}",
        "paramList": [str(number)],
        "pid": number % 65535,
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
        "errorMessage": None,
    }


def invocation(suite: int, events: int, data_key: bytes) -> dict:
    rng = random.Random(suite * events)
    provider = reference.KeyProvider(data_key)
    provider.add_master_key("DataKey")
    records = []
    for number in range(RECORDS):
        payload = {
            "type": "DatabaseActivityMonitoringRecord",
            "clusterId": "cluster-BENCHMARK",
            "instanceId": "db-BENCHMARK",
            "databaseActivityEventList": [entry(rng) for _ in range(events)],
        }
        message, _ = writer.encrypt(
            source=gzip.compress(json.dumps(payload, separators=(",", ":")).encode()),
            key_provider=provider,
            algorithm=AlgorithmSuite.get_by_id(suite),
            frame_length=4096,
        )
        envelope = {
            "type": "DatabaseActivityMonitoringRecords",
            "version": "1.1",
            "databaseActivityEvents": base64.b64encode(message).decode(),
            "key": base64.b64encode(b"k" * 184).decode(),
        }
        records.append(
            {
                "recordId": f"{number:056d}",
                "data": base64.b64encode(json.dumps(envelope).encode()).decode(),
                "kinesisRecordMetadata": {
                    "shardId": "shardId-000000000000",
                    "sequenceNumber": f"49{number:054d}",
                    "approximateArrivalTimestamp": 1769860800000,
                },
            }
        )
    return {"sourceKinesisStreamArn": f"arn:aws:kinesis:x:1:stream/{STREAM}", "records": records}


def cpu_us(call) -> float:
    began = time.process_time_ns()
    call()
    return (time.process_time_ns() - began) / 1000 / RECORDS


def main() -> None:
    data_key = os.urandom(32)
    unwrap = CachingUnwrap(lambda key, context: data_key)
    handler = FirehoseTransform(Decoder(unwrap), DEFAULT, log=lambda line: None)
    print("Firehose handler, CPU microseconds a record (median), KMS at no cost\n")
    print("| suite | events a record | reference | dastream | ratio |\n|---|---|---|---|---|")
    with open(os.devnull, "w") as null:
        for suite in SUITES:
            for events in EVENTS_A_RECORD:
                event = invocation(suite, events, data_key)
                ours = handler(event)
                assert Counter(a["result"] for a in ours["records"])["ProcessingFailed"] == 0
                times = [
                    (
                        cpu_us(lambda: reference.handler(event, lambda key: data_key, null)),
                        cpu_us(lambda: handler(event)),
                    )
                    for _ in range(ROUNDS)
                ]
                theirs, ours_us = (statistics.median(column) for column in zip(*times, strict=True))
                print(
                    f"| 0x{suite:04x} | {events} | {theirs:.0f} | {ours_us:.0f} |"
                    f" {theirs / ours_us:.1f} |"
                )


if __name__ == "__main__":
    main()
