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

DONE, OUTSIDE_FAILED, USAGE, NOT_CLEAN = 0, 1, 2, 3

COMMANDS = ("demo", "local", "stream", "run", "decode", "tail", "search")
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
        command: click.Command = import_module(f"dastream.cli.{cmd_name}").command
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, message="dastream %(version)s")
def app() -> None:
    r"""Database Activity Streams: decrypted, delivered once, searchable.

    Reads the audit trail of Aurora and RDS from Kinesis, or makes the same trail from a
    PostgreSQL of your own.

    \b
    Exit codes:
      0  done
      1  the outside failed (AWS, disk): nothing is lost, run it again
      2  usage or configuration
      3  finished, but something is not clean (dead letters, a check that differs)
    """


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; errors go to standard error."""
    try:
        result = app.main(args=arguments, prog_name="dastream", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DastreamError as error:
        return _report(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written, also not at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return result if isinstance(result, int) else DONE


def _report(error: DastreamError) -> int:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    if isinstance(error, ConfigError):
        return USAGE
    return OUTSIDE_FAILED if isinstance(error, ServiceError) else NOT_CLEAN
