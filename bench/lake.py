"""Questions to Parquet and to gzip JSON lines of the same events, and what writing Parquet costs.

Both are asked by DuckDB in the same process, and CPU time is compared, of all threads; the
answers are the same, or the bench fails. The JSON lines are plain gzip, read with the names and
types of their members given, so that DuckDB guesses nothing and decodes only what it needs.
Prints tables; `--write` puts them into docs/lake-performance.md.

    python bench/lake.py --events 10000000 --dir /var/tmp/lake --write
"""

import argparse
import gzip
import io
import json
import re
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import duckdb
import lake_events
import pyarrow as pa
import pyarrow.parquet as pq
from lake_events import CLUSTER, NEEDLE, SHARD

from dastream import line
from dastream.lake.database import Database
from dastream.record import BatchName, EventBatch, utc_day
from dastream.sinks import formats
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage

PAGE = Path(__file__).parents[1] / "docs" / "lake-performance.md"
PART = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
ROUNDS = 5
WRITE_ROUNDS = 7
WRITTEN = 40_000

MEMBERS = {
    "eventId": "VARCHAR",
    "startTime": "TIMESTAMP",
    "dbUserName": "VARCHAR",
    "commandText": "VARCHAR",
    "objectName": "VARCHAR",
    "sessionId": "VARCHAR",
    "rowCount": "BIGINT",
}
NAMES = {
    "time": "startTime",
    "user": "dbUserName",
    "statement": "commandText",
    "object_name": "objectName",
    "session_id": "sessionId",
}
QUESTIONS = {
    "count by user and hour": (
        20,
        (
            "SELECT {user} u, date_trunc('hour', {time}) h, count(*) FROM {events} "
            "GROUP BY ALL ORDER BY ALL"
        ),
    ),
    "one user in one hour": (
        300,
        (
            "SELECT {time} t, {statement} s FROM {events} WHERE {user} = '{one_user}' "
            "AND {time} >= '{hour}' AND {time} < '{next_hour}' ORDER BY ALL"
        ),
    ),
    "text in statements": (
        4,
        "SELECT count(*) FROM {events} WHERE {statement} ILIKE '%{needle}%'",
    ),
    "one session": (
        20,
        (
            "SELECT {time} t, {statement} s FROM {events} WHERE {session_id} = '{session}' "
            "ORDER BY ALL"
        ),
    ),
    "top objects": (
        50,
        (
            "SELECT {object_name} o, count(*) n, count(DISTINCT {user}) u FROM {events} "
            "GROUP BY ALL ORDER BY n DESC, o LIMIT 20"
        ),
    ),
}


def batches(count: int, size: int) -> Iterator[EventBatch]:
    """Events as a run delivers them: a batch ends when it is full, and with the day."""
    rest = lake_events.events(count)
    carried = []
    while held := carried + list(islice(rest, size - len(carried))):
        day = utc_day(held[0].origin.arrival_ms)
        cut = next(
            (n for n, e in enumerate(held) if utc_day(e.origin.arrival_ms) != day), len(held)
        )
        held, carried = held[:cut], held[cut:]
        first = held[0].origin.position.sequence
        name = BatchName(CLUSTER, day, SHARD, f"from-{first}")
        yield EventBatch(name, held[-1].origin.position.sequence, (), "", tuple(held), {}, ())


def deliver(root: Path, count: int, size: int) -> dict[str, int]:
    """Both lakes, and a third one without the entries; the bytes that they take."""
    sinks = {
        "parquet": LakeSink(FileStorage(root / "parquet"), formats.PARQUET),
        "bare": LakeSink(FileStorage(root / "bare"), formats.PARQUET_WITHOUT_ENTRIES),
    }
    (root / "json").mkdir()
    for number, batch in enumerate(batches(count, size)):
        for sink in sinks.values():
            sink.deliver(batch)
        text = b"".join(line.texts(batch.events))
        name = root / "json" / f"{number:05}.jsonl.gz"
        name.write_bytes(gzip.compress(text, 6, mtime=0))
    return {
        place: sum(file.stat().st_size for file in (root / place).rglob("*.*") if file.is_file())
        for place in ("json", "parquet", "bare")
    }


def cpu(call) -> tuple[float, object]:
    began = time.process_time()
    answer = call()
    return time.process_time() - began, answer


