"""`dastream stream`: start, stop and look at the activity stream of a database."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dastream.aws.activity_stream import ActivityStreams, Status
from dastream.clients import open_client

__all__ = ["command"]


@click.group(
    "stream",
    epilog="""\b
Examples:
  dastream stream status my-cluster
  dastream stream start my-cluster --kms-key-id alias/activity --apply-immediately
  dastream stream start my-oracle --kms-key-id alias/activity --engine-native-audit-fields
  dastream stream stop cluster-ABC --json""",
)
def command() -> None:
    """Start, stop and look at the activity stream of a cluster or an instance.

    RESOURCE is its identifier, its ARN or its resource id (cluster-…, db-…). AWS_ENDPOINT_URL
    points to the local system, see `dastream local`.
    """


_resource = click.argument("resource")
_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
_wait = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until it is done."
)
_apply = click.option(
    "--apply-immediately",
    is_flag=True,
    help="Do it now: this restarts an Aurora cluster. Without it, the maintenance window is "
    "waited for.",
)


@command.command("start")
@_resource
@click.option(
    "--kms-key-id",
    required=True,
    metavar="KEY",
    help="Customer managed KMS key that the activity is encrypted under: id, ARN or alias/….",
)
@click.option(
    "--mode",
    type=click.Choice(["async", "sync"]),
    default="async",
    show_default=True,
    help="sync makes a session wait until its activity is stored (Aurora PostgreSQL only).",
)
@click.option(
    "--engine-native-audit-fields",
    "native_audit_fields",
    is_flag=True,
    help="Have the engine's own audit fields in it, too (RDS for Oracle and SQL Server).",
)
@_apply
@_wait
@_json
def start(resource: str, wait: bool, as_json: bool, **asked: Any) -> None:
    """Start the activity stream."""
    streams = _streams()
    status = streams.start(resource, **asked)
    _show(streams.wait(resource, "started", _tell) if wait else status, as_json)


@command.command("stop")
@_resource
@_apply
@_wait
@_json
def stop(resource: str, apply_immediately: bool, wait: bool, as_json: bool) -> None:
    """Stop the activity stream. RDS deletes its stream with what has not been read."""
    streams = _streams()
    status = streams.stop(resource, apply_immediately=apply_immediately)
    _show(streams.wait(resource, "stopped", _tell) if wait else status, as_json)


@command.command("status")
@_resource
@_json
def status(resource: str, as_json: bool) -> None:
    """Show the activity stream of a cluster or an instance."""
    _show(_streams().status(resource), as_json)


_NATIVE = {None: None, True: "yes", False: "no"}


def _streams() -> ActivityStreams:
    return ActivityStreams(open_client("rds"))


def _tell(status: Status) -> None:
    sys.stderr.write(f"{status.identifier}: {status.status} …\n")


def _show(status: Status, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(status))
        return
    rows = {
        "resource": f"{status.identifier} ({status.resource_id}, {status.engine})",
        "activity stream": status.status,
        "mode": status.mode,
        "stream": status.stream,
        "kms key": status.kms_key_id,
        "native fields": _NATIVE[status.native_audit_fields],
        "maintenance": status.maintenance_window and f"{status.maintenance_window} UTC",
    }
    for name, value in rows.items():
        click.echo(f"{name:<16} {value or '-'}")
