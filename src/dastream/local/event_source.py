"""A Kinesis event source mapping on this machine: Kinesis → handler, with its retries.

Source of what it does: AWS Lambda Developer Guide, "Using Lambda to process records from Amazon
Kinesis Data Streams", "Configuring partial batch response" and "Retain discarded batch records
for a Kinesis Data Streams event source". What is different here: it reads up to the tip when it
is told to, one shard after another, so that a batch which fails holds up all of them; there is
no batching window, no bisecting and no parallelization.
"""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import SinkError
from dastream.local.firehose.reader import SourceRecord, StreamReader
from dastream.local.lambda_function import (
    REQUEST_BYTES_MAX,
    Handler,
    InvocationError,
    LambdaFunction,
)
from dastream.record import iso_time

__all__ = ["Counters", "EventSourceMapping", "event_record"]

INVOCATION_SECONDS_MAX = 300.0  # as the template has it
_EVENT_FRAME_BYTES = 1024
_RECORD_FRAME_BYTES = 1024  # an event's record without its data, with the longest names

_log = logging.getLogger(__name__)


@dataclass
class Counters:
    """Records read, what became of them, and how often the handler was invoked."""

    records: int = 0
    delivered: int = 0
    given_up: int = 0
    invocations: int = 0


class EventSourceMapping:
    """Invokes `handler` with the records of the Kinesis stream `source`, from the oldest on.

    A batch that fails is tried again, at most `retries_max` times, from the first record on that
    the handler reports, or as a whole. After that its records are put into `on_failure_bucket`
    as one object, and the next batch comes.
    """

    def __init__(
        self,
        name: str,
        *,
        source: str,
        handler: Handler,
        kinesis: Any,
        s3: Any,
        on_failure_bucket: str,
        batch_records_max: int = 100,
        retries_max: int = 50,
        retry_seconds: float = 0.0,
        region: str = "us-east-1",
        account: str = "123456789012",
    ) -> None:
        self.id = str(uuid.uuid4())
        self._function = LambdaFunction(
            handler,
            f"arn:aws:lambda:{region}:{account}:function:{name}:$LATEST",
            INVOCATION_SECONDS_MAX,
        )
        self._role_arn = f"arn:aws:iam::{account}:role/{name}"
        self._source_arn = f"arn:aws:kinesis:{region}:{account}:stream/{source}"
        self._region = region
        self._reader = StreamReader(kinesis, source, {})
        self._s3 = s3
        self._bucket = on_failure_bucket
        self._batch_records_max = batch_records_max
        self._retries_max = retries_max
        self._retry_seconds = retry_seconds
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        self._counters.invocations = self._function.invocations
        return self._counters

    def drain(self) -> None:
        """Deliver everything up to the tip of the stream, or give it up.

        Raises SourceError if the stream cannot be read, SinkError if S3 does not take an object.
        """
        is_at_tip = False
        while not is_at_tip:
            is_at_tip = True
            for page in self._reader.pages():
                is_at_tip = is_at_tip and page.is_at_tip
                self._counters.records += len(page.records)
                self._deliver(page.records)

    def _deliver(self, records: list[SourceRecord]) -> None:
        while records:
            count = self._batch_length(records)
            self._deliver_batch(records[:count])
            records = records[count:]

    def _batch_length(self, records: list[SourceRecord]) -> int:
        """How many make a batch: at least one, and no more than a request may hold."""
        left = REQUEST_BYTES_MAX - _EVENT_FRAME_BYTES
        for count, record in enumerate(records[: self._batch_records_max]):
            left -= len(record.data) * 4 // 3 + _RECORD_FRAME_BYTES
            if count and left < 0:
                return count
        return min(len(records), self._batch_records_max)

    def _deliver_batch(self, batch: list[SourceRecord]) -> None:
        for attempt in range(self._retries_max + 1):
            if attempt:
                time.sleep(self._retry_seconds)
            left = self._invoke(batch)
            self._counters.delivered += len(batch) - len(left)
            if not left:
                return
            batch = left
        self._give_up(batch)

    def _invoke(self, batch: list[SourceRecord]) -> list[SourceRecord]:
        """What is left of a batch after an invocation."""
        try:
            reply = self._function(self._event(batch))
        except InvocationError as error:
            _log.warning("event source: the invocation failed: %s", error)
            return batch
        return batch[_delivered(batch, reply) :]

    def _event(self, batch: list[SourceRecord]) -> dict[str, Any]:
        return {
            "Records": [
                event_record(record, self._source_arn, self._role_arn, self._region)
                for record in batch
            ]
        }

    def _give_up(self, batch: list[SourceRecord]) -> None:
        self._counters.given_up += len(batch)
        now = datetime.now(UTC)
        key = (
            f"aws/lambda/{self.id}/{batch[0].shard}/{now:%Y/%m/%d}/"
            f"{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        )
        body = json.dumps(self._invocation_record(batch)).encode()
        try:
            call(self._s3.put_object, Bucket=self._bucket, Key=key, Body=body)
        except CallError as error:
            raise SinkError(
                f"event source: cannot write to the bucket {self._bucket}: {error.code}"
            ) from None

    def _invocation_record(self, batch: list[SourceRecord]) -> dict[str, Any]:
        return {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": self._function.arn,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": self._retries_max + 1,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": iso_time(time.time_ns() // 1_000_000),
            "KinesisBatchInfo": {
                "shardId": batch[0].shard,
                "startSequenceNumber": batch[0].sequence,
                "endSequenceNumber": batch[-1].sequence,
                "approximateArrivalOfFirstRecord": iso_time(batch[0].arrival_ms),
                "approximateArrivalOfLastRecord": iso_time(batch[-1].arrival_ms),
                "batchSize": len(batch),
                "streamArn": self._source_arn,
            },
            "payload": json.dumps(self._event(batch)),
        }


def event_record(
    record: SourceRecord, source_arn: str, role_arn: str, region: str
) -> dict[str, Any]:
    """A record as it stands in the event of an invocation."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": record.sequence,
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": record.arrival_ms / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{record.shard}:{record.sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": region,
        "eventSourceARN": source_arn,
    }


def _delivered(batch: list[SourceRecord], reply: Any) -> int:
    """How many records of a batch are done: all before the first one that is reported.

    No report, or an empty one, is a success; an item that names none of the batch's records
    fails all of it.
    """
    failures = (reply or {}).get("batchItemFailures") or ()
    numbers = [record.sequence for record in batch]
    try:
        return min((numbers.index(item["itemIdentifier"]) for item in failures), default=len(batch))
    except (KeyError, TypeError, ValueError):
        return 0
