"""The header of an AWS Encryption SDK message: grammar only, no keys.

Source: the AWS Encryption SDK specification, data-format/message-header and
framework/algorithm-suites. Nothing here is trusted before the header's tag has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dastream.errors import DecryptError
from dastream.format.reader import Reader

__all__ = ["IV_BYTES", "SUITES", "TAG_BYTES", "EncryptedKey", "Header", "Suite", "parse"]

IV_BYTES = 12
TAG_BYTES = 16

ENCRYPTED_KEYS_MAX = 64
"""Encrypted data keys in a header; activity streams write one."""

_TYPE_CUSTOMER_DATA = 0x80
_CONTENT_FRAMED = 2


class Suite(NamedTuple):
    """An algorithm suite: all here use AES-256-GCM with HKDF, signatures are ECDSA P-384."""

    id: int
    version: int
    hash: str
    signed: bool
    committed: bool


SUITES: Mapping[int, Suite] = {
    suite.id: suite
    for suite in (
        Suite(0x0178, version=1, hash="sha256", signed=False, committed=False),
        Suite(0x0378, version=1, hash="sha384", signed=True, committed=False),
        Suite(0x0478, version=2, hash="sha512", signed=False, committed=True),
        Suite(0x0578, version=2, hash="sha512", signed=True, committed=True),
    )
}


class EncryptedKey(NamedTuple):
    """One encrypted data key: who wrapped it, how, and the wrapped bytes."""

    provider: bytes
    info: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """`authenticated` is the header body, the bytes that the tag covers.

    `context` is the encryption context; `commitment` is empty for suites without one.
    """

    suite: Suite
    message_id: bytes
    context: Mapping[bytes, bytes]
    encrypted_keys: tuple[EncryptedKey, ...]
    frame_bytes: int
    commitment: bytes
    authenticated: bytes
    iv: bytes
    tag: bytes

    @property
    def wrapping_aad(self) -> bytes:
        """The encryption context as the message key is bound to it: sorted, or empty."""
        if not self.context:
            return b""
        pairs = b"".join(_counted(k) + _counted(v) for k, v in sorted(self.context.items()))
        return len(self.context).to_bytes(2) + pairs


def parse(reader: Reader) -> Header:
    """Take the header from the front of a message; raises DecryptError."""
    version = reader.uint(1)
    if version == 1:
        return _parse_v1(reader)
    if version == 2:
        return _parse_v2(reader)
    raise DecryptError(
        "message header: neither version 1 nor 2",
        hint="these bytes are no AWS Encryption SDK message",
    )


def _parse_v1(reader: Reader) -> Header:
    if reader.uint(1) != _TYPE_CUSTOMER_DATA:
        raise DecryptError("message header: unknown type")
    suite = _suite(reader, version=1)
    message_id = reader.take(16)
    context, encrypted_keys = _context(reader), _encrypted_keys(reader)
    _expect_framed(reader)
    if reader.uint(4) != 0:
        raise DecryptError("message header: reserved bytes are not zero")
    if reader.uint(1) != IV_BYTES:
        raise DecryptError("message header: the IV length is not that of the suite")
    frame_bytes = _frame_bytes(reader)
    authenticated = reader.consumed()
    return Header(
        suite=suite,
        message_id=message_id,
        context=context,
        encrypted_keys=encrypted_keys,
        frame_bytes=frame_bytes,
        commitment=b"",
        authenticated=authenticated,
        iv=reader.take(IV_BYTES),
        tag=reader.take(TAG_BYTES),
    )


def _parse_v2(reader: Reader) -> Header:
    suite = _suite(reader, version=2)
    message_id = reader.take(32)
    context, encrypted_keys = _context(reader), _encrypted_keys(reader)
    _expect_framed(reader)
    frame_bytes = _frame_bytes(reader)
    commitment = reader.take(32)
    authenticated = reader.consumed()
    return Header(
        suite=suite,
        message_id=message_id,
        context=context,
        encrypted_keys=encrypted_keys,
        frame_bytes=frame_bytes,
        commitment=commitment,
        authenticated=authenticated,
        iv=bytes(IV_BYTES),
        tag=reader.take(TAG_BYTES),
    )


def _suite(reader: Reader, *, version: int) -> Suite:
    suite_id = reader.uint(2)
    suite = SUITES.get(suite_id)
    if suite is None or suite.version != version:
        raise DecryptError(
            f"message header: unknown algorithm suite 0x{suite_id:04x} in version {version}"
        )
    return suite


def _context(reader: Reader) -> dict[bytes, bytes]:
    serialised = reader.take(reader.uint(2))
    if not serialised:
        return {}
    pairs = Reader(serialised, "encryption context")
    context: dict[bytes, bytes] = {}
    for _ in range(pairs.uint(2)):
        name, value = _text(pairs), _text(pairs)
        if name in context:
            raise DecryptError("encryption context: a name stands twice")
        context[name] = value
    pairs.expect_end()
    return context


def _text(reader: Reader) -> bytes:
    text = reader.take(reader.uint(2))
    try:
        text.decode()
    except UnicodeDecodeError:
        raise DecryptError("encryption context: not UTF-8") from None
    return text


def _encrypted_keys(reader: Reader) -> tuple[EncryptedKey, ...]:
    count = reader.uint(2)
    if not 0 < count <= ENCRYPTED_KEYS_MAX:
        raise DecryptError(f"message header: {count} encrypted data keys")
    return tuple(
        EncryptedKey(*(reader.take(reader.uint(2)) for _ in range(3))) for _ in range(count)
    )


def _expect_framed(reader: Reader) -> None:
    if reader.uint(1) != _CONTENT_FRAMED:
        raise DecryptError("message header: the body is not framed")


def _frame_bytes(reader: Reader) -> int:
    frame_bytes = reader.uint(4)
    if frame_bytes == 0:
        raise DecryptError("message header: the frame length is 0")
    return frame_bytes


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text
