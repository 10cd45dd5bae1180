"""A run on the local endpoint: how its time splits, and how soon an event can be read."""

import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import boto3
from recorded import EVENTS_A_RECORD
from workload import CLUSTER, STREAM, payload, seal

from dastream.checkpoint import SqliteCheckpoints
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.keys import CachingUnwrap, kms_unwrap
from dastream.pipeline import Pipeline
from dastream.sinks import jsonl
from dastream.sinks.lake import LakeSink
from dastream.sources import open_source
from dastream.storage import FileStorage
from dastream.transforms import DEFAULT

SHARDS = 2
RECORDS = 3000
EVENTS_A_SECOND = 1000
PUTS_A_SECOND = 10
SECONDS = 20
FLUSH_AGES_SECONDS = (1, 5)
LOOK_SECONDS = 0.02

SERVE = """
import json, sys
from dastream.local.endpoint import Endpoint
with Endpoint() as endpoint:
    print(json.dumps(endpoint.environment), flush=True)
    sys.stdin.read()
"""


@contextmanager
def endpoint():
    """An endpoint in a process of its own, which the environment points to."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        os.environ |= json.loads(server.stdout.readline())
        try:
            yield boto3.client("kinesis")
        finally:
            server.stdin.close()


def records(count):
    """The data of records whose data key the endpoint's KMS knows."""
    kms, rng = boto3.client("kms"), random.Random(count)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    context = {"aws:rds:dbc-id": CLUSTER}
    made = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=context)
    return [
        seal(payload(rng, EVENTS_A_RECORD), 0x0178, made["Plaintext"], made["CiphertextBlob"])
        for _ in range(count)
    ]


def put(kinesis, some):
    """Their sequence numbers."""
    entries = [{"Data": data, "PartitionKey": str(random.random())} for data in some]
    answer = kinesis.put_records(StreamName=STREAM, Records=entries)
    assert not answer["FailedRecordCount"]
    return [entry["SequenceNumber"] for entry in answer["Records"]]


callers = []
"""The stages that are running, each called by the one before."""


class Stopwatch:
    """CPU and wall seconds of a stage, without those of the stages that it calls."""

    def __init__(self):
        self.cpu = self.wall = 0.0

    def __enter__(self):
        self.add(-1)
        if callers:
            callers[-1].add(1)
        callers.append(self)

    def __exit__(self, *exception):
        callers.pop()
        self.add(1)
        if callers:
            callers[-1].add(-1)

    def add(self, sign):
        """The time since some beginning: taken away when a stage begins, added when it ends."""
        self.cpu += sign * time.process_time()
        self.wall += sign * time.monotonic()

    def timed(self, call):
        def timed(*arguments, **named):
            with self:
                return call(*arguments, **named)

        return timed

    def timed_iteration(self, call):
        def timed(*arguments):
            rest = iter(call(*arguments))
            while (item := self.timed(next)(rest, None)) is not None:
                yield item

        return timed


def split():
    """How the time of a run splits: each stage without those that it calls."""
    stages = {name: Stopwatch() for name in ("reading", "decoding", "lines", "writing", "rest")}
    stages["compressing"] = Stopwatch()
    with endpoint() as kinesis, tempfile.TemporaryDirectory() as directory:
        kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
        data = records(RECORDS)
        for start in range(0, RECORDS, 500):
            put(kinesis, data[start : start + 500])
        run_timed(stages, directory)
        compress_again(stages, directory)
    print_split(stages)


def run_timed(stages, directory):
    source = open_source(f"kinesis://{STREAM}", once=True)
    source.batches = stages["reading"].timed_iteration(source.batches)
    storage = FileStorage(Path(directory))
    storage.put_if_absent = stages["writing"].timed(storage.put_if_absent)
    sink = LakeSink(storage)
    sink.deliver = stages["lines"].timed(sink.deliver)
    decode = stages["decoding"].timed(Decoder(CachingUnwrap(kms_unwrap(open_client("kms")))))
    deliver = Deliverer(decode, DEFAULT, [sink], resource_id=CLUSTER)
    with closing(SqliteCheckpoints(Path(directory, "state"))) as checkpoints, stages["rest"]:
        counters = Pipeline(source, deliver, checkpoints).run()
    assert counters.records == RECORDS
    assert not counters.dead_letters


