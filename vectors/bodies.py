"""Bodies that are wrong."""

from __future__ import annotations

from collections.abc import Iterator

from vectors.case import TEXT, Case, refused
from vectors.writer import Frame, Message

__all__ = ["bodies"]


def bodies() -> Iterator[Case]:
    """Frames and blocks."""
    size, last = 64, TEXT[64:128]
    head = [Frame(1, TEXT[:64])]
    rest = [Frame(2, last), Frame(3, TEXT[128:], is_final=True)]
    for name, why, frames in (
        ("none", "no frame", []),
        ("final-missing", "no final frame", [*head, rest[0]]),
        ("missing", "a frame is missing", [*head, rest[1]]),
        ("first-missing", "the first frame is missing", rest),
        ("repeats", "a frame twice", [*head, *head, *rest]),
        ("swapped", "two frames swapped", [rest[0], *head, rest[1]]),
        (
            "number-0",
            "numbers begin with 1",
            [Frame(0, TEXT[:64]), Frame(1, TEXT[64:128], is_final=True)],
        ),
        ("final-twice", "a second final frame", [*head, *rest, rest[1]]),
        (
            "final-number",
            "the final frame has the number of the one before",
            [*head, Frame(1, last, is_final=True)],
        ),
        ("final-too-long", "longer than the frame length", [Frame(1, TEXT[:65], is_final=True)]),
        (
            "final-length-low",
            "it says one byte less",
            [Frame(1, TEXT[:9], is_final=True, length=8)],
        ),
        (
            "final-length-high",
            "it says one byte more",
            [Frame(1, TEXT[:9], is_final=True, length=10)],
        ),
        (
            "final-length-huge",
            "it says 4 GiB",
            [Frame(1, TEXT[:9], is_final=True, length=0xFFFFFFFF)],
        ),
        (
            "short",
            "a regular frame of less than the frame length",
            [Frame(1, TEXT[:63]), Frame(2, b"", is_final=True)],
        ),
    ):
        yield refused(f"frame-{name}", why, Message(frame_bytes=size, frames=frames))
    framed = Message(plaintext=TEXT, frame_bytes=size).write()
    frame = 4 + 12 + size + 16
    for name, why, byte in (
        ("number-altered", "a bit of the number of frame 1", 3),
        ("iv-altered", "a bit of the IV of frame 1", 4),
        ("text-altered", "a bit of frame 1", 16),
        ("tag-altered", "a bit of the tag of frame 1", frame - 1),
        ("text-altered-late", "a bit of the final frame", -17),
        ("tag-altered-late", "the last bit of the message", -1),
    ):
        yield refused(f"frame-{name}", why, framed.flipped("body", byte))
    for suite in (0x0178, 0x0478):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        yield refused(f"frame-{suite:04x}-truncated", "the last byte is missing", sealed.bytes[:-1])
        yield refused(f"frame-{suite:04x}-longer", "a byte after the end", sealed.bytes + b"\0")
    first = Message(plaintext=TEXT).write()
    other = Message(plaintext=TEXT, message_id=bytes(16)).write()
    yield refused(
        "frame-of-another-message", "the body of another message", first._replace(body=other.body)
    )
    block = Message(plaintext=TEXT, frame_bytes=0).write()
    for name, why, byte in (
        ("iv-altered", "a bit of the IV", 0),
        ("length-altered", "a bit of the length", 19),
        ("text-altered", "a bit of the text", 20),
        ("tag-altered", "a bit of the tag", -1),
    ):
        yield refused(f"not-framed-{name}", why, block.flipped("body", byte))
    yield refused("not-framed-truncated", "the last byte is missing", block.bytes[:-1])
    yield refused("not-framed-longer", "a byte after the end", block.bytes + b"\0")
    yield refused(
        "not-framed-length-huge",
        "it says 2^64 - 1 bytes",
        Message(plaintext=TEXT, frame_bytes=0, body_length=(1 << 64) - 1),
    )
