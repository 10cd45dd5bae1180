"""Entries to columns: CPU microseconds an event, by engine, beside `json.loads` of the same bytes.

The two alternate, and medians are compared, since these machines are noisy; the ratio is what
counts. `lists` is one list a column on top of that, for what is built a column at a time.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import msgspec

from dastream.format.engines import ENGINES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from entries import BY_ENGINE

ENTRIES = 5_000
ROUNDS = 15
STATEMENT = (
    "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer"
    " WHERE o.id = $1 AND o.state <> 'done' -- request "
)


def entries_of(name: str) -> list[bytes]:
    made = (
        BY_ENGINE[name](f"{STATEMENT}{n:x}", sessionId=n, pid=n % 65535) for n in range(ENTRIES)
    )
    return [json.dumps(entry, separators=(",", ":")).encode() for entry in made]


def cpu_us(call) -> float:
    began = time.process_time_ns()
    call()
    return (time.process_time_ns() - began) / 1000 / ENTRIES


def measure(name: str) -> tuple[float, ...]:
    entries, columns = entries_of(name), ENGINES[name].columns
    assert not any(columns(entry).misfits for entry in entries)
    rows = list(map(columns, entries))
    times = [
        (
            cpu_us(lambda: [json.loads(entry) for entry in entries]),
            cpu_us(lambda: [columns(entry) for entry in entries]),
            cpu_us(lambda: list(zip(*map(msgspec.structs.astuple, rows), strict=True))),
        )
        for _ in range(ROUNDS)
    ]
    return tuple(statistics.median(column) for column in zip(*times, strict=True))


def main() -> None:
    print("| engine | json.loads, us an event | columns | ratio | lists |\n|---|---|---|---|---|")
    for name in ENGINES:
        loads, columns, lists = measure(name)
        print(f"| {name} | {loads:.1f} | {columns:.1f} | {loads / columns:.2f} | {lists:.2f} |")


if __name__ == "__main__":
    main()
