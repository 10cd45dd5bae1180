"""Help is there whatever extras are not."""

import os
import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules["aws_encryption_sdk"] = None  # of the extras `activity` and `local`
from dastream.cli import main
main()
"""


def dastream(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        env=os.environ | {"COLUMNS": "96"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_all_commands_where_an_extra_is_missing(option):
    done = dastream(option)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Read a stream, decode it" in done.stdout
    assert "aws_encryption_sdk is not installed" in done.stdout


@pytest.mark.parametrize("arguments", [("emit", "--help"), ("emit", "--state", "x", "y")])
def test_command_without_its_extra_says_what_is_missing(arguments):
    done = dastream(*arguments)

    assert done.returncode == 2
    assert "error: aws_encryption_sdk is not installed" in done.stderr
    assert "pip install" in done.stderr
