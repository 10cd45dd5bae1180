"""Starting and stopping activity streams on the local endpoint, in the states of the RDS API."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from moto.kinesis.models import KinesisBackend, kinesis_backends

from dastream.local.reasons import reason

__all__ = ["ActivityStream", "ActivityStreamControl", "ActivityStreamHost"]

_SHARDS = 2
_RETENTION_HOURS = 24  # Aurora User Guide: data of an activity stream is kept for 24 hours
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

    Both calls come from a thread of their own, one at a time, and may use the endpoint.
    """

    def start(self, stream: ActivityStream) -> None:
        """Begin to publish. The Kinesis stream exists. Raising takes it away again."""

    def stop(self, stream: ActivityStream) -> None:
        """Publish what is left and end. The Kinesis stream is deleted when this returns."""


class ActivityStreamControl:
    """Takes activity streams through `stopped → starting → started → stopping → stopped`.

    `begin` and `end` are called in a request, which holds `lock`, and return at once; the way to
    the next state is gone by a thread of its own, in the order of the calls. That thread takes
    `lock` only to change state, never while the host works, so the host may call the endpoint.
    """

    def __init__(self, host: ActivityStreamHost | None, lock: threading.Lock) -> None:
        self._host = host
        self._lock = lock
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

    def close(self) -> None:
        """Stop all activity streams, after what is under way, and wait for it."""
        self._worker.submit(self._stop_all)
        self._worker.shutdown()

    def _start(self, resource: Any, stream: ActivityStream) -> None:
        try:
            self._start_publishing(stream)
        except Exception as error:  # noqa: BLE001 - whatever a host raises, the state stays clear
            _log.error("activity stream of %s did not start: %s", stream.arn, reason(error))
            self._show_stopped(resource)
        else:
            with self._lock:
                self._started[stream.arn] = resource, stream
                resource.activity_stream_status = "started"

    def _start_publishing(self, stream: ActivityStream) -> None:
        kinesis = _kinesis(stream.arn)
        with self._lock:
            kinesis.create_stream(stream.stream, _SHARDS, None, _RETENTION_HOURS)
        try:
            if self._host is not None:
                self._host.start(stream)
        except Exception:
            with self._lock:
                kinesis.delete_stream(None, stream.stream)
            raise

    def _stop(self, arn: str) -> None:
        if arn not in self._started:
            return  # the start before it failed
        resource, stream = self._started[arn]
        try:
            if self._host is not None:
                self._host.stop(stream)
        except Exception as error:  # noqa: BLE001 - the same
            _log.error("activity stream of %s broke off: %s", stream.arn, reason(error))
        with self._lock:
            del self._started[arn]
            _kinesis(stream.arn).streams.pop(stream.stream, None)  # unless somebody deleted it
        self._show_stopped(resource)

    def _stop_all(self) -> None:
        for arn in list(self._started):
            self._stop(arn)

    def _show_stopped(self, resource: Any) -> None:
        with self._lock:
            for name in [name for name in vars(resource) if name.startswith("activity_stream_")]:
                delattr(resource, name)  # the class has them as they are without one


def _kinesis(arn: str) -> KinesisBackend:
    """The Kinesis of the account and the region that an ARN names."""
    _, _, _, region, account, *_ = arn.split(":")
    return kinesis_backends[account][region]
