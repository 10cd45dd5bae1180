"""Programs of other projects that tests need, installed once into a directory that git ignores."""

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".cache"


def installed(name, install, *, needs=()):
    """The directory `name` of the cache, in which `install(directory)` has put a program.

    Where a program that it needs is missing, or it cannot be fetched, the test is skipped; with
    DASTREAM_REQUIRE_ALL it fails.
    """
    if missing := [program for program in needs if shutil.which(program) is None]:
        unavailable(f"{name} needs {' and '.join(missing)}")
    home = CACHE / name
    ready = home / ".ready"
    with _locked(home):
        if not ready.exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            try:
                install(home)
            except subprocess.CalledProcessError as error:
                unavailable(f"{name} cannot be installed: {error.stderr.decode()[-500:]}")
            ready.touch()
    return home


@contextmanager
def _locked(home):
    """One of the processes that run the tests installs, and the others wait for it."""
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    with (CACHE / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command, **how):
    """Run a command to its end. Raises CalledProcessError."""
    subprocess.run(command, check=True, capture_output=True, **how)


def unavailable(reason):
    """Skip the test for want of something outside, or fail it where all of it is required."""
    if os.environ.get("DASTREAM_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)
