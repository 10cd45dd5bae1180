"""Bounds on what a record may make us do."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Reaching one is a DecodeError, and costs next to nothing.

    Two more bounds need no number here: an encryption context has at most 65535 bytes, since its
    length has 16 bits, and JSON nested deeper than Python's recursion limit (about 900 levels)
    is refused. How deep that is depends on who calls: an entry that is just below it when its
    payload is read may be beyond it when its columns are. It is delivered byte for byte, and its
    one misfit is `entry`. No engine nests more than a few levels, and counting costs too much.
    """

    envelope_bytes_max: int = 16 * 1024 * 1024
    """A Kinesis record has at most 10 MiB; nothing longer can be one."""

    more_bytes_max: int = 64 * 1024
    """Members of the envelope, or of the payload, that are not known: each event has them all."""

    encrypted_keys_max: int = 64
    """Encrypted data keys in a message; activity streams write one."""

    payload_bytes_max: int = 64 * 1024 * 1024
    """Decompressed size; a record of 1 MiB seldom holds more than 10 MiB."""

    values_max: int = 1_000_000
    """JSON values in a payload, by the commas that are in no text; they take some 50 bytes each."""

    entries_max: int = 100_000
    """Entries in a payload; one of 64 MiB holds about 70,000 of the usual size."""
