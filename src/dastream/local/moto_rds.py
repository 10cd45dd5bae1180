"""Activity streams for moto's RDS: the calls, and what the describe calls show of them.

Loading this takes a second, which is moto's RDS. Source of names and errors: botocore's model
of the RDS API, 2014-10-31.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import Any, ClassVar, cast

from moto.core.responses import ActionResult
from moto.kms.models import kms_backends
from moto.rds import models as rds_models
from moto.rds import urls as rds_urls
from moto.rds.exceptions import RDSClientError
from moto.rds.responses import RDSResponse

from dastream.local.activity_streams import ActivityStream, ActivityStreamControl

__all__ = ["activity_streams", "add_to_rds"]

# Aurora and RDS User Guides, "Database activity streams": only Aurora PostgreSQL can wait.
_MODES = {
    "aurora-postgresql": ("sync", "async"),
    "aurora-mysql": ("async",),
    "oracle": ("async",),
    "sqlserver": ("async",),
}
_POLICY_STATES = ("locked", "unlocked")


def add_to_rds(activity_streams: ActivityStreamControl) -> None:
    """Have moto's RDS know activity streams, and these be the ones that it starts and stops."""
    vars(rds_models).update(
        DBCluster=_Cluster, DBInstance=_Instance, DBInstanceClustered=_ClusterInstance
    )
    _RdsResponse.activity_streams = activity_streams
    rds_urls.url_paths["{0}/$"] = _RdsResponse.dispatch


def activity_streams() -> Iterator[tuple[Any, ActivityStream]]:
    """The clusters and instances whose activity streams are not stopped, with these."""
    backend: Any
    for _, _, backend in rds_models.rds_backends.iter_backends():
        for resource in (*backend.clusters.values(), *backend.databases.values()):
            if resource.activity_stream_status != "stopped":
                key_arn, mode = resource.activity_stream_kms_key_id, resource.activity_stream_mode
                yield resource, _activity_stream(resource, key_arn, mode)


class _StreamFields:
    """The members of DBCluster and DBInstance, as they are while nothing is published."""

    activity_stream_status: str = "stopped"
    activity_stream_mode: str | None = None
    activity_stream_kms_key_id: str | None = None
    activity_stream_kinesis_stream_name: str | None = None
    # The last two are shown of instances only.
    activity_stream_engine_native_audit_fields_included: bool | None = None
    activity_stream_policy_status: str | None = None

    def save_automated_backup(self) -> None:
        """Nothing: moto's would have the name of the minute, and there can be one a minute."""


class _Cluster(_StreamFields, rds_models.DBCluster):
    """A cluster with an activity stream."""


