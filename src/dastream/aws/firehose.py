"""The transformation Lambda of a Firehose delivery stream.

Source of shapes and limits: Firehose Developer Guide, "Transform source data in Amazon Data
Firehose"; Lambda quotas (6 MB for the reply of a synchronous invocation).

The service gets every recordId back once and in order: `Ok` with JSON lines, `Dropped` where the
transforms dropped everything, `ProcessingFailed` for a record that cannot be delivered; the
service keeps that one as its original bytes. Trouble with KMS raises, and the service tries the
whole invocation again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from dastream import line
from dastream.aws.metrics import Log, Meter, Metrics, metric_lines, print_line
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.errors import EnvelopeError, RecordError
from dastream.event import Event
from dastream.format.primitives import primitives
from dastream.keys import CachingUnwrap, open_unwrap, owner_of
from dastream.record import Position, Record, utc_day
from dastream.settings import Settings
from dastream.transforms import NamedTransform, apply, open_transforms

__all__ = ["FirehoseTransform", "handler", "open_handler"]

REPLY_BYTES_MAX = 6_000_000
"""Just below what Lambda lets a synchronous invocation return."""

_ANSWER_BYTES = 64
"""An answer without its data, metadata and recordId, and some to spare."""

_METADATA_BYTES = 192
"""The keys that an answer with data has besides, with the longest resource id."""

Answer = dict[str, Any]


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[Answer]]:
    """The Lambda function's entry point. Settings come from `DASTREAM_…` variables."""
    del context
    return _from_environment()(event)


@cache
def _from_environment() -> FirehoseTransform:
    return open_handler(Settings.from_environment(os.environ), open_client("kms"))


def open_handler(settings: Settings, kms: Any, log: Log = print_line) -> FirehoseTransform:
    """A handler with given settings and boto3's KMS client."""
    unwrap = open_unwrap(settings, kms)
    return FirehoseTransform(
        Decoder.from_settings(settings, unwrap),
        open_transforms(settings.transforms),
        log,
        unwrap=unwrap,
        resource_id=settings.resource_id,
    )


class FirehoseTransform:
    """Answers invocations. Nothing outlives one but the decoder's key cache.

    `log` gets one mapping for each record that failed, and the invocation's metrics. `unwrap` is
    the decoder's.
    """

    def __init__(
        self,
        decode: Decoder,
        transforms: Sequence[NamedTransform],
        log: Log,
        *,
        unwrap: CachingUnwrap,
        resource_id: str | None = None,
    ) -> None:
        self._decode = decode
        self._unwrap = unwrap
        self._resource_id = resource_id
        self._transforms = transforms
        self._log = log

    def __call__(self, event: Mapping[str, Any]) -> dict[str, list[Answer]]:
        """Answer one invocation.

        Raises KeyServiceError, for the service to try again, and ConfigError if nothing tells
        whose stream it is.
        """
        stream = str(event.get("sourceKinesisStreamArn", "")).rpartition("/")[2]
        owner = owner_of(stream, self._resource_id)  # before each record fails for want of it
        metrics = Metrics(stream=stream or owner)
        meter = Meter(self._decode, self._unwrap, metrics)
        invocation = _Invocation(
            event,
            stream=stream,
            owner=owner,
            decode=meter,
            transforms=self._transforms,
            metrics=metrics,
            log=self._log,
        )
        answers = [invocation.answer(item) for item in event["records"]]
        for metric_line in metric_lines(metrics, time.time_ns() // 1_000_000):
            self._log(metric_line)
        return {"records": answers}


class _Invocation:
    """One invocation's answers, and what room is left in the reply."""

    def __init__(
        self,
        event: Mapping[str, Any],
        *,
        stream: str,
        owner: str,
        decode: Meter,
        transforms: Sequence[NamedTransform],
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._stream = stream
        self._owner = owner
        self._decode = decode
        self._transforms = transforms
        self._metrics = metrics
        self._log = log
        self._places: dict[str, Answer] = {}
        self._room_bytes = REPLY_BYTES_MAX - sum(
            _ANSWER_BYTES + len(item["recordId"]) for item in event["records"]
        )

    def answer(self, item: Mapping[str, Any]) -> Answer:
        """The answer to one record."""
        self._metrics.records += 1
        dropped: dict[str, int] = {}
        try:
            record = self._record(item)
            events = apply(self._transforms, self._decode(record), dropped)
        except RecordError as error:
            return self._fail(item, type(error).__name__, str(error))
        answer = self._answer(item["recordId"], record, events)
        if answer is None:
            return self._fail(item, "oversize", "the reply has no room for it")
        self._metrics.events += len(events)
        for name, count in dropped.items():
            self._metrics.dropped[name] += count
        return answer

    def _answer(self, id: str, record: Record, events: Sequence[Event]) -> Answer | None:
        """What becomes of the record; None if the reply has no room for that."""
        if not events:
            return {"recordId": id, "result": "Dropped"}
        data = primitives.b64encode(line.text(events))
        self._room_bytes -= len(data) + _METADATA_BYTES
        if self._room_bytes < 0:
            self._room_bytes += len(data) + _METADATA_BYTES
            return None
        if record.arrival_ms is None:
            return {"recordId": id, "result": "Ok", "data": data}
        place = self._place(utc_day(record.arrival_ms))
        return {"recordId": id, "result": "Ok", "data": data, "metadata": place}

    def _place(self, day: str) -> Answer:
        """Where Firehose is to put it, if it partitions by keys (dynamic partitioning)."""
        if day not in self._places:
            self._places[day] = {"partitionKeys": {"cluster": self._owner, "day": day}}
        return self._places[day]

    def _record(self, item: Mapping[str, Any]) -> Record:
        try:
            data = primitives.b64decode(item["data"])
        except ValueError:
            raise EnvelopeError("firehose record: data is not base64") from None
        kinesis = item.get("kinesisRecordMetadata")
        position = kinesis and Position(self._stream, kinesis["shardId"], kinesis["sequenceNumber"])
        record = Record(data, position, (kinesis or item).get("approximateArrivalTimestamp"))
        self._metrics.record_bytes += len(data)
        self._see(record.arrival_ms)
        return record

    def _see(self, arrival_ms: int | None) -> None:
        """An invocation may have records of several shards, of which one is behind."""
        if arrival_ms is not None:
            self._metrics.newest_ms = max(arrival_ms, self._metrics.newest_ms or arrival_ms)

    def _fail(self, item: Mapping[str, Any], error: str, reason: str) -> Answer:
        self._metrics.dead_letters[error] += 1
        kinesis = item.get("kinesisRecordMetadata") or {}
        self._log(
            {
                "message": "record failed",
                "recordId": item["recordId"],
                "shardId": kinesis.get("shardId"),
                "sequenceNumber": kinesis.get("sequenceNumber"),
                "error": error,
                "reason": reason,
            }
        )
        return {"recordId": item["recordId"], "result": "ProcessingFailed"}
