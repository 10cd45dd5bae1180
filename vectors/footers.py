"""Signatures and public keys that are wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vectors.case import TEXT, Case, refused
from vectors.writer import Message, counted

__all__ = ["footers"]


def footers() -> Iterator[Case]:
    """Signatures, then public keys."""
    for suite in (0x0214, 0x0346, 0x0378, 0x0578):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        yield refused(
            f"signature-{suite:04x}-altered", "a bit of the signature", sealed.flipped("footer", -1)
        )
        yield refused(f"signature-{suite:04x}-missing", "no footer", sealed._replace(footer=b""))
    signed = Message(plaintext=TEXT, suite=0x0378)
    sealed = signed.write()
    other = Message(plaintext=TEXT, suite=0x0378, signed_number=7).write()
    unsigned = Message(plaintext=TEXT).write()
    der = sealed.footer[2:]
    yield refused(
        "signature-of-another-key",
        "the signature of another key",
        sealed._replace(footer=other.footer),
    )
    yield refused(
        "signature-of-another-message",
        "the footer of a message with another id",
        sealed._replace(
            footer=Message(plaintext=TEXT, suite=0x0378, message_id=bytes(16)).write().footer
        ),
    )
    yield refused(
        "signature-on-unsigned",
        "a footer that the suite has not",
        unsigned._replace(footer=sealed.footer),
    )
    for name, why, signature in (
        ("empty", "a signature of no bytes", b""),
        ("longer", "a byte after the DER sequence", der + b"\0"),
        ("zero", "r and s are 0", bytes.fromhex("3006020100020100")),
        ("ber", "a length in more bytes than it needs", b"\x30\x81" + der[1:]),
        ("not-der", "r and s without DER", bytes(96)),
    ):
        yield refused(
            f"signature-{name}", why, Message(plaintext=TEXT, suite=0x0378, signature=signature)
        )
    yield refused("signature-and-more", "a byte after the footer", sealed.bytes + b"\0")
    point = signed.all_pairs()[-1][1]
    raw = base64.b64decode(point)
    for name, why, key in (
        ("missing", "no public key in the context", None),
        ("not-base64", "a public key that is not base64", b"*" + point[1:]),
        ("empty", "an empty public key", b""),
        ("not-on-curve", "a point that is on no curve", base64.b64encode(b"\2" + b"\xff" * 48)),
        ("short", "a point of 48 bytes", base64.b64encode(raw[:-1])),
        ("uncompressed", "a point with both coordinates", _uncompressed(signed)),
        ("infinity", "the point at infinity", base64.b64encode(b"\0")),
    ):
        context = b"" if key is None else _public_key_context(key)
        yield refused(
            f"public-key-{name}", why, Message(plaintext=TEXT, suite=0x0378, context=context)
        )


def _uncompressed(message: Message) -> bytes:
    public_key = message.signing_key().public_key()
    point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.b64encode(point)


def _public_key_context(key: bytes) -> bytes:
    return (1).to_bytes(2) + counted(b"aws-crypto-public-key") + counted(key)
