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
BEGIN_SECONDS_MAX = 120
TELL_SECONDS = 60.0
POLL_SECONDS = 5.0
_CHANGING = ("starting", "stopping")

_NOT_THERE = frozenset({"DBClusterNotFoundFault", "DBInstanceNotFound"})

_BUSY = "it is busy with something else: look at it with `dastream stream status`, and try again"

_HINTS = {
    "InvalidDBClusterStateFault": _BUSY,
    "InvalidDBInstanceState": _BUSY,
    "KMSKeyNotAccessibleFault": "give a customer managed key of this region that is enabled and "
    "that you may use (kms:DescribeKey, kms:CreateGrant); an AWS managed key will not do",
    "AccessDenied": "allow rds:StartActivityStream, rds:StopActivityStream and the describe calls "
    "for it, and kms:CreateGrant and kms:DescribeKey for the key",
}

_UNSUPPORTED = frozenset(
    {
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "UnsupportedOperation",
        "ValidationError",
    }
)
"""Codes for a database that has no activity streams, or none like the one asked for."""


@dataclass(frozen=True, slots=True)
class Status:
    """The activity stream of one resource.

    `status` is stopped, starting, started or stopping; `mode` sync or async, None while stopped.
    `native_audit_fields` tells of an instance whether the engine's own fields are in it, None of
    a cluster. `instance_class` is None of a cluster. `maintenance_window` is as
    `sun:05:00-sun:05:30`, UTC.
    """

    identifier: str
    resource_id: str
    arn: str
    engine: str
    engine_version: str | None
    instance_class: str | None
    status: str
    mode: str | None
    stream: str | None
    kms_key_id: str | None
    native_audit_fields: bool | None
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
        self,
        resource: str,
        *,
        kms_key_id: str,
        mode: str,
        apply_immediately: bool,
        native_audit_fields: bool = False,
    ) -> Status:
        """Ask RDS to start it. On Aurora, `apply_immediately` restarts the cluster.

        `native_audit_fields` has the engine's own audit fields in it, too (Oracle, SQL Server).
        """
        now = self._in_status(resource, "stopped")
        asked = {"Mode": mode, "KmsKeyId": kms_key_id, "ApplyImmediately": apply_immediately}
        if native_audit_fields:
            asked["EngineNativeAuditFieldsIncluded"] = True
        return self._change(now, self._client.start_activity_stream, asked)

    def stop(self, resource: str, *, apply_immediately: bool) -> Status:
        """Ask RDS to stop it. What has not been read from its stream by then is gone."""
        now = self._in_status(resource, "started")
        asked = {"ApplyImmediately": apply_immediately}
        return self._change(now, self._client.stop_activity_stream, asked)

    def wait(
        self,
        resource: str,
        status: str,
        tell: Callable[[Status], None] = lambda _: None,
        *,
        seconds_max: float = WAIT_SECONDS_MAX,
        begin_seconds_max: float = BEGIN_SECONDS_MAX,
    ) -> Status:
        """Wait until it is in `status`; `tell` gets what it is on the way, and every minute.

        Raises ServiceError when RDS has given up, after `seconds_max`, or if nothing begins to
        change within `begin_seconds_max`, which is what waits for the maintenance window.
        """
        began = told = time.monotonic()
        last: Status | None = None
        while (now := self.status(resource)).status != status:
            is_change = last is None or now.status != last.status
            if is_change and last is not None and last.status in _CHANGING:
                raise ServiceError(
                    f"activity stream: {last.status}, and then {now.status} again",
                    hint="RDS gave up: look at its events for the cluster or instance",
                )
            if is_change or time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                tell(now)
            last = now
            patience = seconds_max if now.status in _CHANGING else begin_seconds_max
            if time.monotonic() - began > min(patience, seconds_max):
                raise _still(now)
            time.sleep(self._poll_seconds)
        return now

    def _in_status(self, resource: str, status: str) -> Status:
        now = self.status(resource)
        if now.status != status:
            already = " already" if now.status in ("started", "stopped") else ""
            raise ServiceError(
                f"activity stream: it is {now.status}{already}",
                hint="`dastream stream status` shows it; wait for a change under way to end",
            )
        return now

    def _change(
        self, now: Status, operation: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> Status:
        try:
            call(operation, ResourceArn=now.arn, **arguments)
        except CallError as error:
            if error.code in _UNSUPPORTED:
                hint = _unsupported(now, arguments)
                raise ServiceError(f"activity stream: {error.code}", hint=hint) from None
            raise _refusal(error) from None
        return self.status(now.arn)

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
        engine_version=item.get("EngineVersion"),
        instance_class=item.get("DBInstanceClass"),
        status=item.get("ActivityStreamStatus") or "stopped",
        mode=item.get("ActivityStreamMode") or None,
        stream=item.get("ActivityStreamKinesisStreamName") or None,
        kms_key_id=item.get("ActivityStreamKmsKeyId") or None,
        native_audit_fields=item.get("ActivityStreamEngineNativeAuditFieldsIncluded"),
        maintenance_window=item.get("PreferredMaintenanceWindow"),
    )


def _refusal(error: CallError) -> ServiceError:
    return ServiceError(f"activity stream: {error.code}", hint=error.hint or _HINTS.get(error.code))


def _unsupported(status: Status, asked: Mapping[str, Any]) -> str:
    """What a database may lack that RDS refuses to start an activity stream for."""
    if asked.get("Mode") == "sync" and status.engine != "aurora-postgresql":
        return "only Aurora PostgreSQL has mode sync: take async"
    if status.engine.startswith("aurora") and ":db:" in status.arn:
        return "the activity stream of an Aurora instance is its cluster's: name the cluster"
    of_class = f" on {status.instance_class}" if status.instance_class else ""
    return (
        f"{status.engine} {status.engine_version or ''}{of_class} in {status.arn.split(':')[3]}: "
        "not every engine version, instance class (db.t… among them) and region has activity "
        "streams; the user guides list them under 'database activity streams'"
    )


def _still(status: Status) -> ServiceError:
    return ServiceError(
        f"activity stream: still {status.status}",
        hint="what is not applied immediately waits for the maintenance window "
        f"({status.maintenance_window or 'unknown'}, UTC): ask again after it",
    )
