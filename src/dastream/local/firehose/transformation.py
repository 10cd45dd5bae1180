"""The transformation: batches of records through a Lambda handler, by the service's contract.

A handler that raises, takes too long, or replies what cannot be used is invoked again, three
times at most, and then all records of the batch have failed. A record that a usable reply leaves
out, or gives twice, has failed at once. So does the service, as error objects from it show that
people have published: `attemptsMade` is 4 for `Lambda.FunctionError` and
`Lambda.FunctionTimedOut`, but 1 for `Lambda.MissingRecordId`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dastream.local.firehose.reader import SourceRecord
from dastream.local.lambda_function import InvocationError, LambdaFunction

__all__ = ["INVOCATION_SECONDS_MAX", "Failure", "Outcome", "Transformation", "request_bytes"]

ATTEMPTS_MAX = 4  # once, and three retries
INVOCATION_SECONDS_MAX = 300.0  # Firehose waits five minutes for a function

_log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """Code and message of a failure, as they stand in the service's error objects."""

    code: str
    message: str


_FUNCTION_ERROR = Problem(
    "Lambda.FunctionError",
    "The Lambda function was successfully invoked but it returned an error result.",
)
_TIMED_OUT = Problem(
    "Lambda.FunctionTimedOut",
    "The Lambda function invocation timed out. Increase the Timeout setting in the Lambda"
    " function.",
)
_MISSING_ID = Problem(
    "Lambda.MissingRecordId",
    "One or more record Ids were not returned. Ensure that the Lambda function returns all"
    " received record Ids.",
)
_DUPLICATED_ID = Problem(
    "Lambda.DuplicatedRecordId",
    "Multiple records were returned with the same record Id. Ensure that the Lambda function"
    " returns a unique record Id for each record.",
)
_PROCESSING_FAILED = Problem(
    "Lambda.ProcessingFailedStatus", "ProcessingFailed status set for record"
)
_NO_PARTITION = Problem(
    "DynamicPartitioning.MetadataExtractionFailed",
    "partitionKeys values must not be null or empty",
)


class Failure(NamedTuple):
    """A record that was not transformed, why, and when (milliseconds) that was final."""

    record: SourceRecord
    problem: Problem
    attempts: int
    ended_ms: int


class Delivered(NamedTuple):
    """The data of a record, and the keys of the partition that it belongs to."""

    data: bytes
    partition: Mapping[str, str]


class Outcome(NamedTuple):
    """What became of a batch: the data to deliver in order, and the rest."""

    delivered: list[Delivered]
    dropped: int
    failures: list[Failure]


@dataclass
class Transformation:
    """Invokes `function` with batches. `pause` waits some seconds between two attempts.

    A record that is to be delivered without one of the `partition_keys` has failed.
    """

    function: LambdaFunction
    delivery_stream_arn: str
    source_arn: str
    region: str
    pause: Callable[[float], object]
    partition_keys: frozenset[str] = frozenset()
    retry_seconds: float = 1.0

    def apply(self, records: list[SourceRecord]) -> Outcome:
        """The outcome for a batch, whatever the handler does. Raises nothing."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return self._outcome(records, self._results(records), attempt)
            except InvocationError as error:
                problem = _TIMED_OUT if error.is_timeout else _FUNCTION_ERROR
                _log.warning("firehose: transformation attempt %d failed: %s", attempt, error)
            if attempt < ATTEMPTS_MAX:
                self.pause(self.retry_seconds)
        now_ms = _now_ms()
        return Outcome([], 0, [Failure(r, problem, ATTEMPTS_MAX, now_ms) for r in records])

    def _results(self, records: list[SourceRecord]) -> list[dict[str, Any]]:
        reply = self.function(self._event(records))
        if not isinstance(reply, dict):
            raise InvocationError("the reply is not an object")
        results = reply.get("records", [])
        if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
            raise InvocationError("the reply's records are no objects")
        return results

    def _outcome(
        self, records: list[SourceRecord], results: list[dict[str, Any]], attempt: int
    ) -> Outcome:
        """Sort a batch by the handler's results. Raises InvocationError if one is unusable."""
        by_id = defaultdict(list)
        for result in results:
            by_id[str(result.get("recordId"))].append(result)
        delivered, dropped, failures = [], 0, []
        for record in records:
            match self._verdict(by_id[_record_id(record)]):
                case Delivered() as data:
                    delivered.append(data)
                case None:
                    dropped += 1
                case problem:
                    failures.append(Failure(record, problem, attempt, _now_ms()))
        return Outcome(delivered, dropped, failures)

    def _verdict(self, results: list[dict[str, Any]]) -> Delivered | Problem | None:
        """Of the results for one record: what to deliver, the problem, or None for dropped."""
        if len(results) != 1:
            return _DUPLICATED_ID if results else _MISSING_ID
        match results[0].get("result"):
            case "Ok":
                return self._delivered(results[0])
            case "Dropped":
                return None
            case "ProcessingFailed":
                return _PROCESSING_FAILED
        raise InvocationError("a result is none of Ok, Dropped, ProcessingFailed")

    def _delivered(self, result: dict[str, Any]) -> Delivered | Problem:
        keys = (result.get("metadata") or {}).get("partitionKeys") or {}
        if not all(keys.get(name) for name in self.partition_keys):
            return _NO_PARTITION
        return Delivered(_data(result), {name: str(keys[name]) for name in self.partition_keys})

    def _event(self, records: list[SourceRecord]) -> dict[str, Any]:
        return {
            "invocationId": str(uuid.uuid4()),
            "sourceKinesisStreamArn": self.source_arn,
            "deliveryStreamArn": self.delivery_stream_arn,
            "region": self.region,
            "records": [_event_record(record) for record in records],
        }


def request_bytes(record: SourceRecord) -> int:
    """An upper bound for what a record takes in a request: base64, and what stands around it."""
    return len(record.data) * 4 // 3 + 6 * len(record.partition_key) + 512


def _record_id(record: SourceRecord) -> str:
    """The sequence number and six digits of the subsequence number, as captured events show."""
    return f"{record.sequence}000000"


def _event_record(record: SourceRecord) -> dict[str, Any]:
    return {
        "recordId": _record_id(record),
        "approximateArrivalTimestamp": record.arrival_ms,
        "data": base64.b64encode(record.data).decode(),
        "kinesisRecordMetadata": {
            "sequenceNumber": record.sequence,
            "subsequenceNumber": 0,
            "partitionKey": record.partition_key,
            "shardId": record.shard,
            "approximateArrivalTimestamp": record.arrival_ms,
        },
    }


def _data(result: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(result["data"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise InvocationError("a result's data is no base64") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
