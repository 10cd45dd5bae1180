"""The command line: thin commands that read options, build parts and call one function.

Exit codes: 0 done, 1 the outside failed, 2 usage or configuration, 3 finished but not clean.
"""

from __future__ import annotations

import sys

from dastream.errors import place

__all__ = ["main"]


def main() -> None:
    """The `dastream` program."""
    try:
        from dastream.cli.app import OUTSIDE_FAILED, run_app  # noqa: PLC0415 - needs the extra `cli`
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"error: {error.name} is not installed\n"
            "hint: in a checkout of dastream: pip install '.[cli]'\n"
        )
        sys.exit(2)
    try:
        code = run_app()
    except Exception as error:  # noqa: BLE001 - a bug, of which the interpreter would print the text
        sys.stderr.write(f"error: a bug, in dastream or in code of your own: {place(error)}")
        code = OUTSIDE_FAILED
    sys.exit(code)
