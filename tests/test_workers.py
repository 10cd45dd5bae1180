import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import deliverers
from dastream.errors import ConfigError, KeyServiceError, ServiceError
from dastream.record import SHARD_END, RecordBatch
from dastream.storage import FileStorage
from dastream.workers import Worker
from pipelines import GARBAGE, activity, heartbeat, statements
from support import SHARD, STREAM, record


def worker(open_deliverer, lake):
    return closing(Worker(partial(open_deliverer, str(lake))))


def batch(*data, through=None):
    records = tuple(record(item, number) for number, item in enumerate(data, start=1))
    return RecordBatch(STREAM, SHARD, "0", through or str(len(records)), records)


def objects(lake):
    storage = FileStorage(lake)
    return {item.key: storage.get(item.key) for item in storage.list()}


def delivered(lake):
    return Counter(text for _, text in statements(FileStorage(lake)).elements())


EXPECTED = Counter(f"SELECT {sign}{number}" for number in (1, 2, 3) for sign in ("", "-"))
BATCH = batch(activity(1), activity(2), activity(3))


def test_worker_delivers_as_a_deliverer_does(tmp_path):
    given = batch(activity(1), heartbeat(), GARBAGE)
    here = list(deliverers.plain(tmp_path / "here")(given, whole=False))

    with worker(deliverers.plain, tmp_path / "there") as deliver:
        assert list(deliver(given, whole=False)) == here

    assert objects(tmp_path / "here") == objects(tmp_path / "there")
    assert len(objects(tmp_path / "here")) == 2
    assert here[0].dead_letters == {"EnvelopeError": 1}


def test_worker_tells_of_parts_and_of_the_end_of_a_shard(tmp_path):
    with worker(deliverers.in_parts, tmp_path) as deliver:
        assert [d.through for d in deliver(BATCH, whole=False)] == ["1", "2", "3"]
        end = RecordBatch(STREAM, SHARD, "3", SHARD_END, ())
        assert [d.through for d in deliver(end, whole=False)] == [SHARD_END]


def test_batch_that_is_to_stay_whole_does(tmp_path):
    with worker(deliverers.in_parts, tmp_path) as deliver:
        assert [d.records for d in deliver(BATCH, whole=True)] == [3]


@pytest.mark.parametrize(
    ("open_deliverer", "kind", "hint"),
    [
        (deliverers.out_of_reach, KeyServiceError, "allow it"),
        (deliverers.unusable, ConfigError, "use another"),
    ],
)
def test_errors_come_back_as_themselves(tmp_path, open_deliverer, kind, hint):
    with worker(open_deliverer, tmp_path) as deliver, pytest.raises(kind) as caught:
        list(deliver(BATCH, whole=False))

    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("open_deliverer", "deaths"),
    [
        (deliverers.dies_twice_after_delivery, 2),
        (deliverers.dies_in_the_third_part, 1),
        (deliverers.dies_and_cuts_finer, 1),
        (deliverers.dies_and_cuts_coarser, 1),
    ],
)
def test_batch_of_a_worker_that_died_is_delivered_once_by_the_next(
    tmp_path, open_deliverer, deaths
):
    with worker(open_deliverer, tmp_path) as deliver:
        told = list(deliver(BATCH, whole=False))

    assert len((tmp_path / "deaths").read_text()) == deaths
    assert sum(d.records for d in told) == 3
    assert sum(d.events + d.events_held for d in told) == 6
    assert delivered(tmp_path) == EXPECTED


def test_worker_that_died_between_batches_is_replaced(tmp_path):
    with worker(deliverers.plain, tmp_path) as deliver:
        list(deliver(batch(activity(1)), whole=False))
        os.kill(deliver._process.pid, signal.SIGKILL)
        list(deliver(RecordBatch(STREAM, SHARD, "1", "3", BATCH.records[1:]), whole=False))

    assert delivered(tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("open_deliverer", "end"), [(deliverers.dies, "SIGKILL"), (deliverers.quits, "exit code 1")]
)
def test_batch_that_kills_worker_after_worker_is_an_error(tmp_path, open_deliverer, end):
    with worker(open_deliverer, tmp_path) as deliver, pytest.raises(ServiceError) as caught:
        list(deliver(BATCH, whole=False))

    assert str(caught.value) == f"worker: 3 processes in a row died of one batch ({end})"
    assert "--workers" in caught.value.hint


@pytest.mark.parametrize(
    ("open_deliverer", "kind"),
    [
        (deliverers.buggy, "AttributeError"),
        (deliverers.at_an_end, "EOFError"),
        (deliverers.out_of_files, "OSError"),
    ],
)
def test_exception_that_is_none_of_ours_tells_its_type_and_place_and_nothing_of_an_event(
    tmp_path, capfd, open_deliverer, kind
):
    with worker(open_deliverer, tmp_path) as deliver, pytest.raises(ServiceError) as caught:
        list(deliver(BATCH, whole=False))

    assert str(caught.value) == f"worker: raised {kind}"
    assert "standard error says where" in caught.value.hint
    told = capfd.readouterr().err
    assert told.startswith(f"worker: {kind} was raised, here:\n")
    assert "deliverers.py" in told
    assert "SELECT" not in told + repr(caught.value)


def test_closing_ends_a_worker_that_is_busy(tmp_path):
    deliver = Worker(partial(deliverers.slow, str(tmp_path)))
    deliver._connection.send((BATCH, False, False))
    wait_until((tmp_path / "begun").exists)
    process = deliver._process

    deliver.close()

    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_worker_leaves_signals_to_the_process_that_reads(tmp_path, number):
    with worker(deliverers.plain, tmp_path) as deliver:
        list(deliver(batch(activity(1)), whole=False))
        os.kill(deliver._process.pid, number)
        list(deliver(RecordBatch(STREAM, SHARD, "1", "2", BATCH.records[1:2]), whole=False))
        assert deliver._process.is_alive()


PARENT = """
import sys
from functools import partial
import deliverers
from dastream.workers import Worker
from test_workers import BATCH

if __name__ == "__main__":
    lake = sys.argv[1]
    idle, busy = (Worker(partial(deliverers.slow, lake)) for _ in range(2))
    busy._connection.send((BATCH, False, False))
    print(idle._process.pid, busy._process.pid, flush=True)
    sys.stdin.read()
"""


def test_workers_end_when_their_parent_is_killed_also_a_busy_one(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        wait_until((tmp_path / "begun").exists)
        assert all(is_running(pid) for pid in pids)
        parent.kill()

    wait_until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # an orphan waits for somebody to ask


def wait_until(condition, seconds_max=20):
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
