"""`dastream run --workers`: several processes, one run."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from run_streams import expected, last_counters, statements, wait_until

from dastream.checkpoint import SqliteCheckpoints
from dastream.cli.app import run_app
from dastream.record import SHARD_END
from dastream.storage import open_storage
from support import CONTEXT, STREAM, entry, sealed

SHARDS = 4
STATEMENTS = range(400)
ROUNDS_OF_KILLS = 5
SMALL_BATCHES = ("--flush-bytes-max", "3000")


class Stream:
    """A stream of four shards, on which each record holds one statement."""

    def __init__(self, aws):
        self.kinesis = aws.client("kinesis")
        self.kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
        kms = aws.client("kms")
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        key = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
        self._how = {"data_key": key["Plaintext"], "key": key["CiphertextBlob"]}

    def put(self, numbers):
        for number in numbers:
            self.kinesis.put_record(
                StreamName=STREAM,
                Data=sealed([entry(f"SELECT {number}")], **self._how),
                PartitionKey="p",
                ExplicitHashKey=str(number % SHARDS * 2**126),
            )


@pytest.fixture
def stream(aws):
    made = Stream(aws)
    yield made
    made.kinesis.delete_stream(StreamName=STREAM)


@pytest.fixture
def arguments(tmp_path, lake):
    state = f"sqlite://{tmp_path}/state.sqlite"
    return ["run", "--source", f"kinesis://{STREAM}", "--sink", lake, "--state", state]


def test_shards_are_delivered_by_several_processes(stream, lake, arguments, capsys):
    stream.put(range(40))

    assert run_app([*arguments, "--once", "--workers", "2"]) == 0

    assert statements(lake) == expected(range(40))
    counters = last_counters(capsys.readouterr().err)
    assert (counters["records"], counters["events"]) == (40, 40)
    assert (counters["keyHits"], counters["keyMisses"]) == (38, 2)  # a cache in each worker
    assert not multiprocessing.active_children()


def test_next_run_goes_on_with_another_number_of_workers(stream, lake, arguments):
    for number, workers in enumerate("312"):
        stream.put(range(number * 10, number * 10 + 10))
        assert run_app([*arguments, "--once", "--workers", workers]) == 0

    assert statements(lake) == expected(range(30))


def test_ends_of_shards_and_their_children_are_delivered(stream, lake, arguments, tmp_path):
    stream.put(range(8))
    hash_key = str(2**125)
    stream.kinesis.split_shard(
        StreamName=STREAM, ShardToSplit="shardId-000000000000", NewStartingHashKey=hash_key
    )
    stream.put(range(8, 16))

    assert run_app([*arguments, "--once", "--workers", "2"]) == 0

    assert statements(lake) == expected(range(16))
    store = SqliteCheckpoints(tmp_path / "state.sqlite")
    assert store.progress(STREAM)["shardId-000000000000"] == SHARD_END
    store.close()


def test_what_a_worker_raises_ends_the_run_as_it_would_end_one_process(
    stream, arguments, lake, aws, capsys
):
    stream.put(range(8))
    (key,) = aws.client("kms").list_keys()["Keys"][-1:]
    aws.client("kms").disable_key(KeyId=key["KeyId"])

    assert run_app([*arguments, "--once", "--workers", "2"]) == 1

    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error == "error: kms decrypt: DisabledException"
    assert hint.startswith("hint: check kms:Decrypt")
    assert not statements(lake)

    aws.client("kms").enable_key(KeyId=key["KeyId"])
    assert run_app([*arguments, "--once", "--workers", "2"]) == 0
    assert statements(lake) == expected(range(8))


RAISING = """
def ends(event):
    raise EOFError(event.columns.statement)

def refuses(event):
    raise ValueError(event.columns.statement)
"""


@pytest.mark.parametrize("transform", ["ends", "refuses"])
def test_transform_that_raises_in_a_worker_makes_dead_letters_and_quotes_nothing(
    stream, arguments, lake, tmp_path, monkeypatch, capfd, transform
):
    (tmp_path / "raising.py").write_text(RAISING)
    monkeypatch.syspath_prepend(tmp_path)
    stream.put(range(8))

    options = ["--once", "--workers", "2", "--transforms", f"raising:{transform}"]
    assert run_app([*arguments, *options]) == 3

    told = capfd.readouterr().err
    assert last_counters(told)["deadLetters"] == {"TransformError": 8}
    assert "SELECT" not in told
    assert not statements(lake)


SINK = """
from pathlib import Path
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage

class Quoting(LakeSink):
    def deliver(self, batch):
        raise {kind}(batch.events[0].columns.statement)

def open(url):
    return Quoting(FileStorage(Path("{place}")))
"""


@pytest.mark.parametrize(
    ("workers", "error"), [("1", "error: a bug, in dastream or"), ("2", "error: worker: raised")]
)
@pytest.mark.parametrize("kind", ["EOFError", "ValueError"])
def test_sink_that_raises_what_is_no_error_of_ours_ends_the_run_and_quotes_nothing(
    stream, arguments, tmp_path, workers, error, kind
):
    (tmp_path / "quoting.py").write_text(SINK.format(kind=kind, place=tmp_path / "other"))
    about = tmp_path / "quoting-1.dist-info"
    about.mkdir()
    (about / "entry_points.txt").write_text("[dastream.sinks]\nquoting = quoting\n")
    stream.put(range(8))

    options = ["--once", "--workers", workers, "--sink", "quoting://"]
    done = subprocess.run(
        [sys.executable, "-m", "dastream", *arguments, *options],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert error in done.stderr
    assert f"{kind} was raised, here:" in done.stderr
    assert "quoting.py" in done.stderr
    assert "SELECT" not in done.stderr


def test_nothing_is_lost_or_there_twice_when_workers_are_killed(stream, lake, arguments):
    stream.put(STATEMENTS)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    killer = Killer(random.Random(seed), lake)

    with killer:
        assert run_app([*arguments, "--once", "--workers", "3", "--flush-bytes-max", "1"]) == 0

    assert killer.kills >= 2
    assert statements(lake) == expected(STATEMENTS)


class Killer:
    """Kills workers, and more of them each time that every shard has gone on since.

    So no batch costs more than two of them, which is what a run endures.
    """

    def __init__(self, rng, lake):
        self.kills = 0
        self._rng = rng
        self._lake = lake
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._thread.join()

    def _run(self):
        for _ in range(ROUNDS_OF_KILLS):
            before = self._delivered()
            while not self._have_gone_on(before):
                if self._ended.wait(0.01):
                    return
            self._ended.wait(self._rng.random() / 50)
            self._kill()

    def _have_gone_on(self, before):
        now = self._delivered()
        is_done = {shard for shard, count in now.items() if count == len(STATEMENTS) / SHARDS}
        return len(now) == SHARDS and all(now[s] > before[s] for s in now.keys() - is_done)

    def _kill(self):
        workers = [w for w in multiprocessing.active_children() if w.name == "worker"]
        for worker in workers and self._rng.sample(workers, k=self._rng.randint(1, len(workers))):
            worker.kill()
            self.kills += 1

    def _delivered(self):
        keys = (item.key for item in open_storage(self._lake).list("events/"))
        return Counter(key.partition("shardId-")[2][:12] for key in keys)


@pytest.fixture
def running(arguments):
    """A run of three workers that goes on, in a session of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "dastream", *arguments, "--workers", "3", *SMALL_BATCHES],
        stderr=subprocess.PIPE,
        env=os.environ,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def session_of(process):
    """The processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == process.pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("is_for_all", [False, True], ids=["the run", "all its processes"])
def test_signal_delivers_what_was_read_and_ends_with_0(stream, lake, running, is_for_all):
    """systemd sends it to one or to all, a terminal to all."""
    stream.put(range(41))
    wait_until(lambda: statements(lake).total() >= 36)

    (os.killpg if is_for_all else os.kill)(running.pid, signal.SIGTERM)
    err = running.stderr.read().decode()

    assert running.wait() == 0
    assert "Traceback" not in err
    assert statements(lake) == expected(range(41))
    assert last_counters(err)["events"] == 41
    wait_until(lambda: not session_of(running), seconds_max=5)


def test_killed_run_leaves_no_process_and_the_next_one_goes_on(stream, lake, arguments, running):
    stream.put(STATEMENTS)
    wait_until(lambda: statements(lake).total() >= 20)
    assert len(session_of(running)) >= 4

    running.kill()
    running.wait()

    wait_until(lambda: not session_of(running), seconds_max=5)
    assert run_app([*arguments, "--once", "--workers", "2"]) == 0
    assert statements(lake) == expected(STATEMENTS)
