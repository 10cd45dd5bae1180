"""Starting and stopping activity streams on the local endpoint, in the states of the RDS API."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from dastream.local.kinesis import Kinesis
from dastream.local.kinesis.errors import ResourceInUseError, ResourceNotFoundError
from dastream.local.kinesis.requests import CreateStream, DeleteStream
from dastream.local.reasons import reason

__all__ = ["ActivityStream", "ActivityStreamControl", "ActivityStreamHost"]

_SHARDS = 2  # with 24 hours of retention, Kinesis' default, as Aurora has it
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActivityStream:
    """What is published, and where to.

    `resource_id` is the cluster's `cluster-…` or the instance's `db-…`, `arn` its ARN, `stream`
    the name of the Kinesis stream, `mode` is `sync` or `async`.
    """

    resource_id: str
    arn: str
    stream: str
    kms_key_arn: str
    mode: str
    engine: str


class ActivityStreamHost(Protocol):
    """Who publishes the activity of the databases that the endpoint only pretends to run.

    The calls come one at a time, and may use the endpoint.
    """

    def start(self, stream: ActivityStream) -> None:
        """Begin to publish, or go on after a restart. The Kinesis stream exists.

        Raising where it would begin takes the Kinesis stream away again.
        """

    def stop(self, stream: ActivityStream) -> None:
        """Publish what is left and end. The Kinesis stream is there until this returns."""


class ActivityStreamControl:
    """Takes activity streams through `stopped → starting → started → stopping → stopped`.

    `begin` and `end` are called in a request, and return at once; the way to the next state is
    gone by a thread of its own, in the order of the calls. That thread takes `rds()`, in which
    the RDS models may be changed, only to change state and never while the host works, so the
    host may call the endpoint.
    """

    def __init__(
        self,
        host: ActivityStreamHost | None,
        kinesis: Kinesis,
        rds: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._host = host
        self._kinesis = kinesis
        self._rds = rds
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="activity-stream")
        self._started: dict[str, tuple[Any, ActivityStream]] = {}

    def begin(
        self, resource: Any, stream: ActivityStream, *, with_native_fields: bool | None
    ) -> None:
        """Start the activity stream of one of moto's clusters or instances, which has none."""
        vars(resource).update(
            activity_stream_status="starting",
            activity_stream_mode=stream.mode,
            activity_stream_kms_key_id=stream.kms_key_arn,
            activity_stream_kinesis_stream_name=stream.stream,
            activity_stream_engine_native_audit_fields_included=with_native_fields,
            activity_stream_policy_status="locked",
        )
        self._worker.submit(self._start, resource, stream)

    def end(self, resource: Any) -> None:
        """Stop the activity stream of a cluster or an instance that has one."""
        resource.activity_stream_status = "stopping"
        self._worker.submit(self._stop, resource.arn)

    def resume(self, resource: Any, stream: ActivityStream) -> None:
        """Go on, in this thread, with an activity stream of before a restart.

        What was to be started or stopped then is started or stopped now. Raises what the host
        raises, and leaves everything for another attempt.
        """
        with suppress(ResourceInUseError):  # it is from before the restart, with its records
            self._kinesis.answer(CreateStream(stream_name=stream.stream, shard_count=_SHARDS))
        if self._host is not None:
            self._host.start(stream)
        self._started[stream.arn] = resource, stream
        if resource.activity_stream_status == "stopping":
            self._stop(stream.arn)
        else:
            self._show_started(resource)

    def close(self) -> None:
        """Have the host stop what it publishes, after what is under way, and wait for it.

        Activity streams and their Kinesis streams stay as they are.
        """
        self._worker.submit(self._rest)
        self._worker.shutdown()

    def _start(self, resource: Any, stream: ActivityStream) -> None:
        try:
            self._start_publishing(stream)
        except Exception as error:  # noqa: BLE001 - whatever a host raises, the state stays clear
            _log.error("activity stream of %s did not start: %s", stream.arn, reason(error))
            self._show_stopped(resource)
        else:
            self._started[stream.arn] = resource, stream
            self._show_started(resource)

    def _start_publishing(self, stream: ActivityStream) -> None:
        self._kinesis.answer(CreateStream(stream_name=stream.stream, shard_count=_SHARDS))
        try:
            if self._host is not None:
                self._host.start(stream)
        except Exception:
            self._delete_kinesis_stream(stream)
            raise

    def _stop(self, arn: str) -> None:
        if arn not in self._started:
            return  # the start before it failed
        resource, stream = self._started.pop(arn)
        self._stop_publishing(stream)
        self._delete_kinesis_stream(stream)
        self._show_stopped(resource)

    def _rest(self) -> None:
        while self._started:
            _, (_, stream) = self._started.popitem()
            self._stop_publishing(stream)

    def _stop_publishing(self, stream: ActivityStream) -> None:
        try:
            if self._host is not None:
                self._host.stop(stream)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("activity stream of %s broke off: %s", stream.arn, reason(error))

    def _delete_kinesis_stream(self, stream: ActivityStream) -> None:
        with suppress(ResourceNotFoundError):  # somebody deleted it
            self._kinesis.answer(DeleteStream(stream_name=stream.stream))

    def _show_started(self, resource: Any) -> None:
        with self._rds():
            resource.activity_stream_status = "started"

    def _show_stopped(self, resource: Any) -> None:
        with self._rds():
            for name in [name for name in vars(resource) if name.startswith("activity_stream_")]:
                delattr(resource, name)  # the class has them as they are without one