def ask(root: Path, count: int) -> Iterator[str]:
    middle = datetime.fromtimestamp(
        lake_events.START_S + count // lake_events.EVENTS_A_SECOND // 2, UTC
    ).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    json_lines = duckdb.connect()
    with Database(FileStorage(root / "parquet")) as parquet:
        [batch] = parquet.read(
            "SELECT user, session_id FROM events WHERE time >= $hour ORDER BY time LIMIT 1",
            {"hour": middle},
        ).batches
        given = {
            "one_user": batch["user"][0],
            "session": batch["session_id"][0],
            "hour": middle,
            "next_hour": middle + timedelta(hours=1),
            "needle": NEEDLE,
        }
        source = f"read_json('{root}/json/*.gz', columns = {MEMBERS}, format = 'newline_delimited')"
        for name, (least, sql) in QUESTIONS.items():
            of_json = sql.format(events=source, **NAMES, **given)
            of_parquet = sql.format(events="events", **{n: n for n in NAMES}, **given)
            slow, expected = cpu(lambda: json_lines.sql(of_json).to_arrow_table())
            runs = [cpu(lambda: table(parquet, of_parquet)) for _ in range(ROUNDS)]
            fast = statistics.median(seconds for seconds, _ in runs)
            assert runs[0][1].to_pylist() == expected.to_pylist(), name
            yield f"| {name} | {slow:.2f} | {fast:.3f} | {slow / fast:,.0f} | {least} |"


def table(database: Database, sql: str) -> pa.Table:
    answer = database.ask(sql)
    return pa.Table.from_batches(list(answer.batches), answer.schema)


def naive(entries: list[bytes]) -> int:
    output = io.BytesIO()
    rows = pa.Table.from_pylist([json.loads(entry) for entry in entries])
    pq.write_table(rows, output, compression="zstd")
    return output.tell()


def write() -> Iterator[str]:
    """CPU microseconds an event, of the way that everybody begins with and of the sink's."""
    some = list(lake_events.events(WRITTEN))
    entries = [event.entry for event in some]
    receipt = formats.Receipt(
        start="", through="", records=0, digest="", events=0, dropped={}, dead_letters=0
    )
    ways = {
        "json.loads, Table.from_pylist, write_table": lambda: naive(entries),
        "the sink, raw=no": lambda: formats.PARQUET_WITHOUT_ENTRIES.pack(some, receipt),
        "the sink": lambda: formats.PARQUET.pack(some, receipt),
    }
    times = {name: [] for name in ways}
    for _ in range(WRITE_ROUNDS):
        for name, way in ways.items():
            times[name].append(cpu(way)[0] / WRITTEN * 1e6)
    medians = {name: statistics.median(of) for name, of in times.items()}
    first = next(iter(medians.values()))
    for (name, us), most in zip(medians.items(), ("", "0.5", "0.7"), strict=True):
        yield f"| {name} | {us:.1f} | {us / first:.2f} | {most} |"


def report(root: Path, count: int, size: int) -> str:
    written = list(write())
    began = time.process_time()
    sizes = deliver(root, count, size)
    delivered = time.process_time() - began
    asked = list(ask(root, count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    files = sum(1 for _ in (root / "json").iterdir())
    megabytes = {place: f"{taken / 1e6:,.0f}" for place, taken in sizes.items()}
    ratios = {place: f"{taken / sizes['json']:.2f}" for place, taken in sizes.items()}
    return "\n".join(
        [
            (
                f"{count:,} events in {files:,} objects of up to {size:,} each; DuckDB "
                f"{duckdb.__version__}, pyarrow {pa.__version__}, 2 shared cores. Seconds of CPU, "
                f"the median of {ROUNDS} for Parquet, once for JSON lines."
            ),
            "",
            "| question | gzip JSON lines | Parquet | times less | at least |",
            "|---|---|---|---|---|",
            *asked,
            "",
            "| bytes | MB | of gzip JSON lines | at most |",
            "|---|---|---|---|",
            f"| gzip JSON lines | {megabytes['json']} | 1 | |",
            f"| Parquet, raw=no | {megabytes['bare']} | {ratios['bare']} | 0.85 |",
            f"| Parquet | {megabytes['parquet']} | {ratios['parquet']} | 2.0 |",
            "",
            "| writing | µs of CPU an event | of the first | at most |",
            "|---|---|---|---|",
            *written,
            "",
            (
                f"Making and writing all of it took {delivered:,.0f} s of CPU, and the process "
                f"never had more than {peak:,} MB."
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--events-an-object", type=int, default=100_000)
    parser.add_argument("--dir", type=Path, help="keep the lakes here")
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    given = parser.parse_args()
    root = given.dir or Path(tempfile.mkdtemp(prefix="dastream-bench-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        text = report(root, given.events, given.events_an_object)
    finally:
        if not given.dir:
            shutil.rmtree(root)
    print(text)
    if given.write:
        PAGE.write_text(PART.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
