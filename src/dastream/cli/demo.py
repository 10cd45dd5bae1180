"""`dastream demo`: the whole system on this machine, a session of real SQL, and what landed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from dastream import line
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import escape
from dastream.cli.options import postgres_option, program_name, suite_option
from dastream.cli.show import open_console
from dastream.cli.signals import interrupt_on_signals
from dastream.cli.table import Table
from dastream.event import Event
from dastream.local.demo import Outcome, run_demo
from dastream.local.postgres import Flavour
from dastream.local.workload import SCRIPT

__all__ = ["command"]

DIFFERENCES_SHOWN_MAX = 10


@click.command(
    "demo",
    epilog="""\b
Examples:
  dastream demo
  dastream demo --dir /tmp/demo --statements 20000
  dastream demo --postgres embedded""",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dastream-demo"),
    show_default=True,
    help="Where what was delivered stays. An earlier demo's is replaced.",
)
@click.option(
    "--statements",
    type=click.IntRange(0, 1_000_000),
    default=3000,
    show_default=True,
    help="Statements of the workload that follows the scripted session.",
)
@postgres_option
@suite_option
def command(directory: Path, statements: int, flavour: Flavour | None, suite: int) -> int:
    """Run the whole system on this machine, send it real SQL, and show what landed.

    Starts PostgreSQL and an AWS endpoint on loopback, starts an activity stream, runs a scripted
    session and a workload, and delivers through a local Firehose with our handler and by our own
    consumer. Then it compares what the clients sent with what was delivered, statement by
    statement; the exit code is 3 if anything differs. No process stays.
    """
    began = time.monotonic()
    with interrupt_on_signals():
        outcome = run_demo(
            directory, statements=statements, flavour=flavour, suite=suite, tell=_tell
        )
    _show(outcome, time.monotonic() - began)
    return NOT_CLEAN if outcome.differences else DONE


def _tell(step: str, result: str) -> None:
    click.echo(f"  {step:<17} {result}")


def _show(outcome: Outcome, seconds: float) -> None:
    created = next((event for event in outcome.events if _is_create_user(event)), None)
    if created is not None:
        click.echo("\nThe first statement of the session, as it lies in S3:\n")
        click.echo(_pretty(created))
    click.echo("\nThe scripted session:\n")
    session = _script(outcome.events)
    table = Table(open_console(), None, session)
    for event in session:
        table.show(event)
    click.echo(f"\n{_balance(outcome)}")
    for difference in outcome.differences[:DIFFERENCES_SHOWN_MAX]:
        click.echo(f"  differs: {escape(difference)}")
    if len(outcome.differences) > DIFFERENCES_SHOWN_MAX:
        click.echo(f"  … and {len(outcome.differences) - DIFFERENCES_SHOWN_MAX:,} more")
    click.echo(f"\n{_next_steps(outcome.directory)}\n\ndone in {seconds:.0f} s")


def _is_create_user(event: Event) -> bool:
    return event.columns.command == "CREATE ROLE"


def _script(events: Sequence[Event]) -> Sequence[Event]:
    """The sessions of the script, whole, and the login that failed."""
    sessions = {
        event.columns.session_id
        for event in events
        if event.columns.client_application == SCRIPT or event.columns.command == "AUTH FAILURE"
    }
    return [event for event in events if event.columns.session_id in sessions]


def _pretty(event: Event) -> str:
    text = msgspec.json.format(line.write(event), indent=2).decode()
    return "\n".join(escape(part) for part in text.split("\n"))


def _balance(outcome: Outcome) -> str:
    """Sent against delivered."""
    sent = outcome.sent
    rows = {
        "statements sent": f"{len(sent.statements):,}",
        "of them refused": f"{sent.failed}, and {sent.failed_logins} login",
        "events by Firehose": f"{outcome.delivered['firehose']:,}",
        "events by our run": f"{outcome.delivered['lake']:,}",
        "result": "NOT the same, see below"
        if outcome.differences
        else "every statement is there exactly once, by text and bind values, on both ways",
    }
    return "\n".join(f"  {name:<19} {value}" for name, value in rows.items())


def _next_steps(directory: Path) -> str:
    program = program_name()
    return f"""\
Delivered files: {directory}/firehose (the usual way) and {directory}/lake (ours). Try:

  {program} search {directory}/lake --user davide
  {program} search {directory}/lake --failed
  {program} search {directory}/firehose --text salaries --json
  {program} local"""
