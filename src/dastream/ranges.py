"""Rising numbers in a short form, as receipts and replays tell which records they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["numbers", "ranges"]

_RANGES = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", re.ASCII)


def ranges(numbers: Iterable[int]) -> str:
    """Rising numbers in a short form: `1-3,7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def numbers(ranges: str, most: int) -> set[int]:
    """The numbers that `ranges` stand for.

    Raises ValueError if they are none, or one is larger than `most`.
    """
    if not _RANGES.fullmatch(ranges):
        raise ValueError("no ranges of numbers")
    found: set[int] = set()
    for span in ranges.split(","):
        first, _, last = span.partition("-")
        if int(last or first) > most:
            raise ValueError("a number is too large")
        found.update(range(int(first), int(last or first) + 1))
    return found
