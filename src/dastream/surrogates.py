r"""Lone surrogates in JSON: halves of characters such as `\ud83d`, which are no text.

The grammar of JSON has them (RFC 8259, section 8.2), engines that cut texts write them, and
msgspec refuses the whole document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["hide", "mend", "readings", "show"]

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def mend(json: bytes) -> bytes:
    """The same with U+FFFD for each lone surrogate, for reading texts."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], json)


def readings(json: bytes) -> Iterator[bytes]:
    """The JSON as it is, then mended: for a decoder that should not fail if it need not."""
    yield json
    yield mend(json)


def hide(json: bytes) -> bytes:
    r"""The same with 0xFF for the backslash of each lone surrogate, for passing bytes on.

    UTF-8 never has that byte, and msgspec does not look into values that it passes on raw.
    """
    return _ESCAPE.sub(lambda match: b"\xff" + match[1] if match[1] else match[0], json)


def show(json: bytes) -> bytes:
    """Undo `hide`."""
    return json.replace(b"\xff", b"\\")
