"""What a vector is, and the ways to make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vectors import outer
from vectors.outer import KEY
from vectors.writer import DATA_KEY, Message, Written

__all__ = ["ENTRY", "TEXT", "Case", "good", "read", "refused"]

ENTRY = """{"type":"record","command":"SELECT","commandText":"SELECT 'ü'"}"""
TEXT = outer.gzip(outer.payload([ENTRY]))


@dataclass(frozen=True)
class Case:
    """A record, and what becomes of it.

    `expect` is `success`, or where it fails: `envelope`, `decrypt`, `payload`. `events` are the
    ids and entries of a success. `data_keys` go from an envelope's key to what KMS gives back.
    """

    name: str
    why: str
    expect: str
    record: bytes
    events: Sequence[tuple[str, str]] = ()
    data_keys: Mapping[bytes, bytes] = field(default_factory=lambda: {KEY: DATA_KEY})


def good(name: str, why: str, message: Message, entries: Sequence[str] = (ENTRY,)) -> Case:
    """A message that opens, with the entries of its payload."""
    return read(name, why, outer.envelope(message.write().bytes), message, entries)


def read(
    name: str, why: str, record: bytes, message: Message, entries: Sequence[str] = (ENTRY,)
) -> Case:
    """A record that is read, with the entries of its payload."""
    id = message.id.hex()
    events = [(f"{id}-{index}", entry) for index, entry in enumerate(entries)]
    return Case(name, why, "success", record, events)


def refused(name: str, why: str, message: bytes | Message | Written) -> Case:
    """A message that does not open."""
    if isinstance(message, Message):
        message = message.write()
    data = message.bytes if isinstance(message, Written) else message
    return Case(name, why, "decrypt", outer.envelope(data))
