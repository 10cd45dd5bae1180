"""Dead letters as Lambda and Firehose leave them, and records that decode when they are told to."""

import base64
import json
from functools import cache

from dastream import dead_letter
from dastream.errors import DecryptError
from dastream.local.firehose.output import error_line
from dastream.local.firehose.reader import SourceRecord
from dastream.local.firehose.transformation import Failure, Problem
from dastream.record import DeadLetter
from support import ARRIVAL_MS, DATA_KEY, SHARD, STREAM, entry, sealed


def lambda_object(*records, **members):
    """An invocation record as Lambda puts it into S3."""
    event = {"Records": [_event_record(item) for item in records]}
    invocation = {
        "requestContext": {"condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1},
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-11-23T07:29:06.021Z",
        "KinesisBatchInfo": {"shardId": SHARD, "batchSize": len(records)},
        "payload": json.dumps(event),
    }
    return json.dumps(invocation | members).encode()


def _event_record(item):
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": item.position.sequence,
            "data": base64.b64encode(item.data).decode(),
            "approximateArrivalTimestamp": item.arrival_ms / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{item.position.shard}:{item.position.sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": f"arn:aws:kinesis:us-east-2:123456789012:stream/{STREAM}",
    }


def firehose_line(data, arrival_ms=ARRIVAL_MS):
    """A failed record as our Firehose writes it."""
    failed = SourceRecord(data, "partition", SHARD, "1", arrival_ms)
    failure = Failure(failed, Problem("Lambda.FunctionError", "it raised"), 4, arrival_ms + 9)
    return error_line(failure, "arn:aws:lambda:us-east-1:123456789012:function:decode")


def lake_lines(*records):
    """Dead letters as the lake keeps them."""
    error = DecryptError("data key: kms refused it")
    return b"".join(dead_letter.write(DeadLetter(item, error)) + b"\n" for item in records)


@cache
def numbered(number):
    """The data of a record with a statement and a key of its own."""
    return sealed([entry(f"SELECT {number}")], key=b"key %d" % number)


class Keys:
    """An unwrap that refuses some of the numbered records, until they are mended."""

    def __init__(self, *broken):
        self.broken = set(broken)
        self.calls = []

    def __call__(self, key, context):
        self.calls.append((key, context))
        if int(key.split()[1]) in self.broken:
            raise DecryptError("data key: kms refused it")
        return DATA_KEY
