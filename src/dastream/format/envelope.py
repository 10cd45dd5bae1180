"""The envelope: the outer JSON of a record.

Source: Aurora User Guide, "Monitoring database activity streams". On the wire
`databaseActivityEvents` is a base64 string, although the guide's examples show an object there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dastream.errors import NOT_JSON, EnvelopeError
from dastream.format.limits import Limits
from dastream.format.members import NOTHING, Others, check_utf8, last_name
from dastream.format.primitives import primitives

__all__ = ["Envelope", "parse"]

KEY_BYTES_MAX = 6144
"""The longest ciphertext that KMS takes (KMS API reference, Decrypt, CiphertextBlob)."""

_TYPE = "DatabaseActivityMonitoringRecords"


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """`message` and `key` are decoded from base64; `more` holds unknown members as raw JSON."""

    version: str
    message: bytes
    key: bytes
    more: Mapping[str, msgspec.Raw]


class _Members(msgspec.Struct):
    type: str
    version: str
    databaseActivityEvents: str  # noqa: N815 - spelled as on the wire
    key: str


class _OnlyMembers(_Members, forbid_unknown_fields=True):
    """The same, if there is nothing else: then nothing is left unread."""


_decode = msgspec.json.Decoder(_Members).decode
_decode_only = msgspec.json.Decoder(_OnlyMembers).decode
_others = Others(_Members)


def parse(data: bytes, limits: Limits = Limits()) -> Envelope:  # noqa: B008 - immutable
    """Take an envelope apart.

    Raises EnvelopeError if it is not the JSON object that activity streams publish.
    """
    if len(data) > limits.envelope_bytes_max:
        raise EnvelopeError(
            f"envelope: longer than {limits.envelope_bytes_max} bytes",
            hint="raise DASTREAM_ENVELOPE_BYTES_MAX if the record is known to be good",
        )
    more = NOTHING
    try:
        members: _Members = _decode_only(data)
    except NOT_JSON:  # or there is more in it than we know
        members, more = _read(data, limits)
    if members.type != _TYPE:
        raise EnvelopeError(
            "envelope: the type is not that of an activity stream",
            hint="check that the source is the stream aws-rds-das-…, not another one",
        )
    try:
        key = primitives.b64decode(members.key)
    except ValueError:
        raise EnvelopeError("envelope: key is not base64") from None
    try:
        message = primitives.b64decode(members.databaseActivityEvents)
    except ValueError:
        raise EnvelopeError("envelope: databaseActivityEvents is not base64") from None
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise EnvelopeError("envelope: the key has no length that kms writes")
    return Envelope(members.version, message, key, more)


def _read(data: bytes, limits: Limits) -> tuple[_Members, Mapping[str, msgspec.Raw]]:
    try:
        check_utf8(data)  # raw members are passed on unread
        more = _others(data, limits.more_bytes_max)
    except NOT_JSON:
        raise EnvelopeError("envelope: not a JSON object") from None
    if more is None:
        raise EnvelopeError(
            f"envelope: more than {limits.more_bytes_max} bytes of unknown members",
            hint="raise DASTREAM_MORE_BYTES_MAX if the record is known to be good",
        )
    try:
        return _decode(data), more
    except msgspec.ValidationError as error:
        raise EnvelopeError(f"envelope: {last_name(error)} is missing or not a string") from None
