"""What `dastream search` and its neighbours take on a lake of Parquet files, start included.

Each command is a process of its own, as a person starts it. Wall time is that of a machine which
does nothing else, so the least of several rounds is given; CPU time is of all threads. Takes the
lake that `bench/lake.py --dir DIR` leaves in DIR/parquet, or makes one. `--write` puts the table
into docs/searching.md.

    python bench/search.py --lake /var/tmp/lake/parquet --write
"""

import argparse
import csv
import io
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dastream.sinks import formats
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage
from lake import batches

PAGE = Path(__file__).parents[1] / "docs" / "searching.md"
PART = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
PROGRAM = [sys.executable, "-c", "from dastream.cli import main; main()"]
ROUNDS = 7
HOUR = ("--since", "2026-11-23T05:00:00Z", "--until", "2026-11-23T06:00:00Z")
COMMANDS = {
    "one user in one hour": ("search", "{lake}", "--user", "person_050", *HOUR),
    "the busiest user in one hour": ("search", "{lake}", "--user", "app_00", *HOUR),
    "text in one hour": ("search", "{lake}", "--text", "credit_limit", *HOUR),
    "what failed in one hour": ("search", "{lake}", "--failed", *HOUR),
    "one user in all of it, the newest 100": (
        *("search", "{lake}", "--user", "person_119", "--limit", "100"),
    ),
    "the longest 20 of one hour": (
        *("search", "{lake}", "--sort", "duration", "--limit", "20", *HOUR),
    ),
    "one session of that hour": ("session", "{session}", "--lake", "{lake}", *HOUR),
    "statistics of one hour": ("stats", "{lake}", *HOUR),
}  # fmt: skip


def make(root: Path, events: int) -> None:
    sink = LakeSink(FileStorage(root), formats.PARQUET)
    for batch in batches(events, 100_000):
        sink.deliver(batch)


def a_session(lake: Path) -> str:
    command = [*PROGRAM, "search", str(lake), "--user", "person_050", "--csv", *HOUR]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return next(csv.DictReader(io.StringIO(done.stdout)))["session_id"]


def measure(command: list[str]) -> tuple[float, float, str]:
    """Seconds of wall and of CPU, and what the command says of itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stderr.strip().splitlines()[-1].partition(" · ")[0]


def report(lake: Path) -> str:
    session = a_session(lake)
    rows = []
    for name, words in COMMANDS.items():
        command = [*PROGRAM, *(word.format(lake=lake, session=session) for word in words)]
        runs = [measure(command) for _ in range(ROUNDS)]
        wall, cpu = min(run[0] for run in runs), min(run[1] for run in runs)
        rows.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {runs[0][2]} |")
    files = list(lake.rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files) / 1e6
    return "\n".join(
        [
            (
                f"{len(files):,} Parquet files, {size:,.0f} MB; the least of {ROUNDS} rounds, "
                "2 shared cores."
            ),
            "",
            "| asked | seconds | of CPU | answer |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, help="made already, by bench/lake.py")
    parser.add_argument("--events", type=int, default=1_000_000, help="of a lake that is made")
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dastream-bench-") as made:
        if not given.lake:
            make(Path(made), given.events)
        text = report(given.lake or Path(made))
    print(text)
    if given.write:
        PAGE.write_text(PART.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
