"""The envelope: the outer JSON of a record.

Source: Aurora User Guide, "Monitoring database activity streams". On the wire
`databaseActivityEvents` is a base64 string, although the guide's examples show an object there.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from dastream.errors import NOT_JSON, EnvelopeError

__all__ = ["Envelope", "parse"]

ENVELOPE_BYTES_MAX = 16 * 1024 * 1024
"""A Kinesis record has at most 10 MiB; nothing longer can be one."""

KEY_BYTES_MAX = 6144
"""The longest ciphertext that KMS takes (KMS API reference, Decrypt, CiphertextBlob)."""

_TYPE = "DatabaseActivityMonitoringRecords"
_MEMBERS = ("type", "version", "databaseActivityEvents", "key")


@dataclass(frozen=True, slots=True)
class Envelope:
    """`message` and `key` are decoded from base64; `more` holds unknown members as raw JSON."""

    version: str
    message: bytes
    key: bytes
    more: dict[str, msgspec.Raw]


def parse(data: bytes) -> Envelope:
    """Take an envelope apart.

    Raises EnvelopeError if it is not the JSON object that activity streams publish.
    """
    if len(data) > ENVELOPE_BYTES_MAX:
        raise EnvelopeError(f"envelope: longer than {ENVELOPE_BYTES_MAX} bytes")
    members = _members(data)
    if _string(members, "type") != _TYPE:
        raise EnvelopeError(
            "envelope: the type is not that of an activity stream",
            hint="check that the source is the stream aws-rds-das-…, not another one",
        )
    key = _base64(members, "key")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise EnvelopeError("envelope: the key has no length that kms writes")
    return Envelope(
        version=_string(members, "version"),
        message=_base64(members, "databaseActivityEvents"),
        key=key,
        more={name: raw for name, raw in members.items() if name not in _MEMBERS},
    )


def _members(data: bytes) -> dict[str, msgspec.Raw]:
    try:
        data.decode()  # raw members are passed on unread, so nothing else would look
        return _decode(data)
    except NOT_JSON:
        raise EnvelopeError("envelope: not a JSON object") from None


_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _string(members: dict[str, Any], name: str) -> str:
    try:
        return _decode_string(members[name])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        raise EnvelopeError(f"envelope: {name} is missing or not a string") from None


_decode_string = msgspec.json.Decoder(str).decode


def _base64(members: dict[str, Any], name: str) -> bytes:
    try:
        return binascii.a2b_base64(_string(members, name), strict_mode=True)
    except ValueError:
        raise EnvelopeError(f"envelope: {name} is not base64") from None
