"""Writes AWS Encryption SDK messages, and messages that are wrong in one place.

Nothing is shared with the reader that is tested: this is written from the AWS Encryption SDK
specification (data-format/*, framework/algorithm-suites, framework/raw-aes-keyring). Whatever a
`Message` is told to be, its tags and its signature are those of what was written, so a reader
meets the fault and not a broken tag. All randomness follows from labels: same input, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = [
    "DATA_KEY",
    "SUITES",
    "Frame",
    "Message",
    "Written",
    "counted",
    "encrypted_key",
    "random_bytes",
]


def random_bytes(label: str, length: int) -> bytes:
    """Bytes that follow from a label."""
    return hashlib.shake_256(b"dastream vectors: " + label.encode()).digest(length)


DATA_KEY = random_bytes("data key", 32)

_SIGNING_NUMBER = int.from_bytes(random_bytes("signing key", 31))


class Suite(NamedTuple):
    """An algorithm suite as the specification has it."""

    version: int
    key_bytes: int
    hash: Any = None
    curve: Any = None
    is_committing: bool = False


SUITES: Mapping[int, Suite] = {
    0x0014: Suite(1, 16),
    0x0046: Suite(1, 24),
    0x0078: Suite(1, 32),
    0x0114: Suite(1, 16, hashes.SHA256()),
    0x0146: Suite(1, 24, hashes.SHA256()),
    0x0178: Suite(1, 32, hashes.SHA256()),
    0x0214: Suite(1, 16, hashes.SHA256(), ec.SECP256R1()),
    0x0346: Suite(1, 24, hashes.SHA384(), ec.SECP384R1()),
    0x0378: Suite(1, 32, hashes.SHA384(), ec.SECP384R1()),
    0x0478: Suite(2, 32, hashes.SHA512(), None, is_committing=True),
    0x0578: Suite(2, 32, hashes.SHA512(), ec.SECP384R1(), is_committing=True),
}


def counted(data: bytes, length_bytes: int = 2) -> bytes:
    """Data with its length before it."""
    return len(data).to_bytes(length_bytes) + data


def encrypted_key(
    plaintext: bytes,
    aad: bytes,
    *,
    provider: bytes = b"BC",
    name: bytes = b"DataKey",
    data_key: bytes = DATA_KEY,
    tag_bits: int = 128,
    iv: bytes = random_bytes("iv of the encrypted key", 12),
    info_end: bytes = b"",
    ciphertext_bytes: int | None = None,
) -> bytes:
    """One encrypted data key: `plaintext`, the message key, under a raw AES key."""
    info = name + tag_bits.to_bytes(4) + len(iv).to_bytes(4) + iv + info_end
    ciphertext = AESGCM(data_key).encrypt(iv, plaintext, aad)[:ciphertext_bytes]
    return counted(provider) + counted(info) + counted(ciphertext)


class Frame(NamedTuple):
    """A frame of the body. `iv` is by convention its number."""

    number: int
    plaintext: bytes
    is_final: bool = False
    iv: bytes | None = None
    length: int | None = None
    """What the final frame says its length is, if not the truth."""


class Written(NamedTuple):
    """A message in its parts; `bytes` puts them together."""

    header: bytes
    iv: bytes
    tag: bytes
    body: bytes
    footer: bytes

    @property
    def bytes(self) -> bytes:
        """The message."""
        return b"".join(self)

    def flipped(self, part: str, byte: int = 0) -> bytes:
        """The message with the lowest bit of one byte of a part the other way round."""
        data = bytearray(getattr(self, part))
        data[byte] ^= 1
        return self._replace(**{part: bytes(data)}).bytes


@dataclass(frozen=True, kw_only=True)
class Message:
    """An AWS Encryption SDK message; what is None follows from the rest, as it should.

    `pairs` are the encryption context without the public key. With `frame_bytes` 0 the body is
    not framed. `encrypted_keys` and `context` are written as they are.
    """

    plaintext: bytes = b""
    suite: int = 0x0178
    frame_bytes: int = 4096
    pairs: Sequence[tuple[bytes, bytes]] = ()
    version: int | None = None
    suite_id: int | None = None
    type: int = 0x80
    message_id: bytes | None = None
    public_key: bytes | None = None
    context: bytes | None = None
    wrapping_aad: bytes | None = None
    encrypted_keys: Sequence[bytes] | None = None
    encrypted_keys_count: int | None = None
    content_type: int | None = None
    reserved: int = 0
    iv_bytes: int = 12
    frame_length: int | None = None
    commitment: bytes | None = None
    header_iv: bytes = bytes(12)
    frames: Sequence[Frame] | None = None
    body_iv: bytes = (1).to_bytes(12)
    body_length: int | None = None
    signature: bytes | None = None
    signed_number: int = _SIGNING_NUMBER

    def write(self) -> Written:
        """Write it, with a header tag, body tags and a signature that hold."""
        header = self._header()
        cipher = AESGCM(self._content_key())
        tag = cipher.encrypt(self._header_iv, b"", header)
        iv = self.header_iv if self._suite.version == 1 else b""
        body = self._framed(cipher) if self.frame_bytes else self._unframed(cipher)
        return Written(header, iv, tag, body, self._footer(header + iv + tag + body))

    @property
    def _suite(self) -> Suite:
        return SUITES[self.suite]

    @property
    def _header_iv(self) -> bytes:
        return self.header_iv if self._suite.version == 1 else bytes(12)

    @property
    def id(self) -> bytes:
        """The message id."""
        length = 16 if self._suite.version == 1 else 32
        return random_bytes("message id", length) if self.message_id is None else self.message_id

    @property
    def message_key(self) -> bytes:
        """The key that is wrapped."""
        return random_bytes("message key", self._suite.key_bytes)

    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs."""
        return ec.derive_private_key(self.signed_number, self._suite.curve)

    def all_pairs(self) -> list[tuple[bytes, bytes]]:
        """The encryption context, sorted."""
        pairs = list(self.pairs)
        if self._suite.curve is not None:
            point = self.signing_key().public_key()
            encoded = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
            public_key = base64.b64encode(encoded) if self.public_key is None else self.public_key
            pairs.append((b"aws-crypto-public-key", public_key))
        return sorted(pairs)

    def _context(self) -> bytes:
        return _serialised(self.all_pairs()) if self.context is None else self.context

    def aad(self) -> bytes:
        """What the message key is bound to."""
        if self.wrapping_aad is not None:
            return self.wrapping_aad
        return self._context()

    def _header(self) -> bytes:
        suite = self._suite
        keys = self.encrypted_keys
        if keys is None:
            keys = [encrypted_key(self.message_key, self.aad())]
        count = len(keys) if self.encrypted_keys_count is None else self.encrypted_keys_count
        version = suite.version if self.version is None else self.version
        suite_id = self.suite if self.suite_id is None else self.suite_id
        content_type = self.content_type or (2 if self.frame_bytes else 1)
        frame_length = self.frame_bytes if self.frame_length is None else self.frame_length
        is_first = suite.version == 1
        return b"".join(
            (
                version.to_bytes(1),
                self.type.to_bytes(1) if is_first else b"",
                suite_id.to_bytes(2),
                self.id,
                counted(self._context()),
                count.to_bytes(2),
                *keys,
                content_type.to_bytes(1),
                self.reserved.to_bytes(4) + self.iv_bytes.to_bytes(1) if is_first else b"",
                frame_length.to_bytes(4),
                self._commitment() if suite.is_committing else b"",
            )
        )

    def _content_key(self) -> bytes:
        suite, suite_id = self._suite, self.suite.to_bytes(2)
        if suite.hash is None:
            return self.message_key
        if not suite.is_committing:
            derive = HKDF(suite.hash, suite.key_bytes, None, suite_id + self.id)
            return derive.derive(self.message_key)
        return self._derived(suite_id + b"DERIVEKEY")

    def _commitment(self) -> bytes:
        return self._derived(b"COMMITKEY") if self.commitment is None else self.commitment

    def _derived(self, info: bytes) -> bytes:
        return HKDF(self._suite.hash, 32, self.id, info).derive(self.message_key)

    def _framed(self, cipher: AESGCM) -> bytes:
        frames = self._split() if self.frames is None else self.frames
        return b"".join(self._frame(cipher, frame) for frame in frames)

    def _split(self) -> Iterable[Frame]:
        starts = range(0, max(len(self.plaintext), 1), self.frame_bytes)
        for number, start in enumerate(starts, start=1):
            text = self.plaintext[start : start + self.frame_bytes]
            yield Frame(number, text, is_final=number == len(starts))

    def _frame(self, cipher: AESGCM, frame: Frame) -> bytes:
        number = frame.number.to_bytes(4)
        iv = frame.number.to_bytes(12) if frame.iv is None else frame.iv
        text = b" Final Frame" if frame.is_final else b" Frame"
        sealed = cipher.encrypt(
            iv, frame.plaintext, self._body_aad(text, number, len(frame.plaintext))
        )
        if not frame.is_final:
            return number + iv + sealed
        length = len(frame.plaintext) if frame.length is None else frame.length
        return b"\xff\xff\xff\xff" + number + iv + length.to_bytes(4) + sealed

    def _unframed(self, cipher: AESGCM) -> bytes:
        aad = self._body_aad(b" Single Block", (1).to_bytes(4), len(self.plaintext))
        sealed = cipher.encrypt(self.body_iv, self.plaintext, aad)
        length = len(self.plaintext) if self.body_length is None else self.body_length
        return self.body_iv + length.to_bytes(8) + sealed

    def _body_aad(self, text: bytes, number: bytes, length: int) -> bytes:
        return self.id + b"AWSKMSEncryptionClient" + text + number + length.to_bytes(8)

    def _footer(self, message: bytes) -> bytes:
        suite = self._suite
        if self.signature is not None:
            return counted(self.signature)
        if suite.curve is None:
            return b""
        hash = suite.hash if suite.version == 1 else hashes.SHA384()
        algorithm = ec.ECDSA(hash, deterministic_signing=True)
        return counted(self.signing_key().sign(message, algorithm))


def _serialised(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    if not pairs:
        return b""
    return len(pairs).to_bytes(2) + b"".join(counted(n) + counted(v) for n, v in pairs)
