"""Runs `dastream` in forks of this process, each of which may kill itself at a chosen point.

    python run_forks.py

Reads a JSON object a line: `arguments` of the program, `environment`, `errors` (the file for its
standard error) and `kill` (phase, moment, how many times it is passed before), or null. Answers
with the fork's process id, and when it has ended with its exit code, negative for a signal,
and with the kilobytes of memory that it needed at most.

The programs are loaded once, before the first fork: a start costs a hundredth of what it would.
"""

import json
import os
import signal
import sqlite3
import sys
import traceback
from importlib import import_module

import boto3

from dastream.checkpoint import SqliteCheckpoints
from dastream.cli.app import run_app
from dastream.decode import Decoder
from dastream.sinks.lake import LakeSink
from dastream.sources.shard import ShardReader
from dastream.storage import FileStorage, S3Storage


class Killer:
    """Ends the process with SIGKILL when a point has been passed often enough."""

    def __init__(self, phase, moment, passes_left):
        self._point = (phase, moment)
        self._passes_left = passes_left

    def watch(self):
        """Put points into the calls of the interfaces, in this process."""
        self._wrap(ShardReader, "read", "read")
        self._wrap(Decoder, "__call__", "decode")
        for storage in (FileStorage, S3Storage):
            self._wrap(storage, "put_if_absent", lambda _, key, data: _put_phase(key))
        self._wrap(os, "link", lambda _, target: _put_phase(str(target)), ("named", "linked"))
        self._wrap(LakeSink, "deliver", "between put and commit", ("", "after"))
        self._wrap(SqliteCheckpoints, "commit", "commit")
        self._trace_commits()

    def _at(self, phase, moment):
        if (phase, moment) == self._point:
            self._passes_left -= 1
            if self._passes_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _wrap(self, owner, name, phase, moments=("before", "after")):
        original = getattr(owner, name)

        def passed(*arguments, **named):
            here = phase if isinstance(phase, str) else phase(*arguments)
            self._at(here, moments[0])
            result = original(*arguments, **named)
            self._at(here, moments[1])
            return result

        setattr(owner, name, passed)

    def _trace_commits(self):
        """A point inside of the commit: the row is written, the transaction is not ended."""
        original = sqlite3.connect

        def connect(*arguments, **named):
            connection = original(*arguments, **named)
            connection.set_trace_callback(
                lambda statement: statement == "COMMIT" and self._at("commit", "within")
            )
            return connection

        sqlite3.connect = connect


def _put_phase(key):
    return "deliver dead letters" if "dead-letter/" in key else "deliver events"


def run(request):
    """What a fork does: the program, as if it had been started."""
    os.environ.update(request["environment"])
    errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, sys.stderr.fileno())
    os.dup2(errors, sys.stdout.fileno())
    if request["kill"]:
        Killer(*request["kill"]).watch()
    return run_app(request["arguments"])


def run_in_fork(request):
    process = os.fork()
    if process == 0:
        code = 70
        try:
            code = run(request)
        except BaseException:  # noqa: BLE001 - a traceback, as at the end of any process
            traceback.print_exc()
        os._exit(code)
    tell(process)
    _, status, used = os.wait4(process, 0)
    tell(os.waitstatus_to_exitcode(status), used.ru_maxrss)


def tell(*numbers):
    print(*numbers)
    sys.stdout.flush()


def load_models():
    """Have botocore read its descriptions of the services, once for all forks."""
    for service in ("kinesis", "kms", "s3"):
        boto3.client(
            service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
        ).close()


if __name__ == "__main__":
    for module in ("dastream.cli.run", "dastream.sinks.parquet"):
        import_module(module)
    load_models()
    for line in sys.stdin:
        run_in_fork(json.loads(line))
