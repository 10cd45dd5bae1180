"""JSON lines in gzip, and the receipt that each object carries.

The receipt is a JSON object in an extra field of the gzip header (RFC 1952, section 2.3.1.1), so it
stays with the object wherever it is copied, every gunzip ignores it, and the first bytes of an
object are enough to read it. Same batch, same bytes: the header has no time stamp.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dastream.record import DeadSpan

try:
    from zlib_ng import zlib_ng as zlib  # an extra
except ModuleNotFoundError:
    import zlib  # type: ignore[no-redef]

__all__ = ["RECEIPT_BYTES_MAX", "Receipt", "pack", "receipt"]

RECEIPT_BYTES_MAX = 16 * 1024
"""No receipt is longer; a sink counts drops by a handful of names."""

LEVEL = 3 if zlib.__name__.startswith("zlib_ng") else 4
"""Of either library the level that takes half of what zlib's usual level does, or less, for a
tenth more bytes (docs/running.md)."""

_HEADER = bytes([0x1F, 0x8B, 8, 0x04, 0, 0, 0, 0, 0, 255])
"""Magic, deflate, FEXTRA, no time, no hints, unknown system. DuckDB refuses a comment field."""

_SUBFIELD = b"da"
"""Our subfield of the extra field."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an object holds: the range it covers, counts, and which records it was made from.

    `dead_spans` tells which of those became dead letters.
    """

    start: str
    through: str
    records: int
    digest: str
    events: int
    dropped: dict[str, int]
    dead_letters: int
    dead_spans: tuple[DeadSpan, ...] = ()


def pack(texts: Iterable[bytes], receipt: Receipt) -> bytes:
    """Texts of whole lines as one gzip member with its receipt."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [_HEADER, _extra(msgspec.json.encode(receipt))]
    checksum = size = 0
    for text in texts:
        parts.append(deflate.compress(text))
        checksum = zlib.crc32(text, checksum)
        size += len(text)
    trailer = checksum.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")
    return b"".join((*parts, deflate.flush(), trailer))


def _extra(receipt: bytes) -> bytes:
    """The extra field with one subfield: each is preceded by its length."""
    subfield = _SUBFIELD + len(receipt).to_bytes(2, "little") + receipt
    return len(subfield).to_bytes(2, "little") + subfield


def receipt(start_of_object: bytes) -> Receipt | None:
    """The receipt in the first bytes of an object, None if it carries none."""
    start = len(_HEADER) + len(_extra(b""))
    length = int.from_bytes(start_of_object[start - 2 : start], "little")
    text = start_of_object[start : start + length]
    if (
        not start_of_object.startswith(_HEADER)
        or start_of_object[start - 4 : start - 2] != _SUBFIELD
    ):
        return None
    try:
        return msgspec.json.decode(text, type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
