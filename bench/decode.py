"""Decoding against the reference handler: same records, same process, CPU time.

The two alternate, and medians are compared, since these machines are noisy; the ratio is what
counts. Prints tables; `--write` puts them into docs/performance.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import limit
import reference
import workload

from dastream import line
from dastream.aws.firehose import FirehoseTransform
from dastream.decode import Decoder
from dastream.format import envelope, message, payload
from dastream.format.primitives import ACCELERATORS, primitives
from dastream.keys import CachingUnwrap
from dastream.record import Position, Record
from dastream.transforms import DEFAULT, NamedTransform, apply

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
TABLES = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)

SUITES = (0x0178, 0x0378)
EVENTS_A_RECORD = (1, 10, 100)
RECORDS = {1: 120, 10: 120, 100: 40}
TARGETS = {
    ("Firehose handler", 0x0178): (7.3, 6.7, 6.3),
    ("Firehose handler", 0x0378): (3.2, 3.5, 4.5),
    ("bytes to lines", 0x0178): (9.0, 7.8, 7.2),
    ("bytes to lines", 0x0378): (3.3, 3.6, 5.0),
}
EXTRA = ("pybase64", "zlib-ng", "awscrt", "gmpy2")
IDENTITY = NamedTransform("identity", lambda event: event)


def header(*columns):
    """The first two lines of a table."""
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


class Subject:
    """Records of one suite and size, and the ways to decode them."""

    def __init__(self, suite, events):
        self.suite, self.events = suite, events
        data = workload.records(suite, events, RECORDS[events], [os.urandom(32)])
        self.count = len(data)
        self.invocation = workload.invocation(data)
        self.records = [
            Record(one, Position(workload.STREAM, "shardId-000000000000", f"49{n:054d}"), 0)
            for n, one in enumerate(data)
        ]
        self.unwrap = CachingUnwrap(workload.unwrap)
        self.decode = Decoder(self.unwrap)

    def reference(self):
        with open(os.devnull, "w") as null:
            reference.handler(self.invocation, workload.unwrap, null)

    def handler(self, chain=DEFAULT):
        transform = FirehoseTransform(self.decode, chain, lambda line: None, unwrap=self.unwrap)
        return transform(self.invocation)["records"]

    def lines(self):
        dropped = Counter()
        for record in self.records:
            line.text(apply(DEFAULT, self.decode(record), dropped))

    def record_bytes(self):
        return statistics.mean(len(record.data) for record in self.records)

    def text_bytes(self):
        """Bytes of JSON a record, before anything is dropped."""
        texts = [sum(len(event.entry) for event in self.decode(one)) for one in self.records]
        return statistics.mean(texts)


def medians_us(ways, count, rounds):
    """CPU microseconds a record of each way; they alternate, each round in another order."""
    found = [[] for _ in ways]
    for turn in range(rounds):
        for place in range(len(ways)):
            way = (turn + place) % len(ways)
            began = time.process_time_ns()
            ways[way]()
            found[way].append((time.process_time_ns() - began) / 1000 / count)
    return [statistics.median(one) for one in found]


def ratios(rounds):
    yield from header(
        "way",
        "suite",
        "events",
        "record bytes",
        "reference µs",
        "µs a record",
        "µs an event",
        "MB/s",
        "ratio",
        "aim",
        "of the limit",
    )
    for suite in SUITES:
        for place, events in enumerate(EVENTS_A_RECORD):
            subject = Subject(suite, events)
            assert not any(a["result"] == "ProcessingFailed" for a in subject.handler())
            theirs, handler, lines = medians_us(
                [subject.reference, subject.handler, subject.lines], subject.count, rounds
            )
            limits = limits_us(subject)
            size = subject.text_bytes()
            for way, ours in (("Firehose handler", handler), ("bytes to lines", lines)):
                yield (
                    f"| {way} | 0x{suite:04x} | {events} | {subject.record_bytes():.0f} |"
                    f" {theirs:.0f} | {ours:.1f} |"
                    f" {ours / events:.1f} | {size / ours:.0f} | {theirs / ours:.1f} |"
                    f" {TARGETS[way, suite][place]} | {limits[way] / ours:.2f} |"
                )


def limits_us(subject):
    data = [record.data for record in subject.records]
    answers = [answer.get("data", "").encode() for answer in subject.handler()]
    lines = sum(limit.passes_us(data).values())
    around = limit.base64_us(data) + 3 / 4 * limit.base64_us(answers)
    return {"bytes to lines": lines, "Firehose handler": lines + around}


def passes():
    columns = [(suite, events) for suite in SUITES for events in EVENTS_A_RECORD]
    yield from header("µs a record", *(f"0x{suite:04x}, {events}" for suite, events in columns))
    found = [limit.passes_us([r.data for r in Subject(*column).records]) for column in columns]
    for name in found[-1]:
        yield f"| {name} | " + " | ".join(f"{one.get(name, 0):.1f}" for one in found) + " |"


STAGES = (
    "envelope: JSON, base64",
    "data key, from the cache",
    "message: header, AES-GCM, HKDF, signature",
    "inflate",
    "JSON: entries, their members, names of ours",
    "engine, origin, events with their ids",
    "filters",
    "lines",
)


def steps(subject):
    """Decoding to lines, cut off after each stage."""
    decode = subject.decode

    def opened(record, stage):
        outer = envelope.parse(record.data)
        if stage == 0:
            return
        data_key = subject.unwrap(outer.key, {})
        if stage == 1:
            return
        plaintext = message.open_message(outer.message, data_key).plaintext
        if stage == 2:
            return
        text = payload.gunzip(plaintext)
        if stage == 4:
            payload.parse(text)

    def over_all(one):
        return lambda: [one(record) for record in subject.records]

    yield from (over_all(partial(opened, stage=stage)) for stage in range(5))
    yield over_all(decode)
    yield over_all(lambda record: apply(DEFAULT, decode(record), {}))
    yield over_all(lambda record: line.text(apply(DEFAULT, decode(record), {})))


def stages(rounds):
    """What each stage adds to those before it: in place, with the caches as they are then."""
    columns = [(suite, events) for suite in SUITES for events in EVENTS_A_RECORD]
    yield from header("µs a record", *(f"0x{suite:04x}, {events}" for suite, events in columns))
    found = []
    for column in columns:
        subject = Subject(*column)
        until = medians_us(list(steps(subject)), subject.count, 2 * rounds)
        found.append([until[0], *(after - before for before, after in pairwise(until))])
    for name, values in zip(STAGES, zip(*found, strict=True), strict=True):
        yield f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |"


def accelerators(rounds):
    columns = [(suite, events) for suite in SUITES for events in (1, 100)]
    yield from header("with", *(f"0x{suite:04x}, {events}" for suite, events in columns))
    subjects = [Subject(*column) for column in columns]
    for names in ((), *((name,) for name in ACCELERATORS), ACCELERATORS):
        primitives.use(names)
        found = []
        for subject in subjects:
            theirs, ours = medians_us([subject.reference, subject.handler], subject.count, rounds)
            found.append(f"{theirs / ours:.1f}")
        title = ", ".join(names) if len(names) < len(ACCELERATORS) else "all"
        yield f"| {title or 'none'} | " + " | ".join(found) + " |"
    primitives.use()


def identity(rounds):
    yield from header("events a record", "without", "with an identity transform", "more")
    for events in EVENTS_A_RECORD:
        subject = Subject(0x0178, events)
        without, with_it = medians_us(
            [subject.handler, lambda: subject.handler([*DEFAULT, IDENTITY])],
            subject.count,
            2 * rounds,
        )
        yield (f"| {events} | {without:.1f} µs | {with_it:.1f} µs | {with_it / without - 1:.0%} |")


def kms(seconds=0.005, count=100):
    yield from header(
        "keys that came before",
        "distinct keys",
        "KMS calls",
        "reference ms",
        "ms a record",
        "ratio",
    )
    calls = Counter()

    def slow(key, context=None):
        calls["kms"] += 1
        time.sleep(seconds)
        return workload.unwrap(key)

    for share in (0, 50, 100):
        distinct = max(1, count * (100 - share) // 100)
        keys = [os.urandom(32) for _ in range(distinct)]
        event = workload.invocation(workload.records(0x0178, 10, count, keys))
        with open(os.devnull, "w") as null:
            theirs = wall_ms(lambda event=event: reference.handler(event, slow, null), count)
        calls.clear()
        unwrap = CachingUnwrap(slow)
        handler = FirehoseTransform(Decoder(unwrap), DEFAULT, log=lambda line: None, unwrap=unwrap)
        ours = wall_ms(lambda event=event, handler=handler: handler(event), count)
        assert calls["kms"] == distinct
        yield (
            f"| {share} % | {distinct} | {calls['kms']} | {theirs:.2f} | {ours:.2f} |"
            f" {theirs / ours:.1f} |"
        )


def wall_ms(call, count):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000 / count


def arrow(rounds):
    import arrow as ways  # noqa: PLC0415 - pyarrow need not be there

    yield from header("suite", "events a record", "reference µs", "µs an event", "ratio")
    for suite in SUITES:
        for events in (10, 100):
            subject = Subject(suite, events)
            assert len(ways.by_reference(subject.records)) == len(
                ways.by_lines(subject.records, subject.decode)
            )
            theirs, ours = medians_us(
                [
                    lambda subject=subject: ways.by_reference(subject.records),
                    lambda subject=subject: ways.by_lines(subject.records, subject.decode),
                ],
                subject.count * events,
                rounds,
            )
            yield f"| 0x{suite:04x} | {events} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.1f} |"


def decode_for(seconds):
    """Records decoded in so many seconds, and the CPU seconds that it took."""
    subject = Subject(0x0178, 10)
    count, until, began = 0, time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < until:
        subject.lines()
        count += subject.count
    return count, time.process_time() - began


def processes(seconds=3, turns=5):
    """By elapsed time, and by CPU time: on shared cores others take theirs from the first."""
    yield from header("worker processes", "records a second", "of one", "of one, by CPU time")
    rates = {1: [], 2: []}
    with ProcessPoolExecutor(2) as pool:
        for _ in range(turns):
            for workers, found in rates.items():
                done = list(pool.map(decode_for, [seconds] * workers))
                elapsed = sum(count for count, _ in done) / seconds
                found.append((elapsed, sum(count / cpu for count, cpu in done)))
    one = [statistics.median(column) for column in zip(*rates[1], strict=True)]
    for workers, found in rates.items():
        elapsed, by_cpu = (statistics.median(column) for column in zip(*found, strict=True))
        yield f"| {workers} | {elapsed:,.0f} | {elapsed / one[0]:.2f} | {by_cpu / one[1]:.2f} |"


def imports():
    yield from header("", "imports", "imports and KMS client")
    client = "boto3.client('kms', region_name='us-east-1')"
    theirs = "import base64, json, os, zlib, boto3, aws_encryption_sdk"
    ours = "import dastream.aws.firehose"
    yield f"| reference | {start_ms(theirs)} | {start_ms(f'{theirs}; {client}')} |"
    path_b = "import dastream.aws.kinesis, dastream.sinks.lake"
    for name, loaded in (("dastream", ours), ("dastream, path B", path_b)):
        with_client = f"{loaded}; import boto3; {client}"
        yield f"| {name} | {start_ms(loaded)} | {start_ms(with_client)} |"


def start_ms(statement):
    """CPU milliseconds of a new interpreter beyond those of an empty one."""
    code = f"import time; b = time.process_time(); {statement}; print(time.process_time() - b)"
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    found = [
        float(subprocess.check_output([sys.executable, "-c", code], env=environment))
        for _ in range(5)
    ]
    return f"{statistics.median(found) * 1000:.0f} ms"


def tables(rounds):
    yield "CPU microseconds a record; KMS at no cost."
    yield ""
    yield from ratios(rounds)
    yield ""
    yield "The limit by its passes:"
    yield ""
    yield from passes()
    yield ""
    yield "What each stage from bytes to lines adds to those before it:"
    yield ""
    yield from stages(rounds)
    yield ""
    yield "Ratio of the Firehose handler with these accelerators:"
    yield ""
    yield from accelerators(rounds)
    yield ""
    yield "A transform of one's own:"
    yield ""
    yield from identity(rounds)
    yield ""
    if find_spec("pyarrow"):
        yield "Records to Arrow columns, against `json.loads` and `Table.from_pylist`:"
        yield ""
        yield from arrow(rounds)
        yield ""
    yield "With a KMS that takes 5 ms, 10 events a record, elapsed time:"
    yield ""
    yield from kms()
    yield ""
    yield "Worker processes, 10 events a record:"
    yield ""
    yield from processes()
    yield ""
    yield "CPU of a cold start:"
    yield ""
    yield from imports()
    yield ""
    yield machine()


def machine():
    names = ("cryptography", "msgspec", "aws-encryption-sdk", *EXTRA)
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} shared cores ({cpu[1]}), Python {python}, {versions}."


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    given = parser.parse_args()
    lines = []
    for text in tables(given.rounds):
        print(text, flush=True)
        lines.append(text)
    if given.write:
        text = "\n".join(lines)
        PAGE.write_text(TABLES.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
