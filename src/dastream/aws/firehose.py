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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from dastream import line
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.errors import EnvelopeError, RecordError
from dastream.event import Event
from dastream.format.primitives import primitives
from dastream.keys import open_unwrap, owner_of
from dastream.record import Position, Record
from dastream.settings import Settings
from dastream.transforms import NamedTransform, apply, open_transforms

__all__ = ["FirehoseTransform", "handler", "open_handler"]

REPLY_BYTES_MAX = 6_000_000
"""Just below what Lambda lets a synchronous invocation return."""

_ANSWER_BYTES = 64
"""An answer without its data and its recordId, and some to spare."""

Answer = dict[str, str]
Log = Callable[[Mapping[str, object]], None]


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[Answer]]:
    """The Lambda function's entry point. Settings come from `DASTREAM_…` variables."""
    del context
    return _from_environment()(event)


@cache
def _from_environment() -> FirehoseTransform:
    return open_handler(Settings.from_environment(os.environ), open_client("kms"))


def _print(line: Mapping[str, object]) -> None:
    print(msgspec.json.encode(line).decode(), flush=True)  # noqa: T201 - Lambda's log


def open_handler(settings: Settings, kms: Any, log: Log = _print) -> FirehoseTransform:
    """A handler with given settings and boto3's KMS client."""
    decode = Decoder.from_settings(settings, open_unwrap(settings, kms))
    transforms = open_transforms(settings.transforms)
    return FirehoseTransform(decode, transforms, log, resource_id=settings.resource_id)


class FirehoseTransform:
    """Answers invocations. Nothing outlives one but the decoder's key cache.

    `log` gets one mapping for each record that failed and one with the invocation's counts.
    """

    def __init__(
        self,
        decode: Decoder,
        transforms: Sequence[NamedTransform],
        log: Log = _print,
        *,
        resource_id: str | None = None,
    ) -> None:
        self._decode = decode
        self._resource_id = resource_id
        self._transforms = transforms
        self._log = log

    def __call__(self, event: Mapping[str, Any]) -> dict[str, list[Answer]]:
        """Answer one invocation.

        Raises KeyServiceError, for the service to try again, and ConfigError if nothing tells
        whose stream it is.
        """
        invocation = _Invocation(event, self._events, self._log)
        owner_of(invocation.stream, self._resource_id)  # before each record fails for want of it
        answers = [invocation.answer(item) for item in event["records"]]
        self._log({"message": "invocation done", **invocation.counts})
        return {"records": answers}

    def _events(self, record: Record, dropped: Counter[str]) -> list[Event]:
        return apply(self._transforms, self._decode(record), dropped)


class _Invocation:
    """One invocation's answers: what room is left in the reply, and its counts."""

    def __init__(
        self,
        event: Mapping[str, Any],
        events: Callable[[Record, Counter[str]], list[Event]],
        log: Log,
    ) -> None:
        self.stream = str(event.get("sourceKinesisStreamArn", "")).rpartition("/")[2]
        self._events = events
        self._log = log
        self._room_bytes = REPLY_BYTES_MAX - sum(
            _ANSWER_BYTES + len(item["recordId"]) for item in event["records"]
        )
        self._results: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._delivered = 0

    @property
    def counts(self) -> dict[str, object]:
        """Records by result and by error, events delivered and dropped."""
        return {
            "records": dict(self._results),
            "failed": dict(self._failed),
            "events": self._delivered,
            "dropped": dict(self._dropped),
        }

    def answer(self, item: Mapping[str, Any]) -> Answer:
        """The answer to one record."""
        dropped: Counter[str] = Counter()
        try:
            events = self._events(self._record(item), dropped)
        except RecordError as error:
            return self._fail(item, type(error).__name__, str(error))
        data = primitives.b64encode(line.text(events))
        if len(data) > self._room_bytes:
            return self._fail(item, "oversize", "the reply has no room for it")
        self._room_bytes -= len(data)
        self._delivered += len(events)
        for name, count in dropped.items():
            self._dropped[name] += count
        result = "Ok" if events else "Dropped"
        self._results[result] += 1
        answer = {"recordId": item["recordId"], "result": result}
        return answer | {"data": data} if events else answer

    def _record(self, item: Mapping[str, Any]) -> Record:
        try:
            data = primitives.b64decode(item["data"])
        except ValueError:
            raise EnvelopeError("firehose record: data is not base64") from None
        kinesis = item.get("kinesisRecordMetadata")
        if kinesis is None:
            return Record(data, None, item.get("approximateArrivalTimestamp"))
        position = Position(self.stream, kinesis["shardId"], kinesis["sequenceNumber"])
        return Record(data, position, kinesis["approximateArrivalTimestamp"])

    def _fail(self, item: Mapping[str, Any], error: str, reason: str) -> Answer:
        self._failed[error] += 1
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
        self._results["ProcessingFailed"] += 1
        return {"recordId": item["recordId"], "result": "ProcessingFailed"}
