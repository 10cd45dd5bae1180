"""What Kinesis hands out to be handed back: sequence numbers, iterators, page tokens.

A *serial* is the place of a record among all that this Kinesis ever took: milliseconds since
1970, and a counter in the low `SERIAL_BITS`. It grows with every record whatever the clock does,
so it orders records, and tells when they arrived. A sequence number is a serial with the number
of its shard, in the 56 decimal digits that those of AWS have.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Literal

import msgspec

from dastream.local.kinesis.errors import (
    ExpiredIteratorError,
    ExpiredNextTokenError,
    InvalidArgumentError,
)

__all__ = [
    "TOKEN_AGE_MS_MAX",
    "arrival_ms",
    "open_token",
    "parse_sequence",
    "seal_token",
    "sequence_number",
    "serial_at",
]

TOKEN_AGE_MS_MAX = 300_000
"""Iterators and page tokens are good for five minutes (API reference, GetShardIterator)."""

SERIAL_BITS = 20

_PREFIX = 1 << 185  # 56 digits that begin with 49
_SERIAL_SHIFT = 96
_SHARD_MASK = (1 << 32) - 1
_DIGEST_BYTES = 8

Kind = Literal["ShardIterator", "NextToken"]

_EXPIRED = {"ShardIterator": ExpiredIteratorError, "NextToken": ExpiredNextTokenError}


def serial_at(time_ms: int) -> int:
    """The first serial of a millisecond."""
    return time_ms << SERIAL_BITS


def arrival_ms(serial: int) -> int:
    """When the record with this serial arrived."""
    return serial >> SERIAL_BITS


def sequence_number(serial: int, shard_number: int) -> str:
    """The sequence number of a record: increasing in its shard, and never the next number."""
    return str(_PREFIX | serial << _SERIAL_SHIFT | shard_number)


def parse_sequence(sequence: str) -> tuple[int, int]:
    """Serial and shard number. Raises ValueError if it is no sequence number of this Kinesis."""
    number = int(sequence) ^ _PREFIX
    serial, shard_number = number >> _SERIAL_SHIFT, number & _SHARD_MASK
    if sequence_number(serial, shard_number) != sequence:
        raise ValueError("not a sequence number")
    return serial, shard_number


def seal_token(kind: Kind, now_ms: int, *values: Any) -> str:
    """A text that only `open_token` understands."""
    body = msgspec.msgpack.encode((kind, now_ms, *values))
    return base64.b64encode(_digest(body) + body).decode()


def open_token(kind: Kind, now_ms: int, token: str) -> list[Any]:
    """The values that were sealed.

    Raises InvalidArgumentError for anything else, ExpiredIteratorError or ExpiredNextTokenError
    after five minutes.
    """
    try:
        raw = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    body = raw[_DIGEST_BYTES:]
    if not body or raw != _digest(body) + body:
        raise InvalidArgumentError(f"Invalid {kind}.")
    values: list[Any]
    sealed, made_ms, *values = msgspec.msgpack.decode(body)
    if sealed != kind:
        raise InvalidArgumentError(f"Invalid {kind}.")
    if now_ms - made_ms > TOKEN_AGE_MS_MAX:
        raise _EXPIRED[kind](f"{kind} expired: it is older than {TOKEN_AGE_MS_MAX} milliseconds.")
    return values


def _digest(body: bytes) -> bytes:
    """Not against forgers, who could just as well read the stream: against mistakes."""
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES, person=b"dastream-token").digest()
