"""Signals that were ignored when a run began: `nohup` and shells start programs so."""

import os
import signal
import subprocess
import sys

import pytest
from run_streams import expected, statements, wait_until

from support import entry


@pytest.fixture
def running(request, stream, lake, tmp_path):
    """A run that a shell started which ignores the signal of that name."""
    state = f"sqlite://{tmp_path}/state.sqlite"
    program = [sys.executable, "-m", "dastream", "run", "--flush-age-seconds-max", "0"]
    program += ["--source", stream.url, "--sink", lake, "--state", state]
    shell = ["/bin/sh", "-c", f'trap "" {request.param}; exec "$@"', "sh"]
    with subprocess.Popen(shell + program, stderr=subprocess.DEVNULL, env=os.environ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("running", "number"),
    [("HUP", signal.SIGHUP), ("INT", signal.SIGINT)],
    indirect=["running"],
)
def test_run_goes_on_after_a_signal_that_was_ignored_when_it_began(stream, lake, running, number):
    stream.put_entries(entry("SELECT 1"))
    wait_until(lambda: statements(lake) == expected([1]))

    running.send_signal(number)
    stream.put_entries(entry("SELECT 2"))
    wait_until(lambda: statements(lake) == expected([1, 2]))

    running.send_signal(signal.SIGTERM)
    assert running.wait() == 0
