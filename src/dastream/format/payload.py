"""The payload: gzip around the JSON that holds the entries.

Source: Aurora User Guide, "Monitoring database activity streams"; AWS's own consumers gunzip.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON, PayloadError
from dastream.event import Members
from dastream.format.limits import Limits
from dastream.format.primitives import Inflater, primitives
from dastream.line import PlainMembers, refuse

__all__ = ["Payload", "gunzip", "parse"]

_GZIP = zlib.MAX_WBITS | 16
_TYPE = "DatabaseActivityMonitoringRecord"

_PIECE_BYTES_MAX = 16 * 1024 * 1024

_starts_compact = methodcaller("startswith", b'{"')

_LAST_NAME = re.compile(r"(\w+)`")
"""Where msgspec names the member that an error is about."""


class Payload(NamedTuple):
    """`entries` are the JSON values of the list byte for byte; `more` holds unknown members.

    `plain_members` are the members of all entries, read together, if all of them are plain (see
    `dastream.line`), else None.
    """

    cluster_id: str | None
    instance_id: str | None
    entries: list[bytes]
    plain_members: Sequence[Members] | None
    more: Mapping[str, msgspec.Raw]


class _Members(msgspec.Struct):
    type: str
    databaseActivityEventList: list[msgspec.Raw]  # noqa: N815 - spelled as on the wire
    clusterId: str | None = None  # noqa: N815 - the same
    instanceId: str | None = None  # noqa: N815 - the same


class _OnlyMembers(_Members, forbid_unknown_fields=True):
    """The same, if there is nothing else."""


_decode = msgspec.json.Decoder(_Members).decode
_decode_only = msgspec.json.Decoder(_OnlyMembers).decode
_decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_plain_list: Any = list[PlainMembers]  # type: ignore[valid-type]
_PlainEntries: Any = msgspec.defstruct(
    "_PlainEntries", [("databaseActivityEventList", _plain_list)]
)
_decode_plain = msgspec.json.Decoder(_PlainEntries, dec_hook=refuse).decode


def gunzip(data: bytes, limits: Limits = Limits()) -> bytes:  # noqa: B008 - immutable
    """Decompress one gzip member. Raises PayloadError beyond the limit: nothing is cut off.

    What the gzip trailer says about the size is checked, and never believed.
    """
    inflate = primitives.decompressobj(_GZIP)
    try:
        pieces = _pieces(inflate, data, limits.payload_bytes_max)
    except primitives.inflate_error:
        raise PayloadError("payload: not gzip, or damaged") from None
    if not inflate.eof:
        raise PayloadError("payload: the gzip data ends too early")
    if inflate.unused_data:
        raise PayloadError("payload: bytes after the end of the gzip data")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _pieces(inflate: Inflater, data: bytes, bytes_max: int) -> list[bytes]:
    """The text in pieces, since zlib takes twice the memory of what it gives in one call."""
    pieces: list[bytes] = []
    left = bytes_max
    while not inflate.eof:
        piece = inflate.decompress(data, min(left + 1, _PIECE_BYTES_MAX))
        if not piece:
            break
        left -= len(piece)
        if left < 0:
            raise PayloadError(
                f"payload: more than {bytes_max} bytes decompressed",
                hint="raise DASTREAM_PAYLOAD_BYTES_MAX if the record is known to be good",
            )
        pieces.append(piece)
        data = inflate.unconsumed_tail
    return pieces


def parse(payload: bytes, limits: Limits = Limits()) -> Payload:  # noqa: B008 - immutable
    """Take the payload apart as far as the entries. Raises PayloadError for another shape."""
    _check_size(payload, limits.values_max)
    try:
        if not payload.isascii():
            payload.decode()  # raw values are passed on unread, so nothing else would look
        return _parse(payload, limits)
    except msgspec.ValidationError as error:
        *_, name = ["it", *_LAST_NAME.findall(str(error))]  # a number may be too large anywhere
        raise PayloadError(f"payload: {name} is missing or of another type") from None
    except NOT_JSON:
        raise PayloadError("payload: not the JSON of an activity stream") from None


def _parse(payload: bytes, limits: Limits) -> Payload:
    try:
        members, more = _read(payload, limits)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return _parse_with_lone_surrogates(payload, limits)
    entries = [bytes(raw) for raw in members.databaseActivityEventList]
    return Payload(
        members.clusterId or None,  # SQL Server leaves it blank
        members.instanceId or None,
        entries,
        _plain_members(payload, entries),
        more,
    )


def _parse_with_lone_surrogates(payload: bytes, limits: Limits) -> Payload:
    members, more = _read(surrogates.hide(payload), limits)
    return Payload(
        members.clusterId or None,
        members.instanceId or None,
        [surrogates.show(bytes(raw)) for raw in members.databaseActivityEventList],
        None,
        {name: msgspec.Raw(surrogates.show(bytes(raw))) for name, raw in more.items()},
    )


def _read(payload: bytes, limits: Limits) -> tuple[_Members, Mapping[str, msgspec.Raw]]:
    more: Mapping[str, msgspec.Raw] = {}
    try:
        members: _Members = _decode_only(payload)
    except msgspec.ValidationError:  # or there is more in it than we know
        members = _decode(payload)
        known = _Members.__struct_fields__
        more = {k: v for k, v in _decode_all(payload).items() if k not in known}
    if members.type != _TYPE:
        raise PayloadError("payload: the type is not that of an activity stream")
    if len(members.databaseActivityEventList) > limits.entries_max:
        raise PayloadError(
            f"payload: more than {limits.entries_max} entries",
            hint="raise DASTREAM_ENTRIES_MAX if the record is known to be good",
        )
    return members, more


def _plain_members(payload: bytes, entries: list[bytes]) -> Sequence[Members] | None:
    """The members of all entries in one pass, which is four times as fast as one by one."""
    if b"\n" in payload or b"\r" in payload:
        return None
    try:
        found: Sequence[Members] = _decode_plain(payload).databaseActivityEventList
    except NOT_JSON:
        return None
    is_compact = all(map(_starts_compact, entries))
    return found if is_compact else None


def _check_size(payload: bytes, values_max: int) -> None:
    """Values are bounded by the commas between them; few bytes have few."""
    if len(payload) > 2 * values_max and payload.count(b",") >= values_max:
        raise PayloadError(
            f"payload: more than {values_max} values",
            hint="raise DASTREAM_VALUES_MAX if the record is known to be good",
        )
