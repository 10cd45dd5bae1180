"""`dastream check`: what is missing, without moving any data."""

from __future__ import annotations

import click
import msgspec

from dastream.activity.server_check import Check, Report, check_server
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import escape

__all__ = ["command"]


@click.command(
    "check",
    epilog="""\b
Examples:
  dastream check --postgres postgresql://postgres@db.example/postgres
  dastream check --postgres "service=audit" --json""",
)
@click.option(
    "--postgres",
    "dsn",
    required=True,
    metavar="DSN",
    help="A PostgreSQL of your own: connection URL or string. Leave the password to PGPASSWORD "
    "or ~/.pgpass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(dsn: str, as_json: bool) -> int:
    """Tell what is missing on a PostgreSQL server for a faithful activity stream.

    One line for each thing that matters: ok, missing (events would be lost) or weaker (events
    would say less), with the statement that mends it. Nothing is changed on the server. The exit
    code is 3 if anything is missing.
    """
    report = check_server(dsn)
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
