"""Which encrypted data key is ours, and keys that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from vectors import outer
from vectors.case import TEXT, Case, good, refused
from vectors.outer import KEY
from vectors.writer import Message, counted, encrypted_key

__all__ = ["encrypted_keys"]


def encrypted_keys() -> Iterator[Case]:
    """Encrypted data keys, then data keys."""
    key = Message().message_key
    right = encrypted_key(key, b"")
    others = [
        encrypted_key(key, b"", provider=b"aws-kms", name=b"arn:aws:kms:us-east-1:1:key/x"),
        encrypted_key(key, b"", name=b"DataKex"),
        encrypted_key(key, b"", data_key=bytes(32)),
        counted(b"BC") + counted(b"DataKey") + counted(b""),
    ]
    yield good(
        "encrypted-key-last",
        "ours is the fourth of four",
        Message(plaintext=TEXT, encrypted_keys=[*others[:2], others[3], right]),
    )
    yield good(
        "encrypted-key-of-another-first",
        "one of our name that our data key does not open, then ours",
        Message(plaintext=TEXT, encrypted_keys=[others[2], right]),
    )
    short = Message(suite=0x0114).message_key
    yield good(
        "encrypted-key-of-another-length-first",
        "one of our name that wraps 16 bytes where the suite has 32, then ours",
        Message(plaintext=TEXT, encrypted_keys=[encrypted_key(short, b""), right]),
    )
    for name, why, keys, more in (
        ("none", "no encrypted data key", [], {}),
        ("missing", "fewer than the count says", [right], {"encrypted_keys_count": 2}),
        ("not-ours", "none is ours", others, {}),
        (
            "provider-case",
            "the provider is BC, not bc",
            [encrypted_key(key, b"", provider=b"bc")],
            {},
        ),
        ("name-longer", "the name is DataKey", [encrypted_key(key, b"", name=b"DataKeys")], {}),
        ("info-longer", "a byte after the IV", [encrypted_key(key, b"", info_end=b"\0")], {}),
        (
            "tag-bits-bytes",
            "the tag's length is in bits",
            [encrypted_key(key, b"", tag_bits=16)],
            {},
        ),
        ("iv-16", "an IV of 16 bytes", [encrypted_key(key, b"", iv=bytes(16))], {}),
        (
            "truncated",
            "a ciphertext of 47 bytes",
            [encrypted_key(key, b"", ciphertext_bytes=47)],
            {},
        ),
        ("short", "a message key of 16 bytes for a suite of 32", [encrypted_key(short, b"")], {}),
        ("aad-other", "wrapped under another context", [encrypted_key(key, b"\0\0")], {}),
        (
            "aad-counted",
            "wrapped under the context with its length",
            [encrypted_key(key, b"\0\0\0\0")],
            {},
        ),
        ("many", "65,535 of them", [], {"encrypted_keys_count": 0xFFFF}),
    ):
        message = Message(plaintext=TEXT, encrypted_keys=keys, **more)
        yield refused(f"encrypted-key-{name}", why, message)
    sealed = Message(plaintext=TEXT).write().bytes
    record = outer.envelope(sealed)
    yield Case("data-key-unknown", "KMS refuses the envelope's key", "decrypt", record, (), {})
    other = {KEY: bytes(32)}
    yield Case("data-key-other", "the data key of another record", "decrypt", record, (), other)
