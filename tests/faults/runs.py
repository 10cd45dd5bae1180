"""Runs of `dastream`, each in a process of its own that can be ended at any point."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

FORKS = Path(__file__).with_name("run_forks.py")


class Runs:
    """Starts `dastream run` again and again. What it says goes into files of a directory."""

    def __init__(self, directory):
        self._directory = directory
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        )

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
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Run(self._server.stdout, errors)

    def close(self):
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()


class Run:
    """A run that has been started. `code` is negative for a signal, None before `wait`."""

    def __init__(self, answers, errors):
        self._answers = answers
        self._errors = errors
        self.process = int(answers.readline())
        self.code = None

    def wait(self, seconds_max=60):
        over = threading.Timer(seconds_max, os.kill, (self.process, 9))
        over.start()
        self.code = int(self._answers.readline())
        over.cancel()
        return self

    @property
    def errors(self):
        return self._errors.read_text()

    @property
    def counters(self):
        return json.loads(self.errors.splitlines()[-1])
