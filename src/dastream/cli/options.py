"""Options that several commands share."""

from __future__ import annotations

import click

__all__ = ["postgres_option"]

postgres_option = click.option(
    "--postgres",
    "flavour",
    type=click.Choice(["pgaudit", "embedded", "debian"]),
    help="Which PostgreSQL; by default Debian's with pgaudit where it is installed, else the "
    "bundled one.",
)
