"""The AWS Encryption SDK message inside an envelope: bytes and a data key in, plaintext out.

Source: the AWS Encryption SDK specification (message-body, message-footer, algorithm-suites,
raw-aes-keyring, client-apis/decrypt). Why this is not the SDK: docs/adr/0001.

The data key that KMS gives back is not the key of the body. It opens the *message key* that the
header carries, and from that the suite derives the key of the header's tag and of the body.
Nothing of the plaintext leaves here before all tags, and the signature where there is one, hold.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dastream.errors import DecryptError
from dastream.format import header as message_header
from dastream.format.header import IV_BYTES, TAG_BYTES, EncryptedKey, Header
from dastream.format.reader import Reader

__all__ = ["Message", "decrypt", "open_message"]

KEY_BYTES = 32
COMPRESSED_POINT_BYTES = 49  # of P-384 (SEC 1, section 2.3.3)

_FINAL_FRAME = 0xFFFFFFFF
_FRAME_AAD = b"AWSKMSEncryptionClient Frame"
_FINAL_FRAME_AAD = b"AWSKMSEncryptionClient Final Frame"
_PUBLIC_KEY = b"aws-crypto-public-key"


class Message(NamedTuple):
    """An opened message: its id, from the authenticated header, and its plaintext."""

    id: bytes
    plaintext: bytes


def decrypt(
    message: bytes, data_key: bytes, *, key_namespace: str = "BC", key_name: str = "DataKey"
) -> bytes:
    """The plaintext of `message`, whose message key is wrapped under the 32-byte `data_key`.

    Namespace and name tell which of the encrypted data keys is ours; the defaults are those of
    activity streams. Raises DecryptError if anything at all does not fit.
    """
    return open_message(message, data_key, key_namespace=key_namespace, key_name=key_name).plaintext


def open_message(
    message: bytes, data_key: bytes, *, key_namespace: str = "BC", key_name: str = "DataKey"
) -> Message:
    """Like `decrypt`, and tells the message id too."""
    reader = Reader(message, "message")
    header = message_header.parse(reader)
    if _PUBLIC_KEY in header.context and not header.suite.signed:
        # A signature that the context announces cannot be taken away with the suite.
        raise DecryptError("message header: a public key in an unsigned message")
    message_key = _unwrap(header, data_key, key_namespace.encode(), key_name.encode())
    cipher = AESGCM(_content_key(header, message_key))
    _check_header(header, cipher)
    plaintext = b"".join(_open_frames(reader, header, cipher))
    if header.suite.signed:
        _check_signature(reader, header)
    reader.expect_end()
    return Message(header.message_id, plaintext)


def _unwrap(header: Header, data_key: bytes, namespace: bytes, name: bytes) -> bytes:
    """The message key. Source: raw AES keyring; lengths in the info are 128 bits, 12 bytes."""
    if len(data_key) != KEY_BYTES:
        raise DecryptError(f"data key: {len(data_key)} bytes instead of {KEY_BYTES}")
    prefix = name + (8 * TAG_BYTES).to_bytes(4) + IV_BYTES.to_bytes(4)
    ours = [
        key
        for key in header.encrypted_keys
        if key.provider == namespace
        and key.info.startswith(prefix)
        and len(key.info) == len(prefix) + IV_BYTES
    ]
    if not ours:
        raise DecryptError("message key: none is wrapped under the expected namespace and name")
    wrapping = AESGCM(data_key)
    for key in ours:
        message_key = _try_unwrap(wrapping, key, header.wrapping_aad)
        if message_key is not None:
            return message_key
    raise DecryptError(
        "message key: does not open under this data key",
        hint="the data key belongs to another record, or the record was altered",
    )


def _try_unwrap(wrapping: AESGCM, key: EncryptedKey, aad: bytes) -> bytes | None:
    if len(key.ciphertext) != KEY_BYTES + TAG_BYTES:
        return None
    try:
        return wrapping.decrypt(key.info[-IV_BYTES:], key.ciphertext, aad)
    except InvalidTag:
        return None


def _content_key(header: Header, message_key: bytes) -> bytes:
    suite, message_id = header.suite, header.message_id
    suite_id = suite.id.to_bytes(2)
    if not suite.committed:
        return _hkdf(suite.hash, message_key, salt=b"", info=suite_id + message_id)
    commitment = _hkdf(suite.hash, message_key, salt=message_id, info=b"COMMITKEY")
    if not hmac.compare_digest(commitment, header.commitment):
        raise DecryptError("message key: the header commits to another key")
    return _hkdf(suite.hash, message_key, salt=message_id, info=suite_id + b"DERIVEKEY")


def _hkdf(hash: str, key: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF (RFC 5869). One block of any of the hashes covers the 32 bytes asked for."""
    pseudorandom_key = hmac.digest(salt, key, hash)
    return hmac.digest(pseudorandom_key, info + b"\x01", hash)[:KEY_BYTES]


def _check_header(header: Header, cipher: AESGCM) -> None:
    try:
        cipher.decrypt(header.iv, header.tag, header.authenticated)
    except InvalidTag:
        raise DecryptError("message header: its tag does not hold, it was altered") from None


def _open_frames(reader: Reader, header: Header, cipher: AESGCM) -> Iterator[bytes]:
    """The plaintext of each frame. Frames are numbered from 1; a marker announces the last."""
    expected = 1
    while (number := reader.uint(4)) != _FINAL_FRAME:
        _expect_number(number, expected)
        yield _open_frame(reader, header, cipher, expected, final=False)
        expected += 1
    _expect_number(reader.uint(4), expected)
    yield _open_frame(reader, header, cipher, expected, final=True)


def _expect_number(number: int, expected: int) -> None:
    if number != expected:
        raise DecryptError(f"message body: frame {number} where {expected} should be")


def _open_frame(
    reader: Reader, header: Header, cipher: AESGCM, number: int, *, final: bool
) -> bytes:
    iv = reader.take(IV_BYTES)
    length = reader.uint(4) if final else header.frame_bytes
    if length > header.frame_bytes:
        raise DecryptError("message body: the final frame is longer than a frame may be")
    sealed = reader.take(length + TAG_BYTES)
    text = _FINAL_FRAME_AAD if final else _FRAME_AAD
    aad = header.message_id + text + number.to_bytes(4) + length.to_bytes(8)
    try:
        return cipher.decrypt(iv, sealed, aad)
    except InvalidTag:
        raise DecryptError(
            f"message body: the tag of frame {number} does not hold, it was altered"
        ) from None


def _check_signature(reader: Reader, header: Header) -> None:
    """The footer signs every byte before it with the key that the context names."""
    signed = reader.consumed()
    signature = reader.take(reader.uint(2))
    try:
        _public_key(header).verify(signature, signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise DecryptError("message footer: the signature does not hold") from None


def _public_key(header: Header) -> ec.EllipticCurvePublicKey:
    try:
        point = binascii.a2b_base64(header.context[_PUBLIC_KEY], strict_mode=True)
        if len(point) != COMPRESSED_POINT_BYTES:
            raise ValueError("only compressed points are written")  # noqa: TRY301 - as the others
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    except (KeyError, ValueError, UnsupportedAlgorithm):
        raise DecryptError("message header: no public key to check the signature by") from None
