"""A Lambda function in this process: its handler, invoked over JSON within Lambda's limits.

Source of the limits: Lambda Developer Guide, "Lambda quotas", and the numbers in its error
messages.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dastream.local.reasons import reason

__all__ = [
    "REPLY_BYTES_MAX",
    "REQUEST_BYTES_MAX",
    "Handler",
    "InvocationError",
    "LambdaFunction",
    "over_the_wire",
]

Handler = Callable[[dict[str, Any], object], Mapping[str, Any] | None]

REQUEST_BYTES_MAX = 6_291_456
REPLY_BYTES_MAX = 6_291_556


class InvocationError(Exception):
    """An invocation failed as a whole."""

    def __init__(self, reason: str, *, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.is_timeout = is_timeout


@dataclass(frozen=True)
class LambdaContext:
    """The members of Lambda's context object that handlers use."""

    function_name: str
    invoked_function_arn: str
    aws_request_id: str
    deadline: float

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation counts as timed out."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


@dataclass
class LambdaFunction:
    """A function by its ARN. `invocations` counts its invocations, failed ones too."""

    handler: Handler
    arn: str
    seconds_max: float
    invocations: int = 0

    def __call__(self, event: dict[str, Any]) -> Any:
        """What it replies. Raises InvocationError, whatever goes wrong."""
        self.invocations += 1
        deadline = time.monotonic() + self.seconds_max
        context = LambdaContext(self.arn.split(":")[6], self.arn, str(uuid.uuid4()), deadline)
        event = over_the_wire(event, REQUEST_BYTES_MAX, "request")
        try:
            reply = self.handler(event, context)
        except Exception as error:  # noqa: BLE001 - whatever it raises is a failed invocation
            raise InvocationError(f"the handler raised: {reason(error)}") from None
        # A function in this process cannot be cut off, so it is timed out when it returns.
        if time.monotonic() > deadline:
            raise InvocationError("the handler took too long", is_timeout=True)
        return over_the_wire(reply, REPLY_BYTES_MAX, "reply")


def over_the_wire(value: object, bytes_max: int, name: str) -> Any:
    """What the other side gets: the value through JSON. Raises InvocationError beyond the limit."""
    try:
        wire = json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise InvocationError(f"the {name} is no JSON") from None
    if len(wire) > bytes_max:
        raise InvocationError(f"the {name} is over {bytes_max} bytes")
    return json.loads(wire)
