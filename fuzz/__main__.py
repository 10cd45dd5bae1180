"""Runs the fuzzer: `python -m fuzz [libFuzzer's flags]`.

It starts from the corpus and the vectors, and keeps what is new in `fuzz/work/found`. With
`-merge=1` it brings what adds something into the corpus instead, the smallest files first.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dastream"]):
    from fuzz.harness import run
from fuzz.seeds import seeds, words

HERE = Path(__file__).parent
WORK = HERE / "work"
FLAGS = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-use_value_profile=1")


def main() -> None:
    """Fuzz until the runs are done or something is found."""
    is_merge = "-merge=1" in sys.argv
    directories = [WORK / "found", HERE / "corpus", WORK / "seeds"]
    if is_merge:
        directories = [HERE / "corpus", WORK / "found", WORK / "seeds"]
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
    for data in seeds():
        (WORK / "seeds" / hashlib.sha1(data).hexdigest()).write_bytes(data)  # noqa: S324 - a name
    (WORK / "words.dict").write_text(words())
    flags = [f"-dict={WORK / 'words.dict'}", f"-artifact_prefix={WORK}/", *FLAGS]
    atheris.Setup([sys.argv[0], *flags, *sys.argv[1:], *map(str, directories)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