class _InstanceFields(_StreamFields):
    """An id of its own besides: moto gives one and the same to all instances."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        letters = random.choices(string.ascii_uppercase + string.digits, k=26)  # noqa: S311 - a name
        self.dbi_resource_id = "db-" + "".join(letters)


class _Instance(_InstanceFields, rds_models.DBInstance):
    """An instance by itself, with an activity stream."""


class _ClusterInstance(_InstanceFields, rds_models.DBInstanceClustered):
    """An instance of a cluster, whose activity the cluster publishes."""


class _RdsResponse(RDSResponse):
    """moto's RDS with the calls for activity streams."""

    activity_streams: ClassVar[ActivityStreamControl]

    def start_activity_stream(self) -> ActionResult:
        """Answer StartActivityStream, as Aurora does, before anything has happened."""
        resource = self._resource_in_state("stopped")
        mode = self.params["Mode"]
        _check_mode(resource, mode)
        key_arn = self._accessible_key_arn(self.params["KmsKeyId"])
        stream = _activity_stream(resource, key_arn, mode)
        with_native = self.params.get("EngineNativeAuditFieldsIncluded")
        self.activity_streams.begin(resource, stream, with_native_fields=with_native)
        asked = {"ApplyImmediately": self.params.get("ApplyImmediately"), "Mode": mode}
        return _reply(resource, **asked, EngineNativeAuditFieldsIncluded=with_native)

    def stop_activity_stream(self) -> ActionResult:
        """Answer StopActivityStream."""
        resource = self._resource_in_state("started")
        self.activity_streams.end(resource)
        return _reply(resource)

    def modify_activity_stream(self) -> ActionResult:
        """Answer ModifyActivityStream, which locks or unlocks an instance's audit policy."""
        arn = self.params.get("ResourceArn") or ""
        if ":cluster:" in arn:
            raise RDSClientError("ResourceNotFoundFault", f"{arn} is no DB instance.")
        instance = self._resource_in_state("started")
        state = self.params.get("AuditPolicyState") or "locked"
        if state not in _POLICY_STATES:
            message = "AuditPolicyState is neither locked nor unlocked."
            raise RDSClientError("InvalidParameterValue", message)
        instance.activity_stream_policy_status = state
        return _reply(
            instance,
            Mode=instance.activity_stream_mode,
            EngineNativeAuditFieldsIncluded=(
                instance.activity_stream_engine_native_audit_fields_included
            ),
            PolicyStatus=state,
        )

    def delete_db_cluster(self) -> ActionResult:
        """Answer DeleteDBCluster. The activity stream goes with the cluster."""
        return self._without_activity_stream(super().delete_db_cluster(), "DBCluster")

    def delete_db_instance(self) -> ActionResult:
        """Answer DeleteDBInstance. The activity stream goes with the instance."""
        return self._without_activity_stream(super().delete_db_instance(), "DBInstance")

    def _without_activity_stream(self, reply: ActionResult, member: str) -> ActionResult:
        resource = cast("dict[str, Any]", reply.result)[member]
        if resource.activity_stream_status in ("starting", "started"):
            self.activity_streams.end(resource)
        return reply

    def _resource_in_state(self, status: str) -> Any:
        arn = self.params.get("ResourceArn") or ""
        resource = self._resource(arn)
        if isinstance(resource, _ClusterInstance):
            message = f"{arn} is part of a cluster, whose activity stream has its activity."
            raise RDSClientError("InvalidDBInstanceState", message)
        if resource.activity_stream_status != status:
            fault = "InvalidDBInstanceState" if _is_instance(arn) else "InvalidDBClusterStateFault"
            found = resource.activity_stream_status
            raise RDSClientError(fault, f"The activity stream of {arn} is {found}, not {status}.")
        return resource

    def _resource(self, arn: str) -> Any:
        for resource in (*self.backend.clusters.values(), *self.backend.databases.values()):
            if resource.arn == arn:
                return resource
        fault = "ResourceNotFoundFault"
        if _is_instance(arn):
            fault = "DBInstanceNotFound"
        elif ":cluster:" in arn:
            fault = "DBClusterNotFoundFault"
        raise RDSClientError(fault, f"{arn} not found.")

    def _accessible_key_arn(self, key_id: str) -> str:
        kms = kms_backends[self.current_account][self.region]
        name = kms.get_alias_name(key_id)
        for key in kms.keys.values():
            # Aurora User Guide: an activity stream takes a customer managed key, no default key.
            is_default = any(alias.startswith("alias/aws/") for alias in key.aliases)
            if name in {key.id, key.arn, *key.aliases} and _can_wrap(key) and not is_default:
                return str(key.arn)
        raise RDSClientError("KMSKeyNotAccessibleFault", f"{key_id} cannot be used.")


def _reply(resource: Any, **members: Any) -> ActionResult:
    return ActionResult(
        {
            "KmsKeyId": resource.activity_stream_kms_key_id,
            "KinesisStreamName": resource.activity_stream_kinesis_stream_name,
            "Status": resource.activity_stream_status,
            **members,
        }
    )


def _can_wrap(key: Any) -> bool:
    return bool(key.enabled and key.key_spec == "SYMMETRIC_DEFAULT")


def _check_mode(resource: Any, mode: str) -> None:
    engine = resource.engine if resource.engine in _MODES else resource.engine.partition("-")[0]
    if mode not in _MODES.get(engine, ()):
        message = f"An activity stream of {resource.engine} cannot be started in mode {mode}."
        raise RDSClientError("InvalidParameterValue", message)


def _activity_stream(resource: Any, kms_key_arn: str, mode: str) -> ActivityStream:
    resource_id = str(getattr(resource, "dbi_resource_id", None) or resource.db_cluster_resource_id)
    return ActivityStream(
        resource_id=resource_id,
        arn=resource.arn,
        stream=f"aws-rds-das-{resource_id}",
        kms_key_arn=kms_key_arn,
        mode=mode,
        engine=resource.engine,
    )


def _is_instance(arn: str) -> bool:
    return ":db:" in arn
