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
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import Any

from dastream.aws.metrics import Log, Meter, Metrics, metric_lines, print_line
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.delivery import Deliverer, Delivery
from dastream.errors import ConfigError, KeyServiceError, ServiceError, SinkError
from dastream.keys import CachingUnwrap, open_unwrap, owner_of
from dastream.record import Position, Record, RecordBatch, utc_day
from dastream.settings import Settings
from dastream.sinks import Sink, open_sink, require_entries
from dastream.transforms import NamedTransform, open_transforms

__all__ = ["KinesisDelivery", "handler", "open_handler"]

Answer = dict[str, list[dict[str, str]]]


def handler(event: Mapping[str, Any], context: object) -> Answer:
    """The Lambda function's entry point. Settings come from `DASTREAM_…` variables."""
    del context
    return _from_environment()(event)


@cache
def _from_environment() -> KinesisDelivery:
    return open_handler(Settings.from_environment(os.environ), open_client("kms"))


def open_handler(settings: Settings, kms: Any, log: Log = print_line) -> KinesisDelivery:
    """A handler with given settings and boto3's KMS client. Raises ConfigError.

    The settings name the sink, which keeps the entries as the database wrote them.
    """
    if settings.sink is None:
        raise ConfigError(
            "kinesis handler: no sink", hint="set DASTREAM_SINK to s3://BUCKET/PREFIX"
        )
    sink = open_sink(settings.sink)
    require_entries([sink])
    unwrap = open_unwrap(settings, kms)
    return KinesisDelivery(
        Decoder.from_settings(settings, unwrap),
        open_transforms(settings.transforms),
        sink,
        log,
        unwrap=unwrap,
        resource_id=settings.resource_id,
    )


class KinesisDelivery:
    """Answers invocations. Nothing outlives one but the key cache and clients.

    `log` gets the invocation's metrics, and one mapping where a service failed. `unwrap` is the
    decoder's.
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
        """Deliver what the invocation brings, or name the first record that is not delivered.

        Raises ConfigError if nothing tells whose stream it is.
        """
        records = [_record(item) for item in event["Records"]]
        metrics = Metrics(stream=_position(records[0]).stream)
        undelivered = self._deliver_all(records, metrics)
        metrics.newest_ms = _arrival_ms(records[-1])
        for line in metric_lines(metrics, time.time_ns() // 1_000_000):
            self._log(line)
        failures = [{"itemIdentifier": undelivered.sequence}] if undelivered else []
        return {"batchItemFailures": failures}

    def _deliver_all(self, records: Sequence[Record], metrics: Metrics) -> Position | None:
        """Deliver records in their order; the first one that a service did not take, if any."""
        meter = Meter(self._decode, self._unwrap, metrics)
        deliver = self._deliverer(meter, metrics.stream)
        try:
            while records:
                delivery = _deliver_first(deliver, meter, records)
                _count(metrics, delivery)
                records = records[delivery.records :]
        except ServiceError as error:
            metrics.service_errors = 1
            undelivered = _position(records[0])
            self._tell(undelivered, error)
            return undelivered
        return None

    def _deliverer(self, meter: Meter, stream: str) -> Deliverer:
        return Deliverer(
            meter,
            self._transforms,
            [self._sink],
            resource_id=owner_of(stream, self._resource_id),
        )

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


def _deliver_first(deliver: Deliverer, meter: Meter, records: Sequence[Record]) -> Delivery:
    """Deliver as many of the records as make one batch, and tell what became of them.

    An earlier invocation may have delivered a batch from the same record on. It is formed anew
    as far as it goes, and its sink finds it. If it goes further than this invocation, all that
    this one brings is in it.
    """
    batch = _first_batch(records)
    held = deliver.extent(batch)
    if held is None:
        return _deliver_new(deliver, meter, batch)
    batch, _ = batch.split(held.through)
    if batch.through == held.through:
        return next(deliver(batch, whole=True))
    if held.is_whole:
        return Delivery(batch.through, records=len(batch.records))
    raise SinkError(
        "sink: a batch is held in part, and further than the invocation reaches",
        hint="an invocation with all of it mends that; what is given up can be replayed",
    )


def _deliver_new(deliver: Deliverer, meter: Meter, batch: RecordBatch) -> Delivery:
    """Deliver a batch, up to the record whose data key KMS does not give.

    That one is then the first of the next batch, and fails by itself.
    """
    try:
        return next(deliver(batch, whole=False))
    except KeyServiceError:
        opened = batch.records[: batch.records.index(meter.record)]
        if not opened:
            raise
        before, _ = batch.split(_position(opened[-1]).sequence)
        return next(deliver(before, whole=False))


def _first_batch(records: Sequence[Record]) -> RecordBatch:
    """The records that arrived on the same day as the first one.

    What was before them this invocation does not know, and it need not: `after` is the position
    right before the first one, so that a retry which begins there gives the batch the same name.
    """
    first = _position(records[0])
    day = utc_day(_arrival_ms(records[0]))
    together = tuple(takewhile(lambda record: utc_day(_arrival_ms(record)) == day, records))
    after = str(int(first.sequence) - 1)
    through = _position(together[-1]).sequence
    return RecordBatch(first.stream, first.shard, after, through, together)


def _count(metrics: Metrics, delivery: Delivery) -> None:
    metrics.records += delivery.records
    metrics.record_bytes += delivery.record_bytes
    metrics.events += delivery.events
    metrics.dropped += delivery.dropped
    metrics.dead_letters += delivery.dead_letters


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


def _position(record: Record) -> Position:
    assert record.position is not None, "an invocation's record has a position"
    return record.position


def _arrival_ms(record: Record) -> int:
    assert record.arrival_ms is not None, "an invocation's record has an arrival time"
    return record.arrival_ms
