"""The activity stream as a resource of a CloudFormation stack, which has none of its own for it.

Source of requests and answers: CloudFormation User Guide, "Custom resource request and response
reference". Create, update and delete may each come more than once, and every way out of the
handler must answer, since a stack waits for an hour otherwise.

An activity stream that runs already is adopted. On delete, a rollback included, it is kept
unless the stack says otherwise: an audit trail does not end by accident. One that this resource
was refused is never touched: its physical id says that there is nothing to delete.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from dastream.aws.activity_stream import ActivityStreams, Status
from dastream.clients import open_client
from dastream.errors import ConfigError, DastreamError, ServiceError

__all__ = ["Properties", "StreamResource", "handler"]

ANSWER_SECONDS = 30
"""What is left of an invocation for the answer, after waiting."""

REASON_CHARS_MAX = 1000
"""An answer has at most 4,096 bytes."""

NOTHING = "no-activity-stream"
"""The physical id of a resource that never came to be."""


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


class Properties(msgspec.Struct, frozen=True, rename="pascal"):
    """The resource's properties. CloudFormation gives every one as a string."""

    resource_arn: str
    resource_id: str
    kms_key_id: str
    mode: str = "async"
    native_audit_fields: str = "no"
    apply_immediately: str = "no"
    keep_activity_stream: str = "yes"


def handler(event: Mapping[str, Any], context: Context) -> None:
    """The Lambda function's entry point."""
    StreamResource(ActivityStreams(open_client("rds")), _put)(event, context)


class StreamResource:
    """Answers CloudFormation's requests. `put` sends an answer's bytes to a URL."""

    def __init__(self, streams: ActivityStreams, put: Callable[[str, bytes], None]) -> None:
        self._streams = streams
        self._put = put

    def __call__(self, event: Mapping[str, Any], context: Context) -> None:
        """Do what is asked for, and answer, whatever happens."""
        request = _Request(event)
        try:
            outcome = {"Status": "SUCCESS", "Data": self._outcome(request, context)}
        except DastreamError as error:
            reason = f"{error}: {error.hint}" if error.hint else str(error)
            outcome = {"Status": "FAILED", "Reason": reason[:REASON_CHARS_MAX]}
        except Exception as error:  # noqa: BLE001 - without an answer the stack waits for an hour
            outcome = {"Status": "FAILED", "Reason": f"activity stream: {type(error).__name__}"}
        self._put(event["ResponseURL"], json.dumps(outcome | request.identity).encode())

    def _outcome(self, request: _Request, context: Context) -> dict[str, str]:
        seconds_max = context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
        if request.kind == "Delete":
            if request.is_ours:
                self._delete(request.properties(), seconds_max)
            return {}
        return _data(self._start(request, seconds_max))

    def _start(self, request: _Request, seconds_max: float) -> Status:
        wanted = request.properties()
        status = self._streams.status(wanted.resource_arn)
        _check(status, wanted)
        request.claim(wanted)
        if status.status == "stopping":
            status = self._streams.wait(wanted.resource_arn, "stopped", seconds_max=seconds_max)
        if status.status == "stopped":
            self._streams.start(
                wanted.resource_arn,
                kms_key_id=wanted.kms_key_id,
                mode=wanted.mode,
                apply_immediately=wanted.apply_immediately == "yes",
                native_audit_fields=wanted.native_audit_fields == "yes",
            )
        return self._streams.wait(wanted.resource_arn, "started", seconds_max=seconds_max)

    def _delete(self, wanted: Properties, seconds_max: float) -> None:
        if wanted.keep_activity_stream == "yes":
            return
        arn = wanted.resource_arn
        try:
            status = self._streams.status(arn)
        except ConfigError:
            return  # the database went before its stack
        if status.status == "starting":
            status = self._streams.wait(arn, "started", seconds_max=seconds_max)
        if status.status == "started":
            self._streams.stop(arn, apply_immediately=wanted.apply_immediately == "yes")
        self._streams.wait(arn, "stopped", seconds_max=seconds_max)


class _Request:
    """A request, and under which physical id it is answered.

    The id follows from the database, so a retry gives it too. Until the resource has a claim to
    the activity stream, its creation is answered with an id that a delete leaves alone.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.kind = event["RequestType"]
        self._event = event
        self._physical_id = event.get("PhysicalResourceId", NOTHING)

    @property
    def is_ours(self) -> bool:
        """Whether there is anything to delete."""
        return bool(self._physical_id != NOTHING)

    @property
    def identity(self) -> dict[str, str]:
        """What an answer repeats."""
        names = ("StackId", "RequestId", "LogicalResourceId")
        return {"PhysicalResourceId": self._physical_id} | {
            name: self._event[name] for name in names
        }

    def claim(self, wanted: Properties) -> None:
        """From here on the activity stream is this resource's."""
        self._physical_id = f"activity-stream-of-{wanted.resource_id}"

    def properties(self) -> Properties:
        """The resource's properties. Raises ConfigError."""
        return _properties(self._event["ResourceProperties"])


def _properties(given: Mapping[str, Any]) -> Properties:
    try:
        return msgspec.convert(given, Properties)
    except msgspec.ValidationError as error:
        raise ConfigError(f"activity stream: the resource's properties: {error}") from None


def _check(status: Status, wanted: Properties) -> None:
    """Raise for an activity stream that is not the one wanted: RDS cannot change a running one."""
    if status.resource_id != wanted.resource_id:
        raise ConfigError(
            f"activity stream: {status.identifier} has the resource id {status.resource_id}",
            hint="give ResourceId and ResourceArn of the same database",
        )
    is_running = status.status in ("starting", "started")
    key = status.kms_key_id or wanted.kms_key_id
    # RDS tells the key by its ARN or by its id.
    has_key = key.rpartition("/")[2] == wanted.kms_key_id.rpartition("/")[2]
    if is_running and not (has_key and status.mode in (None, wanted.mode)):
        raise ServiceError(
            "activity stream: it runs with another key or mode",
            hint="stop it first (`dastream stream stop`), or give the key and mode it has",
        )


def _data(status: Status) -> dict[str, str]:
    """What `!GetAtt` gives to the rest of the stack."""
    return {"StreamName": status.stream or "", "Status": status.status}


def _put(url: str, body: bytes) -> None:
    """Send an answer to the presigned URL, which wants no content type."""
    if not url.startswith("https://"):
        raise ConfigError("activity stream: the response URL is not https")
    request = urllib.request.Request(url, body, {"Content-Type": ""}, method="PUT")  # noqa: S310 - https
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS / 2):  # noqa: S310 - https
        pass
