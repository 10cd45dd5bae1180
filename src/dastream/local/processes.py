"""Ending a server's processes, all of them, in order and then by force, and even without us."""

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

from dastream.local.unprivileged import ENVIRONMENT, Account

__all__ = ["Watchdog", "adopting_children_of", "children", "terminate"]

FAST_STOP_SECONDS_MAX = 15.0
IMMEDIATE_STOP_SECONDS_MAX = 5.0
REAP_SECONDS_MAX = 1.0
_POLL_SECONDS = 0.01
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

# Standard input ends when the last process that holds its other end does. A process of the
# server that is late may write into the directory once more while it is being removed.
_WATCHDOG = """
trap '' INT TERM HUP QUIT
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -QUIT "$pid"; then
    for second in 1 2 3 4 5; do kill -0 "$pid" && sleep 1; done
    kill -KILL "$pid"
fi
for attempt in 1 2 3 4 5; do rm -rf -- "$1" && break; sleep 1; done
"""


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


class Watchdog:
    """Kills a server and removes its directory when this process is gone, however it ends.

    A process of its own, in a session of its own, so that no signal of a terminal reaches it.
    It is the server's user, so it can do no more harm than the server. A process that was forked
    from this one, without exec, counts as this one.
    """

    def __init__(self, directory: Path | None, account: Account) -> None:
        """`directory` None leaves the files alone. Raises OSError if there is no shell."""
        life, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a text of ours
                ["/bin/sh", "-c", _WATCHDOG, "watchdog", directory or ""],
                stdin=life,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=ENVIRONMENT,
                user=account.uid,
                group=account.gid,
                extra_groups=account.groups,
            )
        except BaseException:
            os.close(self._life)
            raise
        finally:
            os.close(life)

    def watch(self, pid: int) -> None:
        """Kill this process, when the time comes, and not one named before."""
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the watchdog
            os.write(self._life, f"{pid}\n".encode())

    def dismiss(self) -> None:
        """End without doing anything."""
        self._process.kill()
        self._process.wait()
        os.close(self._life)


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
