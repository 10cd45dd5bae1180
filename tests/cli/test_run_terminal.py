"""What `dastream run` shows on a terminal, a real one."""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from run_streams import wait_until

from support import entry


class Terminal:
    """A terminal, and what programs have written to it."""

    def __init__(self):
        self._ours, self.theirs = pty.openpty()
        self._shown = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while data := os.read(self._ours, 4096):
                self._shown += data
        except OSError:
            """Nobody has it open any more."""
        os.close(self._ours)

    def shows(self, text):
        """Whether the line that is there now, or the last one that was, holds a text."""
        last = self._shown.decode().rstrip().rpartition("\x1b[K")[2]
        return text in last


@pytest.fixture
def terminal():
    return Terminal()


@pytest.fixture
def running(stream, terminal, tmp_path):
    """A run whose batches are not due for an hour."""
    arguments = ["--source", stream.url, "--sink", (tmp_path / "lake").as_uri()]
    arguments += ["--state", f"sqlite://{tmp_path}/state.sqlite", "--flush-age-seconds-max", "3600"]
    with subprocess.Popen(
        [sys.executable, "-m", "dastream", "run", *arguments],
        stderr=terminal.theirs,
        env=os.environ,
    ) as process:
        os.close(terminal.theirs)
        yield process
        process.kill()


def test_run_shows_that_it_reads_while_its_first_batch_fills(stream, running, terminal):
    stream.put_entries(entry("SELECT 1"))
    wait_until(lambda: terminal.shows("nothing delivered so far · reading, lag by shard 0: 0s"))

    running.send_signal(signal.SIGTERM)

    assert running.wait() == 0
    wait_until(lambda: terminal.shows("1 events"))
