"""`dastream run` under every fault, for longer than the tests have time for.

    python bench/soak_run.py [PART …] [--seed N] [--kills N] [--histories N] [--events N]

Parts: simulation, kills, outages, memory; all of them by default. Each prints a line of JSON with
what it did, and the soak ends with a traceback where something was lost or came twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from history import History
from killing import kill_repeatedly
from outages import Outages, refused, slow
from runs import Forks, Runs
from scene import Scene

import kinesalite
from dastream.local.endpoint import Endpoint
from support import entry

ENTRIES_A_RECORD = 10
SECONDS_MAX = 3600


def simulation(arguments):
    """Histories of one consumer, and of two at once."""
    for at_once in (1, 2):
        counts = Counter()
        began = time.monotonic()
        seeds = range(arguments.seed, arguments.seed + arguments.histories // at_once**2)
        for seed in seeds:
            try:
                History(seed, counts, at_once=at_once).run()
            except BaseException:
                print(f"DASTREAM_SEED={seed}", file=sys.stderr)
                raise
        faults = {" ".join(key): count for key, count in sorted(counts.items())}
        tell(f"simulation of {at_once}", began, histories=len(seeds), **faults)


def kills(arguments):
    """SIGKILL on disk and on S3, in both formats, from our endpoint and from kinesalite."""
    stages = {
        "disk": disk,
        "disk, parquet": partial(disk, options="?format=parquet"),
        "disk, kinesalite": disk_and_kinesalite,
        "s3": s3,
        "s3, parquet": partial(s3, options="?format=parquet"),
    }
    for name, make in stages.items():
        began = time.monotonic()
        chance = random.Random(arguments.seed)
        with stage(make) as (scene, runs):
            hits = kill_repeatedly(scene, runs, chance, arguments.kills)
            end(scene, runs)
        tell(f"kills: {name}", began, kills=hits.total(), **hits)


def outages(arguments):
    """Outages that last until every retry is used up, and services that are slow all the time."""
    lasting = {
        "PutObject": refused(503, "SlowDown"),
        "GetObject": refused(503, "SlowDown"),
        "ListObjectsV2": refused(500, "InternalError"),
        "Decrypt": refused(400, "ThrottlingException"),
        "GetRecords": refused(400, "ProvisionedThroughputExceededException"),
    }
    for operation, fault in lasting.items():
        outage(arguments, operation, "refused", fault, 1)
    for operation in lasting:
        outage(arguments, operation, "slow", slow, 3)


def outage(arguments, operation, name, fault, code):
    began = time.monotonic()
    with ExitStack() as parts:
        scene, runs = parts.enter_context(stage(s3))
        scene.put(random.Random(arguments.seed), 30)
        proxy = parts.enter_context(closing(Outages(scene.endpoint)))
        proxy.lasting[operation] = fault
        run = runs.start(*scene.arguments, "--once", **proxy.environment).wait(SECONDS_MAX)
        assert run.code == code, run.errors
        said = run.errors.splitlines()[-2] if code == 1 else "done"
        end(scene, runs)
    tell(f"outage: {operation} {name}", began, requests=proxy.hits[operation], said=said)


def memory(arguments):
    """The most that a run needs, for a fifth of the events and for all of them.

    A fifth of a million fills a page of GetRecords for each of two shards: beyond that, more to
    read is not more to hold.
    """
    for flush_bytes_max in (20_000, 16 << 20):
        began = time.monotonic()
        few, many = (
            memory_bytes(arguments, events, flush_bytes_max)
            for events in (arguments.events // 5, arguments.events)
        )
        tell(
            f"memory with --flush-bytes-max {flush_bytes_max}",
            began,
            events=arguments.events,
            mebibytes_for_a_fifth=few >> 20,
            mebibytes=many >> 20,
        )


def memory_bytes(arguments, events, flush_bytes_max):
    chance = random.Random(arguments.seed)
    with stage(disk) as (scene, runs):
        fed = [
            scene.feed.seal([entry(f"SELECT {number}, {n}") for n in range(ENTRIES_A_RECORD)], 0)
            for number in range(10)
        ]
        for _ in range(0, events, 400 * ENTRIES_A_RECORD):
            scene.put_these(chance.choices(fed, k=400), chance)
        limit = ["--flush-bytes-max", str(flush_bytes_max)]
        run = runs.start(*scene.arguments, *limit, "--once", **scene.environment)
        assert run.wait(SECONDS_MAX).code == 0, run.errors
        assert run.counters["events"] >= events
        scene.assert_everything_is_there()
    return run.memory_bytes_max


def end(scene, runs):
    """The last run, undisturbed: then everything is there once."""
    assert runs(*scene.arguments, "--once", **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


@contextmanager
def stage(make):
    """A scene on an endpoint of its own, and what runs in it."""
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory()))
        endpoint = parts.enter_context(Endpoint())
        os.environ.update(endpoint.environment)  # for whoever reads the lake here
        runs = Runs(parts.enter_context(closing(Forks())), directory)
        yield parts.enter_context(closing(make(parts, endpoint, directory))), runs


def disk(_parts, endpoint, directory, options=""):
    return Scene(endpoint, directory / "state.sqlite", f"file://{directory}/lake{options}")


def s3(_parts, endpoint, directory, options=""):
    endpoint.client("s3").create_bucket(Bucket="lake")
    return Scene(endpoint, directory / "state.sqlite", f"s3://lake/activity{options}")


def disk_and_kinesalite(parts, endpoint, directory):
    url = parts.enter_context(kinesalite.serving())
    lake_url = f"file://{directory}/lake"
    return Scene(endpoint, directory / "state.sqlite", lake_url, kinesis_url=url)


def tell(what, began, **figures):
    seconds = round(time.monotonic() - began)
    print(json.dumps({"soak": what, "seconds": seconds} | figures), flush=True)


PARTS = {part.__name__: part for part in (simulation, kills, outages, memory)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    for part in arguments.parts or PARTS:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
