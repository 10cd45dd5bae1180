"""The payload: gzip around the JSON that holds the entries.

Source: Aurora User Guide, "Monitoring database activity streams"; AWS's own consumers gunzip.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON, PayloadError
from dastream.event import Members
from dastream.format.limits import Limits
from dastream.format.members import NOTHING, Others, check_utf8, last_name
from dastream.format.primitives import Inflater, primitives
from dastream.line import PlainMembers, refuse

__all__ = ["Payload", "gunzip", "parse"]

_GZIP = zlib.MAX_WBITS | 16
_TYPE = "DatabaseActivityMonitoringRecord"

_PIECE_BYTES_MAX = 16 * 1024 * 1024

_RATIO_MAX = 1032
"""Deflate makes 258 bytes of 2 bits at best (RFC 1951, section 3.2.5)."""

_RATIO_USUAL = 16
"""Entries come to 7 in tests; see docs/performance.md."""

_AT_ONCE_BYTES_MIN = 4 * 1024
"""Compressed; what is smaller is as fast in any way."""

_AT_ONCE_BYTES_MAX = 32 * 1024 * 1024
"""Decompressed, for which zlib takes twice the memory."""

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A text as JSON has it, or one without an end: at a quotation mark there is always one of them,
so that no byte is looked at twice."""

_LIST_BEGINS = b'"databaseActivityEventList":['
_LIST_ENDS = b"]}"
_COMPACT = frozenset([b'{"'])
_first_two = itemgetter(slice(2))

_ID_CHARS_MAX = 128
"""A resource id has `cluster-` or `db-` and 26 more; each event is delivered with both."""

_Id = Annotated[str, msgspec.Meta(max_length=_ID_CHARS_MAX)]


class Payload(msgspec.Struct, frozen=True, gc=False):
    """`entries` are the JSON values of the list byte for byte; `more` holds unknown members.

    `plain_members` are the members of all entries, read together, if all of them are plain (see
    `dastream.line`) and `more` is empty, else None.
    """

    cluster_id: str | None
    instance_id: str | None
    entries: list[bytes]
    plain_members: Sequence[Members] | None
    more: Mapping[str, msgspec.Raw]


class _Members(msgspec.Struct):
    type: str
    databaseActivityEventList: list[msgspec.Raw]  # noqa: N815 - spelled as on the wire
    clusterId: _Id | None = None  # noqa: N815 - the same
    instanceId: _Id | None = None  # noqa: N815 - the same


_plain_list: Any = list[PlainMembers]  # type: ignore[valid-type]
_Plain: Any = msgspec.defstruct(
    "_Plain",
    [("databaseActivityEventList", _plain_list)],
    bases=(_Members,),
    forbid_unknown_fields=True,
)
"""`_Members` and no others, with entries that are plain."""

_decode = msgspec.json.Decoder(_Members).decode
_others = Others(_Members)
_decode_plain = msgspec.json.Decoder(_Plain, dec_hook=refuse).decode


def gunzip(data: bytes, limits: Limits = Limits()) -> bytes:  # noqa: B008 - immutable
    """Decompress one gzip member. Raises PayloadError beyond the limit: nothing is cut off.

    What the gzip trailer says about the size is checked, and never believed.
    """
    bytes_max = limits.payload_bytes_max
    if _AT_ONCE_BYTES_MIN < len(data) <= min(bytes_max, _AT_ONCE_BYTES_MAX) // _RATIO_MAX:
        text = _at_once(data)
        if text is not None:
            return text
    inflate = primitives.decompressobj(_GZIP)
    try:
        pieces = _pieces(inflate, data, bytes_max)
    except primitives.inflate_error:
        raise PayloadError("payload: not gzip, or damaged") from None
    if not inflate.eof:
        raise PayloadError("payload: the gzip data ends too early")
    if inflate.unused_data:
        raise PayloadError("payload: bytes after the end of the gzip data")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _at_once(data: bytes) -> bytes | None:
    """The text where it cannot be too long, in one block; None if something is wrong with it.

    `flush` takes a size to begin with, which the trailer tells; without, blocks begin at 32 KiB.
    """
    inflate = primitives.decompressobj(_GZIP)
    size = min(int.from_bytes(data[-4:], "little"), _RATIO_USUAL * len(data))
    try:
        text = inflate.decompress(data, 1) + inflate.flush(size or 1)
    except primitives.inflate_error:
        return None
    return text if inflate.eof and not inflate.unused_data else None


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
    if len(payload) > 2 * limits.values_max:
        _check_size(payload, limits.values_max)
    try:
        check_utf8(payload)  # raw values are passed on unread
        return _parse_plain(payload, limits) or _parse_any(payload, limits)
    except msgspec.ValidationError as error:
        name = last_name(error)  # or `it`, since a number may be too large anywhere
        raise PayloadError(f"payload: {name} is missing, of another type or too long") from None
    except NOT_JSON:
        raise PayloadError("payload: not the JSON of an activity stream") from None


