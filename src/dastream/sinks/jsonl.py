"""JSON lines in gzip, and the receipt that each object carries.

The receipt is a JSON object in the comment field of the gzip header (RFC 1952), so it stays
with the object wherever it is copied, every gunzip ignores it, and the first bytes of an object
are enough to read it. Same batch, same bytes: the header has no time stamp.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

__all__ = ["RECEIPT_BYTES_MAX", "Receipt", "pack", "receipt"]

RECEIPT_BYTES_MAX = 16 * 1024
"""No receipt is longer; a sink counts drops by a handful of names."""

_HEADER = bytes([0x1F, 0x8B, 8, 0x10, 0, 0, 0, 0, 0, 255])
"""Magic, deflate, FCOMMENT, no time, no hints, unknown system."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an object holds: the range it covers, counts, and which records it was made from."""

    start: str
    through: str
    records: int
    digest: str
    events: int
    dropped: dict[str, int]
    dead_letters: int


def pack(lines: Iterable[bytes], receipt: Receipt) -> bytes:
    """Lines without their line feeds, as one gzip member with its receipt."""
    comment = msgspec.json.encode(receipt)
    text = b"".join(line + b"\n" for line in lines)
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(text) + deflate.flush()
    trailer = zlib.crc32(text).to_bytes(4, "little") + (len(text) % 2**32).to_bytes(4, "little")
    return b"".join((_HEADER, comment, b"\0", body, trailer))


def receipt(start_of_object: bytes) -> Receipt | None:
    """The receipt in the first bytes of an object, None if it carries none."""
    comment, terminator, _ = start_of_object[len(_HEADER) :].partition(b"\0")
    if not start_of_object.startswith(_HEADER) or not terminator:
        return None
    try:
        return msgspec.json.decode(comment, type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
