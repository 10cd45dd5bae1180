"""`dastream check`: what is missing, without moving any data."""

from __future__ import annotations

import click
import msgspec

from dastream.activity.server_check import Report, check_server
from dastream.aws.deployment_check import Deployment, check_deployment
from dastream.checks import Check
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import escape
from dastream.errors import ConfigError

__all__ = ["command"]


@click.command(
    "check",
    epilog="""\b
Examples:
  dastream check --postgres postgresql://postgres@db.example/postgres
  dastream check --resource my-cluster --sink s3://my-bucket/activity
  dastream check --stream aws-rds-das-cluster-ABC --role-arn arn:aws:iam::111122223333:role/das""",
)
@click.option(
    "--postgres",
    "dsn",
    metavar="DSN",
    help="A PostgreSQL of your own: connection URL or string. Leave the password to PGPASSWORD "
    "or ~/.pgpass.",
)
@click.option("--resource", metavar="NAME", help="A cluster or instance on AWS: name, ARN or id.")
@click.option("--stream", metavar="NAME", help="A Kinesis stream, where RDS is not to be asked.")
@click.option("--sink", metavar="URL", help="Where events are to go: file:///DIR or s3://….")
@click.option("--region", metavar="R", help="The stream's region; by default AWS_REGION.")
@click.option(
    "--role-arn",
    metavar="ARN",
    help="A role to assume for the stream and its key, where they are in another account.",
)
@click.option("--resource-id", metavar="ID", help="Whose stream it is, if its name does not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    dsn: str | None,
    resource: str | None,
    stream: str | None,
    sink: str | None,
    region: str | None,
    role_arn: str | None,
    resource_id: str | None,
    as_json: bool,
) -> int:
    """Tell what is missing for a faithful activity stream, and for whoever consumes one.

    One line for each thing that matters: ok, missing (events would be lost, or not come) or
    weaker (they would say less), with what mends it. With --postgres the settings of a server
    of your own; nothing is changed there. With --resource or --stream, and --sink: permissions,
    the key and its policy, the encryption context, the way there, the bucket; one record is read
    and opened, and an empty object is left at _dastream/check in the sink. The exit code is 3 if
    anything is missing.
    """
    if dsn is not None:
        return _show_server(check_server(dsn), as_json=as_json)
    if not (resource or stream or sink):
        raise ConfigError(
            "check: nothing to look at", hint="give --postgres, or --resource, --stream or --sink"
        )
    deployment = Deployment(resource, stream, sink, region, role_arn, resource_id)
    checks = []
    for check in check_deployment(deployment):
        checks.append(check)
        if not as_json:
            click.echo("\n".join(_lines(check, 21)))
    if as_json:
        click.echo(msgspec.json.encode({"checks": checks}))
    return NOT_CLEAN if any(check.verdict == "missing" for check in checks) else DONE


def _show_server(report: Report, *, as_json: bool) -> int:
    click.echo(msgspec.json.encode(report) if as_json else _text(report))
    return DONE if report.is_whole else NOT_CLEAN


def _text(report: Report) -> str:
    width = max(len(check.name) for check in report.checks)
    lines = [f"PostgreSQL {report.version}, mode {report.mode}", ""]
    for check in report.checks:
        lines += _lines(check, width)
    lines += ["", f"What mode {report.mode} cannot see:", *(f"- {one}" for one in report.unseen)]
    return "\n".join(lines)


def _lines(check: Check, width: int) -> list[str]:
    why = f": {check.why}" if check.why else ""
    lines = [f"{check.verdict:<8} {check.name:<{width}}  {check.found}{why}"]
    if check.fix:
        lines.append(f"{'':<8} {'':<{width}}  {check.fix}")
    return [escape(line) for line in lines]
