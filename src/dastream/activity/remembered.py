"""Functions of texts that come again and again, as those of prepared statements do."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

__all__ = ["TEXTS_MAX", "TEXT_CHARS_MAX", "remembered"]

TEXTS_MAX = 256
"""Texts for which a function's result is remembered."""

TEXT_CHARS_MAX = 4096
"""A longer text is not remembered: a statement may have any size."""

Result = TypeVar("Result")


def remembered(function: Callable[[str], Result]) -> Callable[[str], Result]:
    """The same function, which remembers its results for short texts."""
    recall = lru_cache(maxsize=TEXTS_MAX)(function)

    def call(text: str) -> Result:
        return recall(text) if len(text) <= TEXT_CHARS_MAX else function(text)

    return call
