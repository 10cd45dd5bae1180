"""The payload: gzip around the JSON that holds the entries.

Source: Aurora User Guide, "Monitoring database activity streams"; AWS's own consumers gunzip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from dastream.errors import NOT_JSON, PayloadError
from dastream.surrogates import replace_lone

__all__ = ["PAYLOAD_BYTES_MAX", "Payload", "gunzip", "parse"]

PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Decompressed size; a record of 1 MiB seldom holds more than 10 MiB."""

_GZIP = zlib.MAX_WBITS | 16
_TYPE = "DatabaseActivityMonitoringRecord"
_MEMBERS = ("type", "clusterId", "instanceId", "databaseActivityEventList")


@dataclass(frozen=True, slots=True)
class Payload:
    """`entries` are the JSON values of the list byte for byte; `more` unknown members."""

    cluster_id: str | None
    instance_id: str | None
    entries: list[msgspec.Raw]
    more: dict[str, msgspec.Raw]


def gunzip(data: bytes, *, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
    """Decompress one gzip member. Raises PayloadError beyond `bytes_max`: nothing is cut off."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        payload = inflate.decompress(data, bytes_max + 1)
    except zlib.error:
        raise PayloadError("payload: not gzip, or damaged") from None
    if len(payload) > bytes_max:
        raise PayloadError(
            f"payload: more than {bytes_max} bytes decompressed",
            hint="raise DASTREAM_PAYLOAD_BYTES_MAX if the record is known to be good",
        )
    if not inflate.eof:
        raise PayloadError("payload: the gzip data ends too early")
    if inflate.unused_data:
        raise PayloadError("payload: bytes after the end of the gzip data")
    return payload


def parse(payload: bytes) -> Payload:
    """Take the payload apart as far as the entries. Raises PayloadError for another shape."""
    try:
        if not payload.isascii():
            payload.decode()  # raw members are passed on unread, so nothing else would look
        try:
            return _parse(payload)
        except msgspec.DecodeError:
            mended = replace_lone(payload)
            if mended == payload:
                raise
        parsed = _parse(mended)
    except NOT_JSON:
        raise PayloadError("payload: not the JSON of an activity stream") from None
    return replace(parsed, entries=list(_as_written(parsed.entries, mended, payload)))


def _parse(payload: bytes) -> Payload:
    try:
        members = _decode_members(payload)
        if _decode_text(members["type"]) != _TYPE:
            raise PayloadError("payload: the type is not that of an activity stream")
        entries = _decode_entries(members["databaseActivityEventList"])
        cluster_id, instance_id = _id(members, "clusterId"), _id(members, "instanceId")
    except KeyError as missing:
        raise PayloadError(f"payload: {missing.args[0]} is missing") from None
    more = {name: raw for name, raw in members.items() if name not in _MEMBERS}
    return Payload(cluster_id, instance_id, entries, more)


def _as_written(entries: list[msgspec.Raw], mended: bytes, payload: bytes) -> Iterator[msgspec.Raw]:
    """The entries as they stand in the payload, at the places that they have in the mended one."""
    whole = bytes(_decode_members(mended)["databaseActivityEventList"])
    if entries and mended.count(whole) > 1:
        raise PayloadError("payload: the same databaseActivityEventList stands there twice")
    end = mended.index(whole) + 1
    for entry in entries:
        # Only commas and white space lie between two entries, so this is where it begins.
        start = mended.index(entry, end)
        end = start + len(bytes(entry))
        yield msgspec.Raw(payload[start:end])


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_id = msgspec.json.Decoder(str | None).decode


def _id(members: dict[str, msgspec.Raw], name: str) -> str | None:
    """The resource id, None where the engine leaves it out or blank (SQL Server's clusterId)."""
    raw = members.get(name)
    return None if raw is None else _decode_id(raw) or None
