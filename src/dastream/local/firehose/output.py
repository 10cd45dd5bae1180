"""The writing side: data and failures into objects of S3, by the service's names."""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import SinkError
from dastream.local.firehose.buffering import BufferingHints
from dastream.local.firehose.prefixes import KEY_NAMESPACE, evaluate
from dastream.local.firehose.transformation import Failure

__all__ = ["Compression", "Destination", "ObjectBuffer", "Partitions", "error_line"]

Compression = Literal["GZIP", "UNCOMPRESSED"]

_SUFFIXES: dict[Compression, str] = {"GZIP": ".gz", "UNCOMPRESSED": ""}
_VERSION = 1  # of the delivery stream's configuration, which never changes here


class Destination(NamedTuple):
    """Where objects go: a bucket, the delivery stream they are named after, how they are kept.

    `extension` is how their names end, in place of what the compression would have them.
    """

    s3: Any
    bucket: str
    delivery_stream: str
    compression: Compression
    extension: str | None = None

    @property
    def suffix(self) -> str:
        """How the names of objects end."""
        return _SUFFIXES[self.compression] if self.extension is None else self.extension


class ObjectBuffer:
    """Gathers data, and puts it into an object when it is large or old enough.

    Its key is the prefix, evaluated with `values` and the time of delivery (UTC), and the
    service's name. It stays as it is until S3 has it, so a put that is tried again does not make
    a second one.
    """

    def __init__(
        self,
        destination: Destination,
        prefix: str,
        hints: BufferingHints,
        values: Mapping[str, str],
    ) -> None:
        self.objects = 0
        self._values = values
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
        folder = evaluate(self._prefix, now, self._values)
        return f"{folder}{name}{self._destination.suffix}", body

    def _put(self, key: str, body: bytes) -> None:
        s3, bucket = self._destination.s3, self._destination.bucket
        content_type = "application/octet-stream"
        try:
            call(s3.put_object, Bucket=bucket, Key=key, Body=body, ContentType=content_type)
        except CallError as error:
            raise SinkError(
                f"firehose: cannot write to the bucket {bucket}: {error.code}",
                hint="see whether S3 can be reached and the bucket exists",
            ) from None


class Partitions:
    """Gathers data for one object at a time in each partition."""

    def __init__(self, destination: Destination, prefix: str, hints: BufferingHints) -> None:
        self.objects = 0
        self._destination = destination
        self._prefix = prefix
        self._hints = hints
        self._buffers: dict[tuple[tuple[str, str], ...], ObjectBuffer] = {}

    def add(self, data: bytes, keys: Mapping[str, str]) -> None:
        """Append data to what its partition has."""
        name = tuple(sorted(keys.items()))
        if name not in self._buffers:
            values = {f"{KEY_NAMESPACE}{key}": value for key, value in keys.items()}
            self._buffers[name] = ObjectBuffer(self._destination, self._prefix, self._hints, values)
        self._buffers[name].add(data)

    def __bool__(self) -> bool:
        return any(self._buffers.values())

    @property
    def is_due(self) -> bool:
        """Whether it is time to write in one of them."""
        return any(buffer.is_due for buffer in self._buffers.values())

    def flush(self) -> None:
        """Write an object in each partition that has anything. Raises SinkError."""
        for buffer in filter(None, self._buffers.values()):
            buffer.flush()
            self.objects += 1
        self._buffers = {name: buffer for name, buffer in self._buffers.items() if buffer}


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
