"""Runs of `dastream`, each in a process of its own that can be ended at any point."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent


class Forks:
    """The process whose forks are the runs."""

    def __init__(self, script="run_forks.py"):
        self._process = subprocess.Popen(
            [sys.executable, HERE / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        )

    def ask(self, request):
        """Where the answers come from."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Runs:
    """Starts `dastream run` again and again. What it says goes into files of a directory."""

    def __init__(self, forks, directory):
        self._forks = forks
        self._directory = directory
        self._count = 0

    def __call__(self, *arguments, kill=None, **environment):
        """Run to the end. `kill` is a phase, a moment, and how often it is passed before."""
        return self.start(*arguments, kill=kill, **environment).wait()

    def start(self, *arguments, kill=None, **environment):
        self._count += 1
        errors = self._directory / f"run-{self._count}.err"
        request = {
            "arguments": ["run", *arguments],
            "environment": environment,
            "errors": str(errors),
            "kill": kill,
        }
        return Run(self._forks.ask(request), errors)


class Run:
    """A run that has been started.

    After `wait`, `code` is its exit code, negative for a signal, and `memory_bytes_max` what it
    needed at most.
    """

    def __init__(self, answers, errors):
        self._answers = answers
        self._errors = errors
        self.process = int(answers.readline())
        self.code = None
        self.memory_bytes_max = None

    def wait(self, seconds_max=60):
        over = threading.Timer(seconds_max, self.send, (signal.SIGKILL,))
        over.start()
        self.code, kilobytes = map(int, self._answers.readline().split())
        self.memory_bytes_max = kilobytes * 1024
        over.cancel()
        return self

    def send(self, number):
        os.kill(self.process, number)

    @property
    def errors(self):
        return self._errors.read_text()

    @property
    def counters(self):
        return json.loads(self.errors.splitlines()[-1])
