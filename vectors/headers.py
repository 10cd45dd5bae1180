"""Headers that are wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from vectors.case import TEXT, Case, good, refused
from vectors.writer import SUITES, Message, counted

__all__ = ["headers"]


def headers() -> Iterator[Case]:
    """Headers, then encryption contexts."""
    for suite in (0x0178, 0x0378, 0x0478, 0x0578):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        version = SUITES[suite].version
        at_id = 4 if version == 1 else 3
        yield refused(
            f"header-{suite:04x}-id-altered",
            "a bit of the message id",
            sealed.flipped("header", at_id),
        )
        yield refused(
            f"header-{suite:04x}-tag-altered", "a bit of the header's tag", sealed.flipped("tag")
        )
    yield refused("header-iv-altered", "a bit of the header's IV", Message().write().flipped("iv"))
    yield refused("header-empty", "a message of no bytes", b"")
    yield refused(
        "header-base64-twice", "base64 in base64", base64.b64encode(Message().write().bytes)
    )
    yield refused("header-too-short", "it ends in the header", Message().write().header[:40])
    yield refused("header-only", "it ends after the header", Message().write()._replace(body=b""))
    for name, why, fault in (
        ("version-0", "version 0", {"version": 0}),
        ("version-3", "version 3", {"version": 3}),
        (
            "version-2-suite-1",
            "a suite of version 1 in version 2",
            {"suite": 0x0478, "suite_id": 0x0178},
        ),
        ("version-1-suite-2", "a suite of version 2 in version 1", {"suite_id": 0x0478}),
        ("type-other", "another type than 0x80", {"type": 0x81}),
        ("suite-zero", "a suite that there is not", {"suite_id": 0}),
        ("suite-other", "the id of another suite of the same form", {"suite_id": 0x0114}),
        ("suite-reserved", "a suite that there is not", {"suite": 0x0478, "suite_id": 0x0678}),
        ("content-type-3", "neither framed nor not", {"content_type": 3}),
        (
            "content-type-framed",
            "not framed, and says that it is",
            {"frame_bytes": 0, "content_type": 2},
        ),
        ("content-type-not-framed", "framed, and says that it is not", {"content_type": 1}),
        ("reserved", "reserved bytes that are not zero", {"reserved": 1}),
        ("iv-length-0", "an IV length of 0", {"iv_bytes": 0}),
        ("iv-length-16", "an IV length of 16", {"iv_bytes": 16}),
        ("frame-length-0", "framed, with frames of no bytes", {"frame_length": 0}),
        (
            "frame-length-2147483648",
            "longer frames than the SDKs of Java and Python take",
            {"frame_length": 1 << 31},
        ),
        (
            "frame-length-4294967295",
            "the longest frames that can be written",
            {"suite": 0x0478, "frame_length": (1 << 32) - 1},
        ),
        (
            "frame-length-of-not-framed",
            "not framed, with a frame length",
            {"frame_bytes": 0, "frame_length": 9},
        ),
        (
            "commitment-other",
            "it commits to another key",
            {"suite": 0x0478, "commitment": bytes(32)},
        ),
        (
            "public-key-without-signature",
            "a public key and no signature",
            {"pairs": [(b"aws-crypto-public-key", b"AA==")]},
        ),
    ):
        yield refused(f"header-{name}", why, Message(plaintext=TEXT, **fault))
    commitment = Message(plaintext=TEXT, suite=0x0478).write()
    yield refused(
        "header-commitment-altered", "a bit of the commitment", commitment.flipped("header", -1)
    )
    yield from _contexts()


def _contexts() -> Iterator[Case]:
    pair = counted(b"a") + counted(b"1")
    one = (1).to_bytes(2) + pair
    for name, why, context in (
        ("repeats", "a name twice", (2).to_bytes(2) + pair + pair),
        ("longer", "a byte after the last pair", one + b"\0"),
        (
            "count-low",
            "more pairs than it says",
            (1).to_bytes(2) + pair + counted(b"b") + counted(b""),
        ),
        ("count-high", "fewer pairs than it says", (2).to_bytes(2) + pair),
        ("name-too-long", "a name beyond the end", (1).to_bytes(2) + b"\0\xffa"),
        ("half-a-count", "one byte", b"\0"),
        (
            "not-utf8",
            "a name that is not UTF-8",
            (1).to_bytes(2) + counted(b"\xff") + counted(b"1"),
        ),
    ):
        yield refused(f"context-{name}", why, Message(plaintext=TEXT, context=context))
    count, pairs = (2).to_bytes(2), (pair, counted(b"b") + counted(b"2"))
    yield good(
        "context-not-sorted",
        "the message key is bound to the pairs in their order, whatever order they stand in",
        Message(
            plaintext=TEXT,
            context=count + pairs[1] + pairs[0],
            wrapping_aad=count + pairs[0] + pairs[1],
        ),
    )
    yield good(
        "context-count-0",
        "a context without pairs is empty for the message key, although its count is written",
        Message(plaintext=TEXT, context=b"\0\0", wrapping_aad=b""),
    )
    sealed = Message(plaintext=TEXT, pairs=[(b"a", b"1")]).write()
    at = sealed.header.index(counted(b"1")) + 2
    yield refused("context-altered", "a bit of a value", sealed.flipped("header", at))
