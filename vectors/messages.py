"""Messages that open, in every form that the specification allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from vectors import writer
from vectors.case import TEXT, Case, good
from vectors.writer import SUITES, Frame, Message

__all__ = ["messages"]

P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)


def messages() -> Iterator[Case]:
    """Messages that open."""
    for suite in SUITES:
        yield good(f"suite-{suite:04x}", "framed, one frame", Message(plaintext=TEXT, suite=suite))
        yield good(
            f"suite-{suite:04x}-not-framed",
            "one block without frames",
            Message(plaintext=TEXT, suite=suite, frame_bytes=0),
        )
    for frame_bytes in (1, 16, 100, len(TEXT) - 1, len(TEXT), 1 << 20, (1 << 31) - 1):
        yield good(
            f"frame-length-{frame_bytes}",
            f"frames of {frame_bytes} bytes",
            Message(plaintext=TEXT, frame_bytes=frame_bytes),
        )
    size = len(TEXT)
    yield good(
        "frame-final-empty",
        "all text is in regular frames, the final one is empty",
        Message(
            plaintext=TEXT,
            frame_bytes=size,
            frames=[Frame(1, TEXT), Frame(2, b"", is_final=True)],
        ),
    )
    yield good(
        "frame-iv-random",
        "IVs that are not the frame's number",
        Message(
            plaintext=TEXT,
            frame_bytes=size - 5,
            frames=[
                Frame(1, TEXT[:-5], iv=writer.random_bytes("iv 1", 12)),
                Frame(2, TEXT[-5:], is_final=True, iv=writer.random_bytes("iv 2", 12)),
            ],
        ),
    )
    yield good(
        "not-framed-iv-random",
        "an IV that is not 1",
        Message(plaintext=TEXT, frame_bytes=0, body_iv=writer.random_bytes("iv", 12)),
    )
    yield good(
        "header-iv-random",
        "a header IV that is not zero",
        Message(plaintext=TEXT, header_iv=writer.random_bytes("header iv", 12)),
    )
    pairs = [(b"b", b"2"), (b"a", b"1"), ("ü".encode(), "ß".encode()), (b"", b"")]
    for suite in (0x0178, 0x0378, 0x0578):
        yield good(
            f"context-{suite:04x}",
            "an encryption context, with an empty name and an empty value",
            Message(plaintext=TEXT, suite=suite, pairs=pairs),
        )
    signed = Message(plaintext=TEXT, suite=0x0378)
    numbers = (n for n in count(1) if len(_signature(replace(signed, signed_number=n))) < 102)
    yield good(
        "signature-short",
        "DER integers have the length that they need",
        replace(signed, signed_number=next(numbers)),
    )
    r, s = decode_dss_signature(_signature(signed))
    yield good(
        "signature-high-s",
        "s and its negative are both right",
        replace(signed, signature=encode_dss_signature(r, P384_ORDER - s)),
    )


def _signature(message: Message) -> bytes:
    return message.write().footer[2:]
