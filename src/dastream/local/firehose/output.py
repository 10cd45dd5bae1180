"""The writing side: data and failures into objects of S3, by the service's names."""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import SinkError
from dastream.local.firehose.buffering import BufferingHints
from dastream.local.firehose.transformation import Failure

__all__ = ["Compression", "Destination", "ObjectBuffer", "error_line"]

Compression = Literal["GZIP", "UNCOMPRESSED"]

_SUFFIXES: dict[Compression, str] = {"GZIP": ".gz", "UNCOMPRESSED": ""}
_VERSION = 1  # of the delivery stream's configuration, which never changes here


class Destination(NamedTuple):
    """Where objects go: a bucket, the delivery stream they are named after, how they are kept."""

    s3: Any
    bucket: str
    delivery_stream: str
    compression: Compression


class ObjectBuffer:
    """Gathers data, and puts it into an object when it is large or old enough.

    The object is `PREFIX` + `YYYY/MM/DD/HH/` (UTC, the hour of delivery) + the service's name.
    It stays as it is until S3 has it, so a put that is tried again does not make a second one.
    """

    def __init__(self, destination: Destination, prefix: str, hints: BufferingHints) -> None:
        self.objects = 0
        self._destination = destination
        self._prefix = prefix
        self._hints = hints
        self._data = bytearray()
        self._oldest = 0.0
        self._sealed: tuple[str, bytes] | None = None

    def add(self, data: bytes) -> None:
        """Append data, with nothing between it and what is there."""
        if not self._data:
            self._oldest = time.monotonic()
        self._data += data

    def __bool__(self) -> bool:
        return bool(self._data) or self._sealed is not None

    @property
    def is_due(self) -> bool:
        """Whether the hints say that it is time to write."""
        if self._sealed is not None:
            return True
        return bool(self._data) and self._hints.are_met(len(self._data), since=self._oldest)

    def flush(self) -> None:
        """Write one object, if there is anything. Raises SinkError, and then it is still there."""
        if self:
            self._sealed = self._sealed or self._seal()
            self._put(*self._sealed)
            self._sealed = None
            self.objects += 1

    def _seal(self) -> tuple[str, bytes]:
        now = datetime.now(UTC)
        stream, compression = self._destination.delivery_stream, self._destination.compression
        name = f"{stream}-{_VERSION}-{now:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}"
        body = bytes(self._data)
        self._data.clear()
        if compression == "GZIP":
            body = gzip.compress(body)
        return f"{self._prefix}{now:%Y/%m/%d/%H}/{name}{_SUFFIXES[compression]}", body

    def _put(self, key: str, body: bytes) -> None:
        s3, bucket, _, _ = self._destination
        content_type = "application/octet-stream"
        try:
            call(s3.put_object, Bucket=bucket, Key=key, Body=body, ContentType=content_type)
        except CallError as error:
            raise SinkError(
                f"firehose: cannot write to the bucket {bucket}: {error.code}",
                hint="see whether S3 can be reached and the bucket exists",
            ) from None


def error_line(failure: Failure, lambda_arn: str) -> bytes:
    """A failed record as the JSON line that the service writes. Times are in milliseconds."""
    line = {
        "attemptsMade": failure.attempts,
        "arrivalTimestamp": failure.record.arrival_ms,
        "errorCode": failure.problem.code,
        "errorMessage": failure.problem.message,
        "attemptEndingTimestamp": failure.ended_ms,
        "rawData": base64.b64encode(failure.record.data).decode(),
        "lambdaArn": lambda_arn,
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
