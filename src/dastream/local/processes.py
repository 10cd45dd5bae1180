"""Ending a server's processes, all of them, in order and then by force."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["adopting_children_of", "children", "terminate"]

FAST_STOP_SECONDS_MAX = 15.0
IMMEDIATE_STOP_SECONDS_MAX = 5.0
REAP_SECONDS_MAX = 1.0
_POLL_SECONDS = 0.01
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then immediate, then the kill that children notice by themselves.

    Signals as in https://www.postgresql.org/docs/current/server-shutdown.html.
    """
    waits = {
        signal.SIGINT: FAST_STOP_SECONDS_MAX,
        signal.SIGQUIT: IMMEDIATE_STOP_SECONDS_MAX,
        signal.SIGKILL: None,
    }
    for number, seconds_max in waits.items():
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds_max)
            return


@contextlib.contextmanager
def adopting_children_of(pid: int) -> Iterator[None]:
    """Reap what process `pid` leaves behind when it ends in this block.

    The log collector ends after the postmaster, as an orphan. In a container whose first process
    does not reap, it would stay as a zombie.
    """
    if sys.platform != "linux":
        yield
        return
    adopted = children(pid)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        deadline = time.monotonic() + REAP_SECONDS_MAX
        for child in adopted:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(child, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, on Linux."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # `pid (name) state parent …`, see proc(5).
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(status.parent.name))
    return found
