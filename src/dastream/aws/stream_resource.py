"""The activity stream as a resource of a CloudFormation stack, which has none of its own for it.

Source of requests and answers: CloudFormation User Guide, "Custom resource request and response
reference". Create, update and delete may each come more than once, and every way out of the
handler must answer, since a stack waits for an hour otherwise.

An activity stream that runs already is adopted. On delete, a rollback included, it is kept
unless the stack says otherwise: an audit trail does not end by accident.
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
        try:
            answer = {"Status": "SUCCESS", "Data": self._outcome(event, context)}
        except DastreamError as error:
            reason = f"{error}: {error.hint}" if error.hint else str(error)
            answer = {"Status": "FAILED", "Reason": reason[:REASON_CHARS_MAX]}
        except Exception as error:  # noqa: BLE001 - without an answer the stack waits for an hour
            answer = {"Status": "FAILED", "Reason": f"activity stream: {type(error).__name__}"}
        self._put(event["ResponseURL"], json.dumps(answer | _identity(event)).encode())

    def _outcome(self, event: Mapping[str, Any], context: Context) -> dict[str, str]:
        wanted = _properties(event["ResourceProperties"])
        seconds_max = context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
        if event["RequestType"] == "Delete":
            return self._delete(wanted, seconds_max)
        return _data(self._start(wanted, seconds_max))

    def _start(self, wanted: Properties, seconds_max: float) -> Status:
        status = self._streams.status(wanted.resource_arn)
        _check(status, wanted)
        if status.status == "stopping":
            status = self._streams.wait(wanted.resource_arn, "stopped", seconds_max=seconds_max)
        if status.status == "stopped":
            self._streams.start(
                wanted.resource_arn,
                kms_key_id=wanted.kms_key_id,
                mode=wanted.mode,
                apply_immediately=wanted.apply_immediately == "yes",
            )
        return self._streams.wait(wanted.resource_arn, "started", seconds_max=seconds_max)

    def _delete(self, wanted: Properties, seconds_max: float) -> dict[str, str]:
        if wanted.keep_activity_stream == "yes":
            return {}
        try:
            status = self._streams.status(wanted.resource_arn)
        except ConfigError:
            return {}  # the database went before its stack
        if status.status in ("starting", "started"):
            self._streams.stop(
                wanted.resource_arn, apply_immediately=wanted.apply_immediately == "yes"
            )
        self._streams.wait(wanted.resource_arn, "stopped", seconds_max=seconds_max)
        return {}


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


def _identity(event: Mapping[str, Any]) -> dict[str, str]:
    """What an answer repeats. The physical id follows from the database: a retry gives it too."""
    resource_id = event["ResourceProperties"].get("ResourceId")
    return {
        "PhysicalResourceId": f"activity-stream-of-{resource_id}",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }


def _put(url: str, body: bytes) -> None:
    """Send an answer to the presigned URL, which wants no content type."""
    if not url.startswith("https://"):
        raise ConfigError("activity stream: the response URL is not https")
    request = urllib.request.Request(url, body, {"Content-Type": ""}, method="PUT")  # noqa: S310 - https
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS / 2):  # noqa: S310 - https
        pass