def compress_again(stages, directory):
    """The same lines into the same bytes once more, for what of the sink's time that was."""
    compressing = stages["compressing"]
    for path in Path(directory).rglob("*.gz"):
        held = path.read_bytes()
        text = gzip.decompress(held)
        with compressing:
            again = jsonl.pack([text], jsonl.receipt(held))
        assert again == held
    stages["lines"].cpu -= compressing.cpu
    stages["lines"].wall -= compressing.wall


def print_split(stages):
    cpu, wall = (sum(getattr(s, name) for s in stages.values()) for name in ("cpu", "wall"))
    print(f"\nFrom the live endpoint, {RECORDS * EVENTS_A_RECORD:,} events in {SHARDS} shards\n")
    print("| stage | CPU microseconds a record | of the CPU | of the wall |\n|---|---|---|---|")
    for name in ("reading", "decoding", "lines", "compressing", "writing", "rest"):
        stage = stages[name]
        shares = f"{stage.cpu / cpu:.0%} | {stage.wall / wall:.0%}"
        print(f"| {name} | {stage.cpu / RECORDS * 1e6:.0f} | {shares} |")
    print(f"| all | {cpu / RECORDS * 1e6:.0f} | 100% | {wall:.2f} s |")


def latency():
    print(
        f"\nAt {EVENTS_A_SECOND:,} events a second for {SECONDS} s, from PutRecords to a readable"
    )
    print("object, seconds\n\n| flush age | p50 | p99 | longest |\n|---|---|---|---|")
    for age_seconds in FLUSH_AGES_SECONDS:
        with endpoint() as kinesis, tempfile.TemporaryDirectory() as directory:
            kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
            taken = sorted(measure_latency(kinesis, Path(directory), age_seconds))
        cuts = statistics.quantiles(taken, n=100)
        print(f"| {age_seconds} | {cuts[49]:.2f} | {cuts[98]:.2f} | {taken[-1]:.2f} |")


def measure_latency(kinesis, directory, age_seconds):
    """Seconds from the call of PutRecords to where an object with the event can be read."""
    data = records(EVENTS_A_SECOND * SECONDS // EVENTS_A_RECORD)
    lake = directory / "lake"
    with ExitStack() as parts:
        running = parts.enter_context(consumer(directory, lake, age_seconds))
        time.sleep(2)  # it has started and reads
        watch = Watch(lake)
        put_at = publish(kinesis, data)
        watch.wait_for(put_at.keys())
        running.terminate()
    assert running.returncode == 0
    return [watch.seen_at[sequence] - moment for sequence, moment in put_at.items()]


def consumer(directory, lake, age_seconds):
    arguments = ["--source", f"kinesis://{STREAM}", "--sink", lake.as_uri()]
    arguments += ["--state", f"sqlite://{directory}/state"]
    arguments += ["--flush-age-seconds-max", str(age_seconds)]
    command = [sys.executable, "-m", "dastream", "run", *arguments]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def publish(kinesis, data):
    """When each record was put, by its sequence number."""
    put_at = {}
    records_a_put = EVENTS_A_SECOND // EVENTS_A_RECORD // PUTS_A_SECOND
    began = time.monotonic()
    for number, start in enumerate(range(0, len(data), records_a_put)):
        time.sleep(max(0, began + number / PUTS_A_SECOND - time.monotonic()))
        now = time.monotonic()
        put_at |= dict.fromkeys(put(kinesis, data[start : start + records_a_put]), now)
    return put_at


class Watch:
    """When the records of a lake were first seen there, by their sequence numbers."""

    def __init__(self, lake):
        self.seen_at = {}
        self._lake = lake
        self._known = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_ended = False
        self._thread.start()

    def wait_for(self, sequences):
        deadline = time.monotonic() + 60
        while sequences - self.seen_at.keys():
            assert time.monotonic() < deadline, "some events did not come"
            time.sleep(LOOK_SECONDS)
        self._is_ended = True
        self._thread.join()

    def _run(self):
        while not self._is_ended:
            for path in set(self._lake.glob("events/*/*/*.gz")) - self._known:
                self._known.add(path)
                now = time.monotonic()
                for line in gzip.decompress(path.read_bytes()).splitlines():
                    self.seen_at.setdefault(json.loads(line)["sequenceNumber"], now)
            time.sleep(LOOK_SECONDS)
