"""What several commands share: options, and how the program was called."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from dastream.checkpoint.files import unusable

__all__ = ["postgres_option", "program_name", "state_directory", "suite_option"]

postgres_option = click.option(
    "--postgres",
    "flavour",
    type=click.Choice(["pgaudit", "embedded", "debian"]),
    help="Which PostgreSQL; by default Debian's with pgaudit where it is installed, else the "
    "bundled one.",
)

suite_option = click.option(
    "--suite",
    type=click.Choice(["0x0178", "0x0378", "0x0478", "0x0578"]),
    default="0x0178",
    show_default=True,
    callback=lambda context, option, value: int(value, 16),  # noqa: ARG005 - click's signature
    help="Algorithm suite of the messages: 0x0178 is Aurora PostgreSQL's, the signed 0x0378 "
    "Aurora MySQL's.",
)


def state_directory() -> Path:
    """Where progress is kept by default, made if need be. Raises ConfigError, ServiceError."""
    above = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    directory = Path(above).absolute() / "dastream"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unusable(error) from None
    return directory


def program_name() -> str:
    """How this program was called, so that the commands that it shows work when copied."""
    called = Path(sys.argv[0])
    return called.name if shutil.which(called.name) == str(called) else str(called)
