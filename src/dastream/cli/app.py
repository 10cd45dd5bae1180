"""The program: its commands, and how errors become one line, a hint and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from dastream import __version__
from dastream.errors import ConfigError, DastreamError, ServiceError

__all__ = ["COMMANDS", "app", "run_app"]

DONE, OUTSIDE_FAILED, USAGE, NOT_CLEAN, INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS = (
    "demo",
    "local",
    "stream",
    "emit",
    "check",
    "run",
    "replay",
    "decode",
    "tail",
    "search",
    "session",
    "stats",
    "query",
)
"""Every command is the attribute `command` of the module of its name beside this one."""


class _LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that the program starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(f"dastream.cli.{cmd_name}").command
        except ModuleNotFoundError as error:
            return _without(cmd_name, error)
        return command


def _without(name: str, error: ModuleNotFoundError) -> click.Command:
    """A command of which an extra is missing: help lists it, and whoever uses it is told."""

    def fail() -> None:
        raise error

    return click.Command(
        name,
        callback=fail,
        short_help=f"Not here: {error.name} is not installed.",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, message="dastream %(version)s")
def app() -> None:
    """Database Activity Streams: decrypted, delivered once, searchable.

    Reads the audit trail of Aurora and RDS from Kinesis, or makes the same trail from a
    PostgreSQL of your own.

    \b
    Exit codes:
      0  done
      1  the outside failed (AWS, disk): nothing is lost, run it again
      2  usage or configuration
      3  finished, but something is not clean (dead letters, a check that differs)
    """  # noqa: D301 - click takes the character itself for "keep these lines"


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; errors go to standard error."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with app.make_context("dastream", given) as context:
            result = app.invoke(context)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (click.exceptions.Exit, click.ClickException, DastreamError, OSError, ImportError) as e:
        return _exit_code(e)
    return result if isinstance(result, int) else DONE


def _exit_code(error: Exception) -> int:
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case BrokenPipeError():
            return _stop_writing()
    return _report(_as_ours(error))


def _as_ours(error: Exception) -> DastreamError:
    """What is no bug here either, in our words; anything else is raised again."""
    match error:
        case DastreamError():
            return error
        case ModuleNotFoundError():
            reason = f"{error.name} is not installed"
            return ConfigError(reason, hint="in a checkout of dastream: pip install '.[all]'")
        case OSError():
            place = f"cannot use {error.filename}: " if error.filename else ""
            return ServiceError(f"{place}{error.strerror or type(error).__name__}")
    raise error


def _stop_writing() -> int:
    """Whoever read our output has seen enough; the interpreter must not write at its exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _report(error: DastreamError) -> int:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    if isinstance(error, ConfigError):
        return USAGE
    return OUTSIDE_FAILED if isinstance(error, ServiceError) else NOT_CLEAN
