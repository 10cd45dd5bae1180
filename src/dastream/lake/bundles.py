"""Bundles: the letters of one object that are delivered together, and what names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from dastream.record import BatchName, Record, digest, utc_day

__all__ = ["Bundle", "Letter", "bundles", "numbers", "ranges"]

LETTERS_MAX = 1000
LETTER_BYTES_MAX = 16 * 1024 * 1024
"""Where bundles are cut tells their names, so with other bounds old deliveries are not found."""

_RANGES = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", re.ASCII)


class Letter(NamedTuple):
    """A record to be replayed, and the resource id of the cluster or instance it is of."""

    record: Record
    owner: str


class Bundle(NamedTuple):
    """Letters that follow one another in an object, of one owner and one UTC day of arrival.

    `digest` is over their positions and bytes, whether they decode or not.
    """

    owner: str
    day: str
    digest: str
    records: Sequence[Record]

    def name(self, number_of_pass: int) -> BatchName:
        """What names the letters of this bundle that a pass delivers; passes count from 1."""
        return BatchName(self.owner, self.day, "replay", f"{self.digest[:32]}-{number_of_pass}")


def bundles(letters: Iterable[Letter]) -> Iterator[Bundle]:
    """Cut the letters of an object where owner or day change, and at the bounds."""
    for (owner, day), group in groupby(letters, key=_owner_and_day):
        held: list[Record] = []
        size = 0
        for record, _ in group:
            if len(held) == LETTERS_MAX or size >= LETTER_BYTES_MAX:
                yield Bundle(owner, day, digest(held), held)
                held, size = [], 0
            held.append(record)
            size += len(record.data)
        yield Bundle(owner, day, digest(held), held)


def _owner_and_day(letter: Letter) -> tuple[str, str]:
    arrival_ms = letter.record.arrival_ms
    assert arrival_ms is not None, "a letter has an arrival time"
    return letter.owner, utc_day(arrival_ms)


def ranges(numbers: Iterable[int]) -> str:
    """Rising numbers in a short form: `1-3,7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def numbers(ranges: str) -> set[int]:
    """The numbers that `ranges` stand for. Raises ValueError if they are none."""
    if not _RANGES.fullmatch(ranges):
        raise ValueError("no ranges of numbers")
    found: set[int] = set()
    for span in ranges.split(","):
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
