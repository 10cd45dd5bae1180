"""What several commands share: options, and how the program was called."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

__all__ = ["postgres_option", "program_name"]

postgres_option = click.option(
    "--postgres",
    "flavour",
    type=click.Choice(["pgaudit", "embedded", "debian"]),
    help="Which PostgreSQL; by default Debian's with pgaudit where it is installed, else the "
    "bundled one.",
)


def program_name() -> str:
    """How this program was called, so that the commands that it shows work when copied."""
    called = Path(sys.argv[0])
    return called.name if shutil.which(called.name) == str(called) else str(called)
