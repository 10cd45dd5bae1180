"""The dead-letter line: a record that cannot be delivered, as its original bytes."""

from __future__ import annotations

import binascii

import msgspec

from dastream.record import DeadLetter, iso_time

__all__ = ["DeadLetterLine", "write"]


class DeadLetterLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`error` is the name of the error's class, `reason` its message, `data` base64.

    The data is what Kinesis held: the envelope, still encrypted where it was one.
    """

    stream: str | None
    shard_id: str | None
    sequence_number: str | None
    arrival_time: str | None
    error: str
    reason: str
    data: str


def write(letter: DeadLetter) -> bytes:
    """The line of a dead letter, without the line feed that ends it."""
    record, error = letter
    position = record.position
    return msgspec.json.encode(
        DeadLetterLine(
            stream=position.stream if position else None,
            shard_id=position.shard if position else None,
            sequence_number=position.sequence if position else None,
            arrival_time=None if record.arrival_ms is None else iso_time(record.arrival_ms),
            error=type(error).__name__,
            reason=str(error),
            data=binascii.b2a_base64(record.data, newline=False).decode(),
        )
    )
