"""Runs the fuzzer: `python -m fuzz [-runs=N] [libFuzzer's other flags] [directories]`.

Without directories it starts from the corpus and the vectors, and keeps what it finds in
`fuzz/found`, which is not part of the project; `-merge=1` brings that into the corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dastream"]):
    from fuzz.harness import run
from fuzz.seeds import seeds

HERE = Path(__file__).parent
FLAGS = (
    "-max_len=4096",
    "-timeout=10",
    "-rss_limit_mb=1024",
    "-use_value_profile=1",
    f"-dict={HERE / 'words.dict'}",
)


def main() -> None:
    """Fuzz until the runs are done or something is found."""
    arguments = sys.argv[1:]
    if all(argument.startswith("-") for argument in arguments):
        found = HERE / "found"
        found.mkdir(exist_ok=True)
        seeded = HERE / "found" / "seeds"
        seeded.mkdir(exist_ok=True)
        for name, data in seeds().items():
            (seeded / name).write_bytes(data)
        arguments += [str(found), str(HERE / "corpus"), str(seeded)]
    atheris.Setup([sys.argv[0], *FLAGS, *arguments], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
