"""Standard output of a terminal through the user's pager."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

from rich.console import Console

from dastream.cli.show import open_console

__all__ = ["paged"]

_LESS_OPTIONS = "FRSX"
"""Quit if it fits, pass colours, cut long lines, leave the text on the screen."""


@contextlib.contextmanager
def paged() -> Iterator[Console]:
    """A console of which the output goes through `$PAGER`, else `less`.

    It is standard output itself where that is no terminal, or there is no pager.
    """
    console = open_console()
    pager = _pager()
    if not sys.stdout.isatty() or not pager:
        yield console
        return
    environment = {"LESS": _LESS_OPTIONS} | os.environ
    process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - the user's
    assert process.stdin is not None
    output = io.TextIOWrapper(process.stdin, errors="backslashreplace")
    try:
        with contextlib.suppress(BrokenPipeError), output:  # who leaves the pager has seen enough
            yield _like(console, output)
    finally:
        process.wait()


def _like(console: Console, output: io.TextIOWrapper) -> Console:
    return Console(
        file=output,
        force_terminal=True,
        width=console.width,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _pager() -> list[str]:
    """The pager's program and arguments; none if `$PAGER` is empty or names what is not there."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    return command if command and shutil.which(command[0]) else []
