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
    arguments = sys.argv[1:]
    if not any(argument.startswith("-merge_inner") for argument in arguments):
        arguments = [*_flags(), *arguments, *map(str, _directories("-merge=1" in arguments))]
    # To merge, libFuzzer starts its program again through a shell.
    atheris.Setup([f"{sys.executable} -m fuzz", *arguments], run)
    atheris.Fuzz()


def _flags() -> list[str]:
    (WORK / "seeds").mkdir(parents=True, exist_ok=True)
    (WORK / "words.dict").write_text(words())
    return [f"-dict={WORK / 'words.dict'}", f"-artifact_prefix={WORK}/", *FLAGS]


def _directories(is_merge: bool) -> list[Path]:
    """Where inputs lie; the first one gets the new ones."""
    for data in seeds():
        (WORK / "seeds" / hashlib.sha1(data).hexdigest()).write_bytes(data)  # noqa: S324 - a name
    found, corpus = WORK / "found", HERE / "corpus"
    for directory in (found, corpus):
        directory.mkdir(exist_ok=True)
    return [corpus, found, WORK / "seeds"] if is_merge else [found, corpus, WORK / "seeds"]


if __name__ == "__main__":
    main()
