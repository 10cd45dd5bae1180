"""Entries that are too large for a record, made smaller bit by bit."""

from __future__ import annotations

from dastream.activity.entry import Entry
from dastream.activity.log_rows import CUT

__all__ = ["shorten"]


def shorten(entry: Entry) -> None:
    """Halve the longest member of an entry, and mark the cut."""
    values = sum(len(value or "") + 3 for value in entry.param_list)
    text, message = entry.command_text or "", entry.error_message or ""
    if values >= max(len(text), len(message)):
        entry.param_list = _half_of_values(entry.param_list)
    elif len(text) >= len(message):
        entry.command_text = _half(text)
    else:
        entry.error_message = _half(message)


def _half(text: str) -> str:
    text = text.removesuffix(CUT)
    return text[: len(text) // 2] + CUT


def _half_of_values(values: list[str | None]) -> list[str | None]:
    if len(values) == 1:
        return [_half(values[0] or "")]
    kept = values[:-1] if values[-1] == CUT else values
    return [*kept[: len(kept) // 2], CUT]
