"""`dastream emit`: the activity stream of a PostgreSQL of one's own."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import click

from dastream.activity.emitter import Emitter
from dastream.activity.follower import Start
from dastream.activity.log_files import has_log
from dastream.activity.postgres_log import Mode
from dastream.activity.seal import SUITES
from dastream.cli.app import DONE
from dastream.cli.options import state_directory
from dastream.cli.progress import tell_repeatedly
from dastream.cli.show import tell
from dastream.cli.signals import stop_on_signals
from dastream.clients import open_client
from dastream.errors import ConfigError
from dastream.keys import owner_of
from dastream.settings import Settings

__all__ = ["command"]

ANSWER_SECONDS_MAX = 5.0
"""How long one attempt waits for an answer of KMS or Kinesis."""

_STREAM_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")  # CreateStream in the Kinesis API reference
_SUITES = {f"{suite:#06x}": suite for suite in SUITES}

_NO_LOG = (
    "notice: no JSON or CSV log is in --postgres-log, so nothing but heartbeats will be published; "
    "`dastream check --postgres DSN` tells what the server lacks"
)


@click.command(
    "emit",
    epilog="""\b
Examples:
  dastream emit --postgres-log /var/log/postgresql --stream aws-rds-das-cluster-ABC \\
      --kms-key alias/activity
  dastream emit --postgres-log /var/lib/pgsql/data/log --stream audit \\
      --resource-id cluster-ABC --kms-key alias/activity --mode statements""",
)
@click.option(
    "--postgres-log",
    "log_directory",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="The server's log_directory, with its JSON log (15 and later) or CSV log.",
)
@click.option("--stream", required=True, metavar="NAME", help="The Kinesis stream; it must exist.")
@click.option(
    "--kms-key",
    "kms_key_id",
    required=True,
    metavar="ID",
    help="The KMS key that gives data keys: id, ARN or alias.",
)
@click.option(
    "--resource-id",
    metavar="ID",
    help="cluster-… or db-…: whose stream it is, if its name does not tell.",
)
@click.option(
    "--instance-id", metavar="ID", help="db-…: which instance; by default the resource id."
)
@click.option("--region", metavar="REGION", help="Of stream and key; by default AWS_REGION.")
@click.option(
    "--mode",
    type=click.Choice(["pgaudit", "statements"]),
    default="pgaudit",
    show_default=True,
    help="What writes statements into the log: pgaudit, or the server alone.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What has been published, in a directory that is there; by default a file of the "
    "stream's name in the user's state directory.",
)
@click.option(
    "--start-at",
    type=click.Choice(["end", "beginning"]),
    default="end",
    show_default=True,
    help="Where in the log to begin if --state is new.",
)
@click.option(
    "--log-timezone", metavar="ZONE", help="The server's log_timezone, if that is not UTC."
)
@click.option(
    "--server-version",
    metavar="VERSION",
    help="Told with each event; by default from PG_VERSION, where the log is in the data "
    "directory.",
)
@click.option(
    "--server-host", metavar="HOST", help="Told with each event; by default this host's address."
)
@click.option(
    "--suite",
    type=click.Choice(list(_SUITES)),
    default="0x0178",
    show_default=True,
    help="Algorithm suite of the messages: Aurora PostgreSQL's, or 0x0378, which signs.",
)
def command(
    log_directory: Path,
    stream: str,
    kms_key_id: str,
    resource_id: str | None,
    instance_id: str | None,
    region: str | None,
    mode: Mode,
    state: Path | None,
    start_at: Start,
    log_timezone: str | None,
    server_version: str | None,
    server_host: str | None,
    suite: str,
) -> int:
    """Publish what a PostgreSQL server logs as an activity stream, until it is told to end.

    How to set the server up is in docs/own-postgresql.md. Progress is kept in --state, so that
    nothing is lost when this, KMS, Kinesis or the server fails: the log is the buffer. While KMS
    or Kinesis cannot be reached, it waits and says so. SIGINT and SIGTERM end it with 0.
    """
    if not _STREAM_NAME.fullmatch(stream):
        raise ConfigError("emit: no stream has such a name")
    if not has_log(log_directory):
        tell(_NO_LOG)
    settings = Settings.from_environment(os.environ, resource_id=resource_id)
    emitter = Emitter(
        log_directory,
        stream=stream,
        resource_id=owner_of(stream, settings.resource_id),
        kms_key_id=kms_key_id,
        kinesis=_open_client("kinesis", region),
        kms=_open_client("kms", region),
        instance_id=instance_id,
        mode=mode,
        server_version=server_version or _version(log_directory),
        server_host=server_host or _own_address(),
        suite=_SUITES[suite],
        state=state or _default_state(stream),
        start_at=start_at,
        log_timezone=log_timezone,
    )
    meter = _Meter(emitter)
    with stop_on_signals(emitter.stop), tell_repeatedly(meter.words, meter.figures):
        emitter.run()
    return DONE


def _open_client(service: str, region: str | None) -> Any:
    """A client that leaves it to the emitter to try again, so that it ends soon when told to."""
    return open_client(service, region=region, attempts_max=1, read_seconds_max=ANSWER_SECONDS_MAX)


class _Meter:
    """Reads the counters of an emitter."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def words(self) -> str:
        """One line."""
        emitter, counters = self._emitter, self._emitter.counters
        parts = [
            f"{emitter.statements:,} statements",
            f"{counters.records:,} records",
            f"{counters.retries:,} retries",
            f"{emitter.missing:,} rows missing",
            f"{emitter.lag_bytes / 1024:,.0f} KB of the log to read",
        ]
        return " · ".join(parts)

    def figures(self) -> dict[str, object]:
        """The members of a JSON object."""
        emitter, counters = self._emitter, self._emitter.counters
        return {
            "statements": emitter.statements,
            "entries": counters.entries.total(),
            "records": counters.records,
            "recordBytes": counters.bytes,
            "heartbeats": counters.heartbeats,
            "retries": counters.retries,
            "repeatedRecords": counters.repeated,
            "cutEntries": counters.cut,
            "cutRows": emitter.cut_lines,
            "malformedRows": emitter.malformed,
            "missingRows": emitter.missing,
            "gaps": emitter.gaps,
            "lagBytes": emitter.lag_bytes,
        }


def _version(log_directory: Path) -> str:
    try:
        return (log_directory.parent / "PG_VERSION").read_text().strip()
    except OSError:
        return ""


def _own_address() -> str:
    """The address of this host that others see: the one from which it would reach them."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's; no packet is sent
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def _default_state(stream: str) -> Path:
    return state_directory() / f"emit-{stream}.sqlite"