def _parse_any(payload: bytes, limits: Limits) -> Payload:
    try:
        members, more = _read(payload, limits)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return _parse_with_lone_surrogates(payload, limits)
    return Payload(
        members.clusterId or None,  # SQL Server leaves it blank
        members.instanceId or None,
        _entries(members),
        None,
        more,
    )


def _parse_plain(payload: bytes, limits: Limits) -> Payload | None:
    """What nearly all payloads are, read in one pass; None for any other."""
    if b"\n" in payload or b"\r" in payload:
        return None
    try:
        members = _decode_plain(payload)
    except NOT_JSON:
        return None
    found = members.databaseActivityEventList
    if members.type != _TYPE or len(found) > limits.entries_max:
        return None
    entries = _cut(payload, len(found))
    if entries is None:
        entries = _entries(_decode(payload))
        if not _are_compact(entries):
            return None
    return Payload(members.clusterId or None, members.instanceId or None, entries, found, NOTHING)


def _cut(payload: bytes, count: int) -> list[bytes] | None:
    """So many objects, cut at each closing brace; None if that is not where they end.

    If as many cuts as there are objects lead from the beginning of the list to its end, no text
    and no value in it has a closing brace, since that would have made one cut more.
    """
    at = payload.find(_LIST_BEGINS)
    end = at + len(_LIST_BEGINS) - 1
    entries: list[bytes] = []
    find, add = payload.find, entries.append
    for _ in range(count):
        start = end + 1  # beyond the comma
        end = find(b"}", start) + 1
        add(payload[start:end])
    is_whole = at > 0 and end == len(payload) - len(_LIST_ENDS)
    return entries if is_whole and _are_compact(entries) else None


def _are_compact(entries: list[bytes]) -> bool:
    return _COMPACT.issuperset(map(_first_two, entries))


def _entries(members: _Members) -> list[bytes]:
    return list(map(bytes, members.databaseActivityEventList))


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
    members: _Members = _decode(payload)
    if members.type != _TYPE:
        raise PayloadError("payload: the type is not that of an activity stream")
    if len(members.databaseActivityEventList) > limits.entries_max:
        raise PayloadError(
            f"payload: more than {limits.entries_max} entries",
            hint="raise DASTREAM_ENTRIES_MAX if the record is known to be good",
        )
    more = _others(payload, limits.more_bytes_max)
    if more is None:
        raise PayloadError(
            f"payload: more than {limits.more_bytes_max} bytes of unknown members",
            hint="raise DASTREAM_MORE_BYTES_MAX if the record is known to be good",
        )
    return members, more


def _check_size(payload: bytes, values_max: int) -> None:
    """Values are bounded by the commas between them; few bytes have few."""
    if payload.count(b",") >= values_max and _has_more_values(payload, values_max):
        raise PayloadError(
            f"payload: more than {values_max} values",
            hint="raise DASTREAM_VALUES_MAX if the record is known to be good",
        )


def _has_more_values(payload: bytes, values_max: int) -> bool:
    """The same without the commas in texts: a statement may have any number of them.

    Each text is a value or the name of one, so there is an end to the texts to be looked at, too.
    """
    commas = end = 0
    for texts, text in enumerate(_TEXT.finditer(payload)):
        commas += payload.count(b",", end, text.start())
        end = text.end()
        if commas >= values_max or texts > 2 * values_max:
            return True
    return commas + payload.count(b",", end) >= values_max
