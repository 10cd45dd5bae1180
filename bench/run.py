"""What `dastream run` costs, and how soon an event can be read.

1. The pipeline from a recorded source into gzip JSON lines on disk, against a plain consumer:
   CPU time, alternating in one process; medians, of the ratios too, since these machines are noisy.
2. Two workers against none, wall time: the least of each, as both cores have to be free.
3. From the live endpoint: how the time of a run splits.
4. At 1,000 events a second: from PutRecords to a readable object.

KMS is a stub at no cost in 1 and 2.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import live
from recorded import BEGINNING, DATA_KEY, EVENTS_A_RECORD, RecordedSource, record_stream
from reference_consumer import Consumer
from workload import CLUSTER, STREAM

from dastream.checkpoint import SqliteCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.keys import CachingUnwrap
from dastream.pipeline import Pipeline
from dastream.record import SHARD_END, RecordBatch
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage
from dastream.transforms import DEFAULT
from dastream.workers import Worker

ROUNDS = 7
RECORDS = 2000
SUITES = (0x0178, 0x0378)


def unwrap(key, context):
    return DATA_KEY


def open_deliverer(directory):
    sinks = [LakeSink(FileStorage(Path(directory)))]
    return Deliverer(Decoder(CachingUnwrap(unwrap)), DEFAULT, sinks, resource_id=CLUSTER)


def run(source, directory, workers=()):
    """One run into a new lake."""
    with closing(SqliteCheckpoints(Path(directory, "state.sqlite"))) as checkpoints:
        deliver = open_deliverer(directory)
        return Pipeline(source, deliver, checkpoints, workers=workers).run()


def plain(source, directory, level):
    consumer = Consumer(Path(directory), lambda key: DATA_KEY, level=level)
    for batch in source.batches({}):
        consumer.deliver(batch)


def cost(clock, call, *arguments):
    """Seconds and bytes of one run into a directory that goes again."""
    with tempfile.TemporaryDirectory() as directory:
        began = clock()
        call(directory, *arguments)
        seconds = clock() - began
        return seconds, sum(path.stat().st_size for path in Path(directory).rglob("*.gz"))


def compare_with_plain_consumer():
    print("Recorded source to gzip JSON lines on disk, CPU microseconds a record of 10 events\n")
    print(
        "| suite | plain consumer | the same at gzip level 6 | dastream | ratio | ratio to level 6"
    )
    print("| size of what is written, ratio |\n|---|---|---|---|---|---|---|")
    for suite in SUITES:
        records = record_stream(RECORDS, suite=suite)
        source = partial(RecordedSource, records)
        calls = (
            lambda directory: plain(source(), directory, 9),
            lambda directory: plain(source(), directory, 6),
            lambda directory: run(source(), directory),
        )
        rounds = [[cost(time.process_time, call) for call in calls] for _ in range(ROUNDS)]
        spent = [[seconds for seconds, _ in one] for one in rounds]
        default, usual, ours = (
            statistics.median(column) / RECORDS * 1e6 for column in zip(*spent, strict=True)
        )
        ratio = statistics.median(one[0] / one[2] for one in spent)
        ratio_to_usual = statistics.median(one[1] / one[2] for one in spent)
        size = rounds[0][2][1] / rounds[0][0][1]
        print(
            f"| 0x{suite:04x} | {default:.0f} | {usual:.0f} | {ours:.0f} | {ratio:.2f} |"
            f" {ratio_to_usual:.2f} | {size:.2f} |"
        )


def compare_workers():
    records, times = record_stream(RECORDS // 2, shards=4), 5
    source = partial(RecordedSource, records, times=times)
    events = len(records) * times * EVENTS_A_RECORD
    print(f"\nRecorded source of four shards, {events:,} events, wall seconds\n")
    print("| | wall | CPU of all processes | share of two cores |\n|---|---|---|---|")
    rounds = [(seconds(source(), 0), seconds(source(), 2)) for _ in range(ROUNDS)]
    alone, two = (min(column) for column in zip(*rounds, strict=True))
    for name, (wall, cpu) in (("in the process that reads", alone), ("in two workers", two)):
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {cpu / wall / 2:.0%} |")
    print(f"\nratio of wall {alone[0] / two[0]:.2f}; with two cores to itself at most")
    print(f"{2 * alone[1] / two[1]:.2f} by CPU; load {os.getloadavg()[0]:.1f}")


def seconds(source, workers):
    """A run's wall and CPU, from where its workers have started."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as parts:
        made = [Worker(partial(open_deliverer, directory)) for _ in range(workers)]
        for worker in made:
            parts.enter_context(closing(worker))
            assert list(worker(RecordBatch(STREAM, "", BEGINNING, SHARD_END, ()), whole=False))
        pids = [os.getpid(), *(process.pid for process in multiprocessing.active_children())]
        began, cpu_before = time.monotonic(), cpu_seconds(pids)
        run(source, directory, made)
        return time.monotonic() - began, cpu_seconds(pids) - cpu_before


def cpu_seconds(pids):
    """User and system time that running processes have taken (proc(5), stat)."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(ticks) for stat in stats for ticks in stat[11:13]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    compare_with_plain_consumer()
    compare_workers()
    live.split()
    live.latency()


if __name__ == "__main__":
    main()
