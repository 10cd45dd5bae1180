"""The delivery stream: one thread that reads, transforms and writes."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from dastream.checkpoint import Checkpoints, MemoryCheckpoints
from dastream.clients import CallError, call
from dastream.errors import ConfigError, ServiceError
from dastream.local.firehose.buffering import BufferingHints, RecordBuffer
from dastream.local.firehose.output import (
    Compression,
    Destination,
    ObjectBuffer,
    Partitions,
    error_line,
)
from dastream.local.firehose.prefixes import ERROR_OUTPUT_TYPE, partition_keys
from dastream.local.firehose.reader import StreamReader
from dastream.local.firehose.transformation import INVOCATION_SECONDS_MAX, Transformation
from dastream.local.lambda_function import Handler, LambdaFunction
from dastream.local.reasons import reason

__all__ = ["Counters", "DeliveryStream"]

_FAILURES_MAX = 5
"""How often in a row reading or writing may fail, each time after what boto3 tries by itself."""
_POLL_SECONDS = 0.2  # Kinesis allows five reads a second of each shard

_log = logging.getLogger(__name__)


@dataclass
class Counters:
    """Records read, what became of them, invocations of the handler, objects written.

    `records` = `ok` + `dropped` + `failed` + what waits for the transformation.
    `error_objects` are the objects that hold the failed ones.
    """

    records: int = 0
    ok: int = 0
    dropped: int = 0
    failed: int = 0
    invocations: int = 0
    objects: int = 0
    error_objects: int = 0


class DeliveryStream:
    """Delivers the records of the Kinesis stream `source`, transformed by `handler`, to S3.

    `handler` is a Lambda function's: it takes the service's invocation event and a context.
    Data of `Ok` records goes to `bucket` under `prefix`, one after the other with nothing in
    between; records that fail go under `error_prefix`, as they were, in the service's error
    lines. A prefix may have expressions (`prefixes`); with those of partition keys, each
    partition has objects of its own. `extension` is how the names of objects end. The hints for
    the transformation (`lambda_buffer_…`) and for objects (`buffer_…`) default to those of the
    service, but a minute instead of five.

    Every record is delivered at least once, even if the process is killed: another one with the
    same `checkpoints` goes on after what is in S3. Closes its checkpoints.
    """

    def __init__(
        self,
        name: str,
        *,
        source: str,
        handler: Handler,
        bucket: str,
        kinesis: Any,
        s3: Any,
        prefix: str = "",
        error_prefix: str = "processing-failed/",
        region: str = "us-east-1",
        account: str = "123456789012",
        lambda_buffer_bytes_max: int = 1 << 20,
        lambda_buffer_seconds_max: float = 60.0,
        buffer_bytes_max: int = 5 << 20,
        buffer_seconds_max: float = 60.0,
        compression: Compression = "UNCOMPRESSED",
        extension: str | None = None,
        retry_seconds: float = 1.0,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._source = source
        self._kinesis = kinesis
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"firehose-{name}", daemon=True)
        self._error: BaseException | None = None
        self._counters = Counters()
        self._checkpoints = checkpoints or MemoryCheckpoints()
        self._reader = StreamReader(kinesis, source, self._checkpoints.progress(source))
        self._taken: dict[str, str] = {}
        self._waiting = RecordBuffer(
            BufferingHints(lambda_buffer_bytes_max, lambda_buffer_seconds_max)
        )
        arn = f"arn:aws:lambda:{region}:{account}:function:{name}:$LATEST"
        self._transformation = Transformation(
            LambdaFunction(handler, arn, INVOCATION_SECONDS_MAX),
            delivery_stream_arn=f"arn:aws:firehose:{region}:{account}:deliverystream/{name}",
            source_arn=f"arn:aws:kinesis:{region}:{account}:stream/{source}",
            region=region,
            partition_keys=partition_keys(prefix),
            pause=self._stopping.wait,
            retry_seconds=retry_seconds,
        )
        destination = Destination(s3, bucket, name, compression, extension)
        hints = BufferingHints(buffer_bytes_max, buffer_seconds_max)
        self._delivered = Partitions(destination, prefix, hints)
        failed = {ERROR_OUTPUT_TYPE: "processing-failed"}
        self._failed = ObjectBuffer(destination, error_prefix, hints, failed)

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        return replace(
            self._counters,
            invocations=self._transformation.function.invocations,
            objects=self._delivered.objects,
            error_objects=self._failed.objects,
        )

    def start(self) -> None:
        """Begin to deliver, in the background. Raises ConfigError if the source cannot be read."""
        try:
            call(self._kinesis.describe_stream_summary, StreamName=self._source)
        except CallError as error:
            raise ConfigError(
                f"firehose: cannot read the stream {self._source}: {error.code}",
                hint="start the activity stream first, or correct the name",
            ) from None
        self._thread.start()

    def stop(self) -> None:
        """Deliver what is in the stream by now, and end.

        Raises what broke the delivery: SourceError or SinkError after several attempts.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._checkpoints.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 - `stop` raises it, whatever it is
            _log.error("firehose: the delivery has ended: %s", reason(error))
            self._error = error

    def _deliver(self) -> None:
        failures = 0
        is_done = False
        while not is_done:
            try:
                is_done = self._drain() if self._stopping.is_set() else self._round()
                failures = 0
            except ServiceError as error:
                failures += 1
                if failures > _FAILURES_MAX:
                    raise
                _log.warning("%s (%d in a row)", error, failures)
                time.sleep(min(0.05 * 2**failures, 2.0))

    def _round(self) -> bool:
        """Write before reading, so that nothing more is taken in while S3 takes nothing."""
        self._write_due()
        while self._waiting.is_due:
            self._transform()
            self._write_due()
        if self._read():
            self._stopping.wait(_POLL_SECONDS)
        return False

    def _drain(self) -> bool:
        """Deliver everything up to the tip of the stream."""
        is_at_tip = False
        while not is_at_tip:
            is_at_tip = self._read()
            while self._waiting:
                self._transform()
                self._write_due()
        while self._delivered or self._failed:
            self._write()
        self._commit()
        return True

    def _read(self) -> bool:
        """Take one round of pages in; whether the tip of every shard is reached."""
        is_at_tip = True
        for page in self._reader.pages():
            self._waiting.add(page.records)
            self._counters.records += len(page.records)
            is_at_tip = is_at_tip and page.is_at_tip
        return is_at_tip

    def _transform(self) -> None:
        records = self._waiting.take()
        outcome = self._transformation.apply(records)
        for data, partition in outcome.delivered:
            self._delivered.add(data, partition)
        for failure in outcome.failures:
            self._failed.add(error_line(failure, self._transformation.function.arn))
        self._counters.ok += len(outcome.delivered)
        self._counters.dropped += outcome.dropped
        self._counters.failed += len(outcome.failures)
        self._taken |= {record.shard: record.sequence for record in records}

    def _write_due(self) -> None:
        if self._delivered.is_due or self._failed.is_due:
            self._write()
        if not (self._delivered or self._failed):
            self._commit()

    def _write(self) -> None:
        # Both together, so that there are moments at which all that was taken is in S3.
        self._delivered.flush()
        self._failed.flush()

    def _commit(self) -> None:
        taken, self._taken = self._taken, {}
        for shard, through in taken.items():
            self._checkpoints.commit(self._source, shard, through)
