"""`dastream local`: keeps the whole system up on this machine."""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path

import click

from dastream.cli.app import DONE
from dastream.cli.options import postgres_option, program_name, suite_option
from dastream.cli.signals import stop_on_signals
from dastream.local.postgres import Flavour
from dastream.local.system import CLUSTER, KEY_ALIAS, LocalSystem
from dastream.storage import FileStorage, copy_objects

__all__ = ["command"]


@click.command(
    "local",
    epilog="""\b
Examples:
  dastream local
  . dastream-local/environment && psql                      (in another terminal)
  . dastream-local/environment && dastream tail "$DASTREAM_STREAM"
  . dastream-local/environment && dastream search s3://dastream/lake --user postgres""",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dastream-local"),
    show_default=True,
    help="Where the state of the endpoint is kept, the environment file, and, at the end, copies "
    "of what was delivered.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the AWS endpoint on 127.0.0.1; 0, the default, takes a free one.",
)
@postgres_option
@suite_option
def command(directory: Path, port: int, flavour: Flavour | None, suite: int) -> int:
    """Keep the whole system up on this machine: for development, without an AWS account.

    An AWS endpoint (Kinesis, KMS, S3, DynamoDB, RDS), a PostgreSQL whose activity stream is
    started, and delivery in both ways, through a local Firehose and by our own consumer. Streams,
    keys and objects are there again the next time; PostgreSQL is new each time.
    SIGINT, SIGTERM and SIGHUP end it; what was delivered is then copied into --dir.
    """
    stopped = threading.Event()
    with (
        stop_on_signals(stopped.set),
        LocalSystem(directory=directory / "aws", port=port, flavour=flavour, suite=suite) as system,
    ):
        stream = system.start_activity_stream().stream or ""
        environment = _environment(system, stream)
        _write_private(directory / "environment", environment)
        click.echo(_welcome(system, stream, directory))
        stopped.wait()
        click.echo("delivering what is left …", err=True)
        system.pause()
        for prefix in ("firehose", "lake"):
            copy_objects(system.storage(prefix), FileStorage(directory / prefix))
    click.echo(f"delivered objects are in {directory}/", err=True)
    return DONE


def _environment(system: LocalSystem, stream: str) -> str:
    """Lines for a shell: where the endpoint, the database and the stream are."""
    variables = system.endpoint.environment | {
        "PGHOST": system.server.host,
        "PGPORT": str(system.server.port),
        "PGUSER": system.server.superuser,
        "PGPASSWORD": system.server.password,
        "PGDATABASE": "postgres",
        "DASTREAM_STREAM": stream,
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _write_private(path: Path, text: str) -> None:
    """Write a file that is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _welcome(system: LocalSystem, stream: str, directory: Path) -> str:
    program = program_name()
    return f"""\
server           {system.server.description}, on 127.0.0.1:{system.server.port}
AWS endpoint     {system.endpoint.url} (Kinesis, KMS, S3, DynamoDB, RDS; no authentication)
activity stream  {stream}, of the cluster {CLUSTER}
delivered        s3://dastream/firehose (Firehose) and s3://dastream/lake (our consumer)

In another terminal:
  . {directory}/environment
  psql
  {program} tail "$DASTREAM_STREAM"
  {program} search s3://dastream/lake
  {program} stream stop {CLUSTER}
  {program} stream start {CLUSTER} --kms-key-id {KEY_ALIAS}

Ctrl-C ends it."""
