"""What tests of `dastream emit` share: its process, killed and started again, and the truth."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg

from dastream.activity.entry import Server, encode
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader
from dastream.decode import decode_record
from dastream.keys import kms_unwrap
from dastream.record import Record
from proxy import Proxy, refusal

CLUSTER = "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STREAM = f"aws-rds-das-{CLUSTER}"


class Emit:
    """The program, on one server's log and one endpoint; killed and started as often as wanted."""

    def __init__(self, log_directory, state, environment, key_id, *, mode, stream=STREAM):
        self.errors = state.with_suffix(".err")
        self._lock = state.with_name(f"{state.name}.lock")
        self._command = [
            *(sys.executable, "-m", "dastream", "emit"),
            *("--postgres-log", str(log_directory), "--state", str(state)),
            *("--stream", stream, "--kms-key", key_id, "--mode", mode),
            *("--start-at", "beginning", "--server-version", "15", "--server-host", "h"),
        ]
        self._environment = os.environ | environment
        self._process = None

    def start(self):
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=errors, stderr=errors
            )

    def wait_until_at_work(self, seconds_max=30):
        """Until it has its state file, and so handles signals."""
        deadline = time.monotonic() + seconds_max
        while not self._has_lock():
            assert self._process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _has_lock(self):
        with contextlib.suppress(FileNotFoundError), self._lock.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        """End it as a service manager does; its exit code and its last figures."""
        self.wait_until_at_work()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        return code, json.loads(self.errors.read_text().splitlines()[-1])

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Trouble(Proxy):
    """A proxy before the endpoint that throttles, refuses, and breaks off, while it is asked to.

    `rate` is the share of requests that have trouble. What is broken off has been carried out.
    """

    def __init__(self, endpoint, seed=0):
        self.rate = 0.0
        self.is_kms_out = False
        self.count = 0
        self._random = random.Random(seed)
        super().__init__(endpoint, self._trouble)

    def _trouble(self, operation, forward):
        kind = self._random.random() / self.rate if self.rate else 1.0
        if self.is_kms_out and operation == "GenerateDataKey":
            self.count += 1
            return None
        if kind < 0.3:
            self.count += 1
            return refusal(operation, 400, "ProvisionedThroughputExceededException")
        reply = forward()
        if kind < 0.6:
            self.count += 1
            time.sleep(self._random.uniform(0, 0.5))  # the moment in which nobody knows
            return None
        return reply


def kill_server(server):
    """SIGKILL of the postmaster, and another one: what is in the log's pipe is still written."""
    server._process.kill()
    server._process.wait()
    server._wait_for_the_last_process()
    server._start_on_a_free_port()


class Clients:
    """Threads that send statements of many kinds, and go on when the server comes back."""

    KINDS = (
        ("INSERT INTO t VALUES (%s, %s)", True),
        ("SELECT * FROM t JOIN t u USING (a) WHERE t.b = %s AND t.a = %s", True),
        ("SELECT '{token}'", False),
        ('SELECT \'{token}\n{{"timestamp":"2026-01-01 00:00:00.000 UTC"}}\n"\',\n 1', False),
        ("DO $$ BEGIN PERFORM '{token}'; UPDATE t SET b = '{token}' WHERE a < 0; END $$", False),
        ("SELECT '{token}' FROM missing", False),
        ("SELECT 1 / %s::int, %s", True),
        ("UPDATE t SET b = '{token}' WHERE a = -1; DELETE FROM t WHERE b = '{token}'", False),
    )

    def __init__(self, server, statements, *, threads=3, seed=0):
        self.sent = Counter()
        self._server = server
        self._each = statements // threads
        self._seed = seed
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def start(self):
        for thread in self._threads:
            thread.start()

    @property
    def are_busy(self):
        return any(thread.is_alive() for thread in self._threads)

    def join(self):
        for thread in self._threads:
            thread.join()

    def _run(self, number):
        chance = random.Random(self._seed * 1000 + number)
        done = 0
        while done < self._each:
            try:
                with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
                    done = self._session(connection, chance, number, done)
            except psycopg.OperationalError:
                time.sleep(0.05)

    def _session(self, connection, chance, number, done):
        for _ in range(chance.randrange(5, 200)):
            if done >= self._each:
                break
            done += 1
            if done % 50 == 0:
                time.sleep(chance.uniform(0.0, 1.0))  # so that there is something to kill
            token = f"t{number}-{done}"
            text, has_values = chance.choice(self.KINDS)
            values = (done % 7, None if done % 5 == 0 else token)
            try:
                with connection.transaction() if done % 11 == 0 else contextlib.nullcontext():
                    connection.execute(
                        text if has_values else text.format(token=token),
                        (values if "INSERT" in text or "1 /" in text else values[::-1])
                        if has_values
                        else None,
                        prepare=done % 3 == 0,
                    )
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                pass
            self.sent[token] += 1
        return done


def execute(server, *statements):
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def expected_entries(log_directory, mode):
    """The entries of the whole log, read once and without interruption."""
    reader = LogReader(Server("15", "h"), mode=mode)
    tail = LogTail(Path(log_directory), start="beginning", still_seconds=0.0)
    found = Counter()
    while (lines := tail.read()).rows:
        found.update(encode(entry) for entry in reader.read(*lines))
    tail.close()
    return found


def logged_statements(log_directory):
    """The texts and the bind values of clients in the log, by means that are not ours."""
    found = set()
    for path in Path(log_directory).glob("*.json"):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if row.get("backend_type") == "client backend":
                    found |= _statements(row)
    return found


def _statements(row):
    if row["error_severity"] == "ERROR" and "statement" in row:
        return {row["statement"]}
    done = re.match(
        r"duration: \S+ ms  (?:statement|execute [^:]*): (.*)", row["message"], re.DOTALL
    )
    values = re.findall(r"\$\d+ = '([^']*)'", row.get("detail", ""))
    return {done[1], *values} if done else set()


def published_events(endpoint, stream=STREAM):
    """All events of a stream, in the order of each shard."""
    kinesis, unwrap = endpoint.client("kinesis"), kms_unwrap(endpoint.client("kms"))
    events = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                events += decode_record(Record(record["Data"]), unwrap, resource_id=CLUSTER)
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] or iterator is None:
                break
    return [event for event in events if event.kind == "activity"]


def assert_everything_arrived(endpoint, log_directory, mode, stream=STREAM):
    """What was logged was published, what was published twice has one id, and nothing else."""
    events = published_events(endpoint, stream)
    by_id = {event.id: bytes(event.entry) for event in events}
    assert all(by_id[event.id] == event.entry for event in events)
    published = Counter(by_id.values())
    expected = expected_entries(log_directory, mode)
    missing, other = expected - published, published - expected
    assert not missing, f"{len(missing)} entries did not arrive"
    assert not other, f"{len(other)} entries that an undisturbed reader does not give"
    entries = [json.loads(one) for one in by_id.values()]
    texts = {one["commandText"] for one in entries}
    texts |= {value for one in entries for value in one["paramList"]}
    assert logged_statements(log_directory) <= texts
    return len(events), len(by_id)
