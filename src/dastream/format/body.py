"""The body of an AWS Encryption SDK message: its frames, or its one block.

Source: the AWS Encryption SDK specification, data-format/message-body and message-body-aad.
A slice beyond the end of the bytes is short, so a length is compared with what is there before
anything is done with it.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dastream.errors import DecryptError
from dastream.format.header import Header
from dastream.format.suites import IV_BYTES, TAG_BYTES

__all__ = ["open_body"]

_FINAL_FRAME = b"\xff\xff\xff\xff"
_BLOCK_AAD = b"AWSKMSEncryptionClient Single Block"
_FRAME_AAD = b"AWSKMSEncryptionClient Frame"
_FINAL_FRAME_AAD = b"AWSKMSEncryptionClient Final Frame"


def open_body(message: bytes, header: Header, cipher: AESGCM) -> tuple[bytes, int]:
    """The plaintext of the body, and the offset where it ends; raises DecryptError."""
    if header.frame_bytes == 0:
        return _open_block(message, header, cipher)
    frames: list[bytes] = []
    offset = header.end
    while message[offset : offset + 4] != _FINAL_FRAME:
        frame, offset = _open_frame(message, header, cipher, offset, len(frames) + 1)
        frames.append(frame)
    frame, offset = _open_final_frame(message, header, cipher, offset + 4, len(frames) + 1)
    return (b"".join((*frames, frame)) if frames else frame), offset


def _open_block(message: bytes, header: Header, cipher: AESGCM) -> tuple[bytes, int]:
    length_at = header.end + IV_BYTES
    start = length_at + 8
    length = message[length_at:start]
    end = start + int.from_bytes(length) + TAG_BYTES
    aad = header.message_id + _BLOCK_AAD + b"\0\0\0\1" + length
    return _open(cipher, message[header.end : length_at], message[start:end], end - start, aad), end


def _open_frame(
    message: bytes, header: Header, cipher: AESGCM, offset: int, number: int
) -> tuple[bytes, int]:
    iv_at = offset + 4
    start = iv_at + IV_BYTES
    end = start + header.frame_bytes + TAG_BYTES
    numeral = number.to_bytes(4)
    if message[offset:iv_at] != numeral:
        raise _misplaced(message[offset:iv_at], number)
    aad = header.message_id + _FRAME_AAD + numeral + header.frame_bytes.to_bytes(8)
    return _open(cipher, message[iv_at:start], message[start:end], end - start, aad), end


def _open_final_frame(
    message: bytes, header: Header, cipher: AESGCM, offset: int, number: int
) -> tuple[bytes, int]:
    iv_at = offset + 4
    length_at = iv_at + IV_BYTES
    start = length_at + 4
    content_bytes = int.from_bytes(message[length_at:start])
    if content_bytes > header.frame_bytes:
        raise DecryptError("message body: the final frame is longer than a frame may be")
    end = start + content_bytes + TAG_BYTES
    numeral = number.to_bytes(4)
    if message[offset:iv_at] != numeral:
        raise _misplaced(message[offset:iv_at], number)
    aad = header.message_id + _FINAL_FRAME_AAD + numeral + content_bytes.to_bytes(8)
    return _open(cipher, message[iv_at:length_at], message[start:end], end - start, aad), end


def _misplaced(numeral: bytes, number: int) -> DecryptError:
    """Frames are numbered from 1."""
    found = int.from_bytes(numeral)
    return DecryptError(f"message body: frame {found} where {number} should be")


def _open(cipher: AESGCM, iv: bytes, sealed: bytes, sealed_bytes: int, aad: bytes) -> bytes:
    if len(sealed) != sealed_bytes:
        raise DecryptError(f"message body: ends {sealed_bytes - len(sealed)} bytes too early")
    try:
        return cipher.decrypt(iv, sealed, aad)
    except InvalidTag:
        raise DecryptError("message body: a frame's tag does not hold, it was altered") from None
