"""The AWS Encryption SDK message inside an envelope: bytes and a data key in, plaintext out.

Source: the AWS Encryption SDK specification (message-body, message-footer, algorithm-suites,
raw-aes-keyring, client-apis/decrypt). Why this is not the SDK: docs/adr/0001.

The data key that KMS gives back is not the key of the body. It opens the *message key* that the
header carries, and from that the suite derives the key of the header's tag and of the body.
Nothing of the plaintext leaves here before all tags, and the signature where there is one, hold.
"""

from __future__ import annotations

import hmac
from functools import cached_property

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dastream.errors import DecryptError
from dastream.format import body
from dastream.format import header as message_header
from dastream.format.header import Header
from dastream.format.limits import Limits
from dastream.format.primitives import Curve, primitives
from dastream.format.suites import IV_BYTES, TAG_BYTES

__all__ = ["DataKey", "Message", "decrypt", "open_message"]

DATA_KEY_BYTES = 32
_COMMITMENT_BYTES = 32

_INFO_AFTER_NAME = (8 * TAG_BYTES).to_bytes(4) + IV_BYTES.to_bytes(4)
"""What follows the key's name in the info of an encrypted data key, before the IV."""

_PUBLIC_KEY = b"aws-crypto-public-key"


class DataKey(bytes):
    """A data key that keeps its cipher beside it, for the many messages that it opens.

    They are let go together. Where AES has no key of that length, asking for the cipher is a
    ValueError.
    """

    @classmethod
    def of(cls, key: bytes) -> DataKey:
        """The key itself if it is one already."""
        return key if isinstance(key, cls) else cls(key)

    @cached_property
    def cipher(self) -> AESGCM:
        """AES-GCM by this key."""
        return AESGCM(bytes(self))  # a copy: it holds what it is given, which must not be a circle

    def __repr__(self) -> str:
        return "<DataKey>"


class Message(msgspec.Struct, frozen=True, gc=False):
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
    message: bytes,
    data_key: bytes,
    *,
    key_namespace: str = "BC",
    key_name: str = "DataKey",
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> Message:
    """Like `decrypt`, and tells the message id too."""
    header = message_header.parse(message, limits)
    if header.suite.curve is None and _PUBLIC_KEY in header.context:
        # A signature that the context announces cannot be taken away with the suite.
        raise DecryptError("message header: a public key in an unsigned message")
    message_key = _unwrap(header, data_key, key_namespace.encode(), key_name.encode())
    cipher = AESGCM(_content_key(header, message_key))
    _check_header(header, cipher)
    plaintext, end = body.open_body(message, header, cipher)
    if header.suite.curve is not None:
        end = _check_signature(message, end, header, header.suite.curve)
    if end != len(message):
        raise DecryptError(f"message: {len(message) - end} bytes after its end")
    return Message(header.message_id, plaintext)


def _unwrap(header: Header, data_key: bytes, namespace: bytes, name: bytes) -> bytes:
    """The message key. Source: raw AES keyring."""
    if len(data_key) != DATA_KEY_BYTES:
        raise DecryptError(f"data key: {len(data_key)} bytes instead of {DATA_KEY_BYTES}")
    cipher = DataKey.of(data_key).cipher
    expected = name + _INFO_AFTER_NAME
    is_named = False
    for provider, info, ciphertext in header.encrypted_keys:
        if provider != namespace or info[:-IV_BYTES] != expected:
            continue
        is_named = True
        if len(ciphertext) != header.suite.key_bytes + TAG_BYTES:
            continue
        try:
            return cipher.decrypt(info[-IV_BYTES:], ciphertext, header.wrapping_aad)
        except InvalidTag:
            continue
    if not is_named:
        raise DecryptError("message key: none is wrapped under the expected namespace and name")
    raise DecryptError(
        "message key: does not open under this data key",
        hint="the data key belongs to another record, or the record was altered",
    )


def _content_key(header: Header, message_key: bytes) -> bytes:
    suite, message_id = header.suite, header.message_id
    if suite.hkdf is None:
        return message_key
    derive = suite.hkdf.derive
    if not suite.committed:
        return derive(message_key, suite.id.to_bytes(2) + message_id, suite.key_bytes)
    commitment = derive(message_key, b"COMMITKEY", _COMMITMENT_BYTES, salt=message_id)
    if not hmac.compare_digest(commitment, header.commitment):
        raise DecryptError("message key: the header commits to another key")
    info = suite.id.to_bytes(2) + b"DERIVEKEY"
    return derive(message_key, info, suite.key_bytes, salt=message_id)


def _check_header(header: Header, cipher: AESGCM) -> None:
    try:
        cipher.decrypt(header.iv, header.tag, header.authenticated)
    except InvalidTag:
        raise DecryptError("message header: its tag does not hold, it was altered") from None


def _check_signature(message: bytes, footer: int, header: Header, curve: Curve) -> int:
    """The footer signs every byte before it with the key that the context names."""
    start = footer + 2
    end = start + int.from_bytes(message[footer:start])
    if end > len(message):
        raise DecryptError("message footer: ends too early")
    try:
        point = primitives.b64decode(header.context[_PUBLIC_KEY])
        holds = primitives.verify(curve, point, message[start:end], message[:footer])
    except (KeyError, ValueError):
        raise DecryptError("message header: no public key to check the signature by") from None
    if not holds:
        raise DecryptError("message footer: the signature does not hold")
    return end
