"""Kinesis over HTTP: JSON in, one transaction, JSON out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dastream.local.kinesis import requests
from dastream.local.kinesis.errors import (
    KinesisError,
    NotValidError,
    SerializationError,
    UnknownOperationError,
)
from dastream.local.kinesis.records import Records
from dastream.local.kinesis.shards import Shards
from dastream.local.kinesis.store import Store
from dastream.local.kinesis.streams import Streams
from dastream.local.kinesis.throttle import Throttle

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

__all__ = ["Kinesis"]

_TRIM_SECONDS = 60


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Kinesis:
    """A Kinesis of one account and region: a WSGI application that any number of threads call.

    `path` is the file that keeps it, or None to keep it in memory. `throttle` holds shards to
    their share of a second. `now_ms` tells the time in milliseconds since 1970. Raises
    ConfigError if the file cannot be used.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        account: str,
        region: str,
        throttle: Throttle | None = None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._store = Store(path, now_ms)
        streams = Streams(self._store, account, region)
        shards = Shards(self._store, streams)
        records = Records(self._store, streams, throttle)
        self._trimmed_ms = 0
        self._answers: dict[type[requests.Request], Callable[[Any], Any]] = {
            requests.CreateStream: streams.create,
            requests.DeleteStream: streams.delete,
            requests.DescribeStream: streams.describe,
            requests.DescribeStreamSummary: streams.summarize,
            requests.ListStreams: streams.list_streams,
            requests.ListShards: shards.list_page,
            requests.SplitShard: shards.split,
            requests.MergeShards: shards.merge,
            requests.UpdateShardCount: shards.update_count,
            requests.IncreaseStreamRetentionPeriod: streams.keep_longer,
            requests.DecreaseStreamRetentionPeriod: streams.keep_shorter,
            requests.AddTagsToStream: streams.add_tags,
            requests.RemoveTagsFromStream: streams.remove_tags,
            requests.ListTagsForStream: streams.list_tags,
            requests.PutRecord: records.put_one,
            requests.PutRecords: records.put_many,
            requests.GetShardIterator: records.iterator,
            requests.GetRecords: records.get,
        }

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def answer(self, request: requests.Request) -> Any:
        """The reply's members, or None. What was changed is durable. Raises KinesisError."""
        with self._store.transaction():
            self._trim_in_time()
            return self._answers[type(request)](request)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one HTTP request."""
        status, body = "200 OK", b""
        try:
            reply = self.answer(_request(environ))
            body = msgspec.json.encode(reply) if reply is not None else b""
        except KinesisError as error:
            status = "400 Bad Request"
            body = msgspec.json.encode({"__type": error.code, "message": str(error)})
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("x-amzn-RequestId", str(uuid.uuid4())),
        ]
        start_response(status, headers)
        return [body]

    def _trim_in_time(self) -> None:
        now_ms = self._store.now_ms()
        if now_ms - self._trimmed_ms >= _TRIM_SECONDS * 1000:
            self._trimmed_ms = now_ms
            self._store.trim()


def _request(environ: dict[str, Any]) -> requests.Request:
    """The request in a body. Raises UnknownOperationError, SerializationError, NotValidError."""
    name = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    if name not in requests.OPERATIONS:
        raise UnknownOperationError(f"The local endpoint's Kinesis has no {name}.")
    try:
        return msgspec.json.decode(environ["wsgi.input"].read(), type=requests.OPERATIONS[name])
    except msgspec.ValidationError as error:
        # Its text names the member and what it may be.
        raise NotValidError(f"1 validation error detected: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SerializationError("The body is no JSON.") from None
