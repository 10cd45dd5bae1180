"""The Lambda function behind a Kinesis event source mapping: the consumer, batch by batch.

Source of shapes: Lambda Developer Guide, "Using Lambda to process records from Amazon Kinesis
Data Streams" (event, partial batch responses, retries).

An invocation brings consecutive records of one shard. What cannot be decoded becomes a dead
letter in the lake, as in `dastream run`, and never fails an item of the batch. When S3 or KMS
fail, everything before the trouble is delivered, and the answer names the first record that is
not: the service invokes again from there. Objects are named by their first record, so a repeated
range finds what is there (docs/adr/0009-promises.md).
"""

from __future__ import annotations

import binascii
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import msgspec

from dastream.aws.metrics import DecodeTimer, InvocationMetrics, metric_lines
from dastream.checkpoint import MemoryCheckpoints
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import ConfigError, ServiceError
from dastream.keys import CachingUnwrap, open_unwrap, owner_of
from dastream.pipeline import Counters, Pipeline
from dastream.record import Position, Record, RecordBatch, is_reached, utc_day
from dastream.settings import Settings
from dastream.sinks import Sink, open_sink
from dastream.transforms import NamedTransform, open_transforms

__all__ = ["KinesisDelivery", "handler", "open_handler"]

Answer = dict[str, list[dict[str, str]]]
Log = Callable[[Mapping[str, object]], None]


def handler(event: Mapping[str, Any], context: object) -> Answer:
    """The Lambda function's entry point. Settings come from `DASTREAM_…` variables."""
    del context
    return _from_environment()(event)


@cache
def _from_environment() -> KinesisDelivery:
    return open_handler(Settings.from_environment(os.environ), open_client("kms"))


def _print(line: Mapping[str, object]) -> None:
    print(msgspec.json.encode(line).decode(), flush=True)  # noqa: T201 - Lambda's log


def open_handler(settings: Settings, kms: Any, log: Log = _print) -> KinesisDelivery:
    """A handler with given settings and boto3's KMS client. Raises ConfigError without a sink."""
    if settings.sink is None:
        raise ConfigError(
            "kinesis handler: no sink", hint="set DASTREAM_SINK to s3://BUCKET/PREFIX"
        )
    unwrap = open_unwrap(settings, kms)
    return KinesisDelivery(
        Decoder.from_settings(settings, unwrap),
        open_transforms(settings.transforms),
        open_sink(settings.sink),
        log,
        unwrap=unwrap,
        resource_id=settings.resource_id,
    )


class KinesisDelivery:
    """Answers invocations. Nothing outlives one but the key cache and clients.

    `log` gets the invocation's metrics, and one mapping where a service failed.
    """

    def __init__(
        self,
        decode: Decoder,
        transforms: Sequence[NamedTransform],
        sink: Sink,
        log: Log,
        *,
        unwrap: CachingUnwrap,
        resource_id: str | None = None,
    ) -> None:
        self._decode = decode
        self._transforms = transforms
        self._sink = sink
        self._log = log
        self._unwrap = unwrap
        self._resource_id = resource_id

    def __call__(self, event: Mapping[str, Any]) -> Answer:
        """Deliver what the invocation brings; name the first record that is not delivered."""
        invocation = _Invocation(event["Records"])
        decode, checkpoints = DecodeTimer(self._decode), MemoryCheckpoints()
        pipeline = Pipeline(invocation, self._deliverer(invocation, decode), checkpoints)
        hits, misses = self._unwrap.hits, self._unwrap.misses
        failures = []
        try:
            pipeline.run()
        except ServiceError as error:
            undelivered = invocation.first_after(checkpoints.progress(invocation.stream))
            failures.append({"itemIdentifier": undelivered.sequence})
            self._tell(undelivered, error)
        self._measure(
            invocation,
            pipeline.counters,
            key_cache_hits=self._unwrap.hits - hits,
            key_cache_misses=self._unwrap.misses - misses,
            decode_ms=decode.spent_ms,
        )
        return {"batchItemFailures": failures}

    def _deliverer(self, invocation: _Invocation, decode: DecodeTimer) -> Deliverer:
        owner = owner_of(invocation.stream, self._resource_id)
        return Deliverer(
            decode, self._transforms, [self._sink], resource_id=owner, refused_records_max=None
        )

    def _measure(self, invocation: _Invocation, counters: Counters, **measured: Any) -> None:
        now_ms = time.time_ns() // 1_000_000
        metrics = InvocationMetrics(
            stream=invocation.stream,
            records=counters.records,
            record_bytes=counters.record_bytes,
            events=counters.events,
            dropped=counters.dropped,
            dead_letters=counters.dead_letters,
            seconds_behind=invocation.seconds_behind(now_ms),
            **measured,
        )
        for line in metric_lines(metrics, now_ms):
            self._log(line)

    def _tell(self, position: Position, error: ServiceError) -> None:
        self._log(
            {
                "message": "delivery failed",
                "shardId": position.shard,
                "sequenceNumber": position.sequence,
                "error": type(error).__name__,
                "reason": str(error),
                "hint": error.hint,
            }
        )


class _Invocation:
    """The records of one invocation as a source that is read once."""

    lag_ms: Mapping[str, int] = {}

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._records = [_record(item) for item in items]
        self._positions = [record.position for record in self._records if record.position]
        self.stream = self._positions[0].stream

    def batches(self, progress: Mapping[str, str]) -> Iterator[RecordBatch]:
        """One batch for each UTC day.

        Each is named by its first record, not by what was before: an invocation does not know
        that, and a retry begins at any batch.
        """
        del progress
        for _, records in groupby(self._records, lambda record: utc_day(record.arrival_ms or 0)):
            together = tuple(records)
            last = together[-1].position
            assert last is not None, "an invocation's record has a position"
            yield RecordBatch(last.stream, last.shard, None, last.sequence, together)

    def stop(self) -> None:
        """An invocation runs to its end."""

    def close(self) -> None:
        """Nothing to let go of."""

    def first_after(self, progress: Mapping[str, str]) -> Position:
        """The first record that is not delivered, by what has been committed."""
        return next(
            position
            for position in self._positions
            if position.shard not in progress
            or not is_reached(position.sequence, by=progress[position.shard])
        )

    def seconds_behind(self, now_ms: int) -> float:
        """The age of the newest record."""
        return max(0, now_ms - (self._records[-1].arrival_ms or 0)) / 1000


def _record(item: Mapping[str, Any]) -> Record:
    """A record as the event source mapping gives it; eventID is shard, colon, number."""
    kinesis = item["kinesis"]
    position = Position(
        stream=item["eventSourceARN"].rpartition("/")[2],
        shard=item["eventID"].partition(":")[0],
        sequence=kinesis["sequenceNumber"],
    )
    arrival_ms = round(kinesis["approximateArrivalTimestamp"] * 1000)
    return Record(binascii.a2b_base64(kinesis["data"]), position, arrival_ms)
