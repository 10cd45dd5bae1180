r"""Halves of a character in JSON: `"\ud83d"` without the other half after it.

A text that an engine cuts after so many UTF-16 units may end in one. JSON's grammar has it (RFC
8259, section 8.2), but no text can, and msgspec refuses all of the JSON for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from dastream.errors import NOT_JSON

__all__ = ["decode", "hide", "replace_lone", "show"]

T = TypeVar("T")

_HALVES = re.compile(
    rb"\\(?<!\\\\)(?P<backslashes>(?:\\\\)*+)"
    rb"(?:(?P<both>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""The escapes of both halves of a character, or of one alone; an even number of backslashes before
them stands for itself.

It begins with the first backslash of a row, for which a text is searched at the speed of memory.
"""


def decode(decoder: Callable[[bytes], T], json: bytes) -> T:
    """What a decoder of msgspec makes of JSON in which halves of a character are U+FFFD.

    Raises what the decoder raises, see `dastream.errors.NOT_JSON`.
    """
    try:
        return decoder(json)
    except NOT_JSON:
        mended = replace_lone(json)
        if mended == json:
            raise
    return decoder(mended)


def replace_lone(json: bytes) -> bytes:
    """The JSON, of the same length, with U+FFFD for each half of a character."""
    return _change_lone(json, lambda _: rb"\ufffd")


def hide(json: bytes) -> bytes:
    """The JSON with 0xFF for the backslash of each half of a character, to pass its bytes on.

    UTF-8 never has that byte, and msgspec does not look into the values that it passes on raw.
    """
    return _change_lone(json, lambda escape: b"\xff" + escape[1:])


def _change_lone(json: bytes, change: Callable[[bytes], bytes]) -> bytes:
    if b"\\ud" not in json and b"\\uD" not in json:
        return json

    def changed(found: re.Match[bytes]) -> bytes:
        if found["both"]:
            return found[0]
        before = found["backslashes"]
        return before + change(found[0][len(before) :])

    return _HALVES.sub(changed, json)


def show(json: bytes) -> bytes:
    """Undo `hide`."""
    return json.replace(b"\xff", b"\\")
