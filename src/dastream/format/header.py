"""The header of an AWS Encryption SDK message: grammar only, no keys.

Source: the AWS Encryption SDK specification, data-format/message-header. Nothing here is trusted
before the header's tag has been checked.

A slice beyond the end of the bytes is short, and offsets only grow. So within bounds on their
number fields are taken unseen; the fixed fields that follow them tell if the bytes ran out.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import NoReturn

import msgspec

from dastream.errors import DecryptError
from dastream.format.limits import Limits
from dastream.format.suites import IV_BYTES, SUITES, TAG_BYTES, Suite

__all__ = ["EncryptedKey", "Header", "parse"]

_TYPE_CUSTOMER_DATA = 0x80
_NON_FRAMED, _FRAMED = 1, 2
_FRAME_BYTES_MAX = 2**31 - 1
"""The specification's field has 32 bits; the official SDKs of Java and Python take 31."""

_SUITES_V1 = {id: suite for id, suite in SUITES.items() if suite.version == 1}
_SUITES_V2 = {id: suite for id, suite in SUITES.items() if suite.version == 2}

# Version, type, suite, message id, length of the encryption context.
_START_V1 = Struct(">BBH16sH")
_START_V2 = Struct(">BH32sH")
# Content type, reserved, IV length, frame length; then IV and tag.
_END_V1 = Struct(">BIBI12s16s")
# Content type, frame length, commitment; then the tag.
_END_V2 = Struct(">BI32s16s")


EncryptedKey = tuple[bytes, bytes, bytes]
"""One encrypted data key: provider (who wrapped it), info (how), and the wrapped bytes."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """`authenticated` is the header body, the bytes that the tag covers.

    `context` is the encryption context and `wrapping_aad` its serialised form, to which the
    message key is bound. `frame_bytes` is 0 for a body that is not framed, `commitment` is empty
    for suites without one. The body begins at the offset `end`.
    """

    suite: Suite
    message_id: bytes
    context: dict[bytes, bytes]
    wrapping_aad: bytes
    encrypted_keys: list[EncryptedKey]
    frame_bytes: int
    commitment: bytes
    authenticated: bytes
    iv: bytes
    tag: bytes
    end: int


def parse(message: bytes, limits: Limits = Limits()) -> Header:  # noqa: B008 - immutable
    """Take the header from the front of a message; raises DecryptError."""
    try:
        if message[0] == 1:
            return _parse_v1(message, limits)
        if message[0] == 2:
            return _parse_v2(message, limits)
    except (struct.error, IndexError):
        raise DecryptError("message header: ends too early") from None
    raise DecryptError(
        "message header: neither version 1 nor 2",
        hint="these bytes are no AWS Encryption SDK message",
    )


def _parse_v1(message: bytes, limits: Limits) -> Header:
    _, type, suite_id, message_id, context_bytes = _START_V1.unpack_from(message)
    if type != _TYPE_CUSTOMER_DATA:
        raise DecryptError("message header: unknown type")
    suite = _SUITES_V1.get(suite_id) or _refuse(suite_id, version=1)
    offset = _START_V1.size + context_bytes
    context, wrapping_aad = _context(message[_START_V1.size : offset])
    keys, offset = _encrypted_keys(message, offset, limits)
    content_type, reserved, iv_bytes, frame_bytes, iv, tag = _END_V1.unpack_from(message, offset)
    if reserved != 0:
        raise DecryptError("message header: reserved bytes are not zero")
    if iv_bytes != IV_BYTES:
        raise DecryptError("message header: the IV length is not that of the suite")
    if content_type != (_FRAMED if frame_bytes else _NON_FRAMED) or frame_bytes > _FRAME_BYTES_MAX:
        raise _misfit(frame_bytes)
    end = offset + _END_V1.size
    authenticated = message[: end - IV_BYTES - TAG_BYTES]
    return Header(
        suite,
        message_id,
        context,
        wrapping_aad,
        keys,
        frame_bytes,
        b"",
        authenticated,
        iv,
        tag,
        end,
    )


def _parse_v2(message: bytes, limits: Limits) -> Header:
    _, suite_id, message_id, context_bytes = _START_V2.unpack_from(message)
    suite = _SUITES_V2.get(suite_id) or _refuse(suite_id, version=2)
    offset = _START_V2.size + context_bytes
    context, wrapping_aad = _context(message[_START_V2.size : offset])
    keys, offset = _encrypted_keys(message, offset, limits)
    content_type, frame_bytes, commitment, tag = _END_V2.unpack_from(message, offset)
    if content_type != (_FRAMED if frame_bytes else _NON_FRAMED) or frame_bytes > _FRAME_BYTES_MAX:
        raise _misfit(frame_bytes)
    end = offset + _END_V2.size
    authenticated = message[: end - TAG_BYTES]
    iv = bytes(IV_BYTES)  # not stored
    return Header(
        suite,
        message_id,
        context,
        wrapping_aad,
        keys,
        frame_bytes,
        commitment,
        authenticated,
        iv,
        tag,
        end,
    )


def _misfit(frame_bytes: int) -> DecryptError:
    if frame_bytes > _FRAME_BYTES_MAX:
        return DecryptError(f"message header: frames of {frame_bytes} bytes")
    return DecryptError("message header: the content type is unknown or does not fit the frames")


def _refuse(suite_id: int, *, version: int) -> NoReturn:
    raise DecryptError(
        f"message header: unknown algorithm suite 0x{suite_id:04x} in version {version}"
    )


def _context(serialised: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The encryption context, and its form as the message key is bound to it: sorted, or empty."""
    if not serialised:
        return {}, b""
    context: dict[bytes, bytes] = {}
    offset = 2
    for _ in range(serialised[0] << 8 | serialised[1]):
        name, offset = _counted(serialised, offset)
        if name in context:
            raise DecryptError("encryption context: a name stands twice")
        context[name], offset = _counted(serialised, offset)
    if offset != len(serialised):
        raise DecryptError("encryption context: its length is not that of its pairs")
    if not serialised.isascii():
        _check_text(context)
    if len(context) > 1:
        return context, _serialise(context)
    return context, serialised if context else b""


def _check_text(context: dict[bytes, bytes]) -> None:
    try:
        for pair in context.items():
            for text in pair:
                text.decode()
    except UnicodeDecodeError:
        raise DecryptError("encryption context: not UTF-8") from None


def _serialise(context: dict[bytes, bytes]) -> bytes:
    texts = [text for pair in sorted(context.items()) for text in pair]
    return len(context).to_bytes(2) + b"".join([len(text).to_bytes(2) + text for text in texts])


def _encrypted_keys(message: bytes, offset: int, limits: Limits) -> tuple[list[EncryptedKey], int]:
    count = message[offset] << 8 | message[offset + 1]
    if not 0 < count <= limits.encrypted_keys_max:
        raise DecryptError(
            f"message header: {count} encrypted data keys",
            hint="raise DASTREAM_ENCRYPTED_KEYS_MAX if the record is known to be good",
        )
    offset += 2
    keys = []
    for _ in range(count):
        provider, offset = _counted(message, offset)
        info, offset = _counted(message, offset)
        ciphertext, offset = _counted(message, offset)
        keys.append((provider, info, ciphertext))
    return keys, offset


def _counted(data: bytes, offset: int) -> tuple[bytes, int]:
    """Bytes behind their length in 16 bits, and the offset where they end."""
    start = offset + 2
    end = start + (data[offset] << 8 | data[offset + 1])
    return data[start:end], end
