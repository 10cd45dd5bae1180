"""Starting, stopping and looking at the activity stream of a cluster or an instance.

Source: RDS API reference (StartActivityStream, StopActivityStream, DescribeDBClusters,
DescribeDBInstances). Aurora has activity streams at clusters, RDS for Oracle and SQL Server at
instances.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import ConfigError, ServiceError

__all__ = ["ActivityStreams", "Status"]

WAIT_SECONDS_MAX = 1800
POLL_SECONDS = 5.0
_CHANGING = ("starting", "stopping")

_NOT_THERE = frozenset({"DBClusterNotFoundFault", "DBInstanceNotFound"})

_HINTS = {
    "InvalidDBClusterStateFault": "the cluster is busy or the stream is not in that state: "
    "look at `dastream stream status`",
    "InvalidDBInstanceStateFault": "the instance is busy or the stream is not in that state: "
    "look at `dastream stream status`",
    "KMSKeyNotAccessibleFault": "give a customer managed key that is enabled and that you may "
    "use (kms:DescribeKey, kms:CreateGrant)",
}


@dataclass(frozen=True, slots=True)
class Status:
    """The activity stream of one resource.

    `status` is stopped, starting, started or stopping; `mode` sync or async, None while stopped;
    `maintenance_window` as `sun:05:00-sun:05:30`, UTC.
    """

    identifier: str
    resource_id: str
    arn: str
    engine: str
    status: str
    mode: str | None
    stream: str | None
    kms_key_id: str | None
    maintenance_window: str | None


class _Kind(NamedTuple):
    """How RDS names the same things for clusters and for instances."""

    operation: str
    list: str
    identifier: str
    resource_id: str
    arn: str


_CLUSTER = _Kind(
    "describe_db_clusters",
    "DBClusters",
    "DBClusterIdentifier",
    "DbClusterResourceId",
    "DBClusterArn",
)
_INSTANCE = _Kind(
    "describe_db_instances",
    "DBInstances",
    "DBInstanceIdentifier",
    "DbiResourceId",
    "DBInstanceArn",
)


class ActivityStreams:
    """The activity streams of one account and region. `client` is boto3's for RDS.

    A resource is named by its identifier, its ARN, or its resource id. All methods raise
    ConfigError for a resource that is not there, and ServiceError when RDS refuses.
    """

    def __init__(self, client: Any, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._client = client
        self._poll_seconds = poll_seconds

    def status(self, resource: str) -> Status:
        """What RDS says now."""
        for kind in _kinds(resource):
            for item in self._describe(kind, resource):
                status = _status(kind, item)
                if resource in (status.identifier, status.resource_id, status.arn):
                    return status
        raise ConfigError(
            "activity stream: no cluster or instance of this name",
            hint="check the name and the region (AWS_REGION)",
        )

    def start(
        self, resource: str, *, kms_key_id: str, mode: str, apply_immediately: bool
    ) -> Status:
        """Ask RDS to start it. On Aurora, `apply_immediately` restarts the cluster."""
        arguments = {"Mode": mode, "KmsKeyId": kms_key_id, "ApplyImmediately": apply_immediately}
        return self._change(resource, self._client.start_activity_stream, arguments)

    def stop(self, resource: str, *, apply_immediately: bool) -> Status:
        """Ask RDS to stop it. What has not been read from its stream by then is gone."""
        arguments = {"ApplyImmediately": apply_immediately}
        return self._change(resource, self._client.stop_activity_stream, arguments)

    def wait(
        self,
        resource: str,
        status: str,
        on_change: Callable[[Status], None] | None = None,
        *,
        seconds_max: float = WAIT_SECONDS_MAX,
    ) -> Status:
        """Wait until it is in `status`; `on_change` is called with every other one on the way.

        Raises ServiceError when RDS has given up, or after `seconds_max`.
        """
        deadline = time.monotonic() + seconds_max
        last: Status | None = None
        while (now := self.status(resource)).status != status:
            is_change = last is None or now.status != last.status
            if is_change and last is not None and last.status in _CHANGING:
                raise ServiceError(
                    f"activity stream: {last.status}, and then {now.status} again",
                    hint="RDS gave up: look at its events for the cluster or instance",
                )
            if is_change and on_change is not None:
                on_change(now)
            last = now
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"activity stream: still {now.status}",
                    hint="what is not applied immediately waits for the maintenance window "
                    f"({now.maintenance_window or 'unknown'}, UTC): ask again after it",
                )
            time.sleep(self._poll_seconds)
        return now

    def _change(
        self, resource: str, operation: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> Status:
        arn = self.status(resource).arn
        try:
            call(operation, ResourceArn=arn, **arguments)
        except CallError as error:
            raise _refusal(error) from None
        return self.status(resource)

    def _describe(self, kind: _Kind, resource: str) -> Iterator[Mapping[str, Any]]:
        """The one of an ARN, so that a role needs no right to see the others; else all."""
        operation = getattr(self._client, kind.operation)
        request = {kind.identifier: resource} if resource.startswith("arn:") else {}
        while True:
            try:
                answer = call(operation, **request)
            except CallError as error:
                if error.code in _NOT_THERE:
                    return
                raise _refusal(error) from None
            yield from answer[kind.list]
            if not answer.get("Marker"):
                return
            request |= {"Marker": answer["Marker"]}


def _kinds(resource: str) -> tuple[_Kind, ...]:
    """What a resource may be. An ARN says so: `…:cluster:NAME` or `…:db:NAME`."""
    if resource.startswith("arn:"):
        return (_CLUSTER,) if ":cluster:" in resource else (_INSTANCE,)
    return (_CLUSTER, _INSTANCE)


def _status(kind: _Kind, item: Mapping[str, Any]) -> Status:
    return Status(
        identifier=item[kind.identifier],
        resource_id=item[kind.resource_id],
        arn=item[kind.arn],
        engine=item["Engine"],
        status=item.get("ActivityStreamStatus") or "stopped",
        mode=item.get("ActivityStreamMode") or None,
        stream=item.get("ActivityStreamKinesisStreamName") or None,
        kms_key_id=item.get("ActivityStreamKmsKeyId") or None,
        maintenance_window=item.get("PreferredMaintenanceWindow"),
    )


def _refusal(error: CallError) -> ServiceError:
    return ServiceError(f"activity stream: {error.code}", hint=_HINTS.get(error.code))
