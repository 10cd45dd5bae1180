"""The delivered JSON line: our members first, then the entry's, byte for byte.

::

    {"eventId":…,"clusterId":…,"instanceId":…,"shardId":…,"sequenceNumber":…,"arrivalTime":…,
     "engine":…[,"more":…],<the entry's members as the engine wrote them>}

A member of the entry with one of our names is kept as `entry.NAME`, and so is one whose name
begins with `entry`: every line turns back into the same entry. An entry that is no JSON object
becomes the one member `entry`. Line breaks, which JSON has only between tokens, are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from dastream import surrogates
from dastream.event import Event, Origin
from dastream.record import iso_time

__all__ = ["Head", "Line", "parse", "write", "write_all"]


class Head(msgspec.Struct, frozen=True):
    """Our members of a line. `arrivalTime` is ISO 8601, UTC, with milliseconds."""

    eventId: str  # noqa: N815 - spelled like the engines' members beside it
    """The event's id: the same on every path, and for a record that was sent twice."""
    clusterId: str | None = None  # noqa: N815 - the same
    """Resource id of the cluster, null for an instance that is not in one."""
    instanceId: str | None = None  # noqa: N815 - the same
    """Resource id of the instance."""
    shardId: str | None = None  # noqa: N815 - the same
    """The shard the record came from; null where the path does not know it."""
    sequenceNumber: str | None = None  # noqa: N815 - the same
    """The record's sequence number in its shard; null where the path does not know it."""
    arrivalTime: str | None = None  # noqa: N815 - the same
    """When Kinesis took the record, about: ISO 8601, UTC, milliseconds."""
    engine: str | None = None
    """The engine: `aurora-postgresql`, `aurora-mysql`, `oracle`, `sqlserver`, `postgresql`."""
    more: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Members of envelope and payload that dastream does not know, by layer; mostly absent."""


class Line(NamedTuple):
    """A line taken apart: our members, and the entry as the engine wrote it."""

    head: Head
    entry: bytes


_OURS = frozenset(Head.__struct_fields__)
_decode_head = msgspec.json.Decoder(Head).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

_COLLIDING = (b'"entry', b"\\u00", *(b'"%s"' % name.encode() for name in sorted(_OURS)))
"""What an entry holds if one of its members may have to be renamed; names may be escaped."""

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*+)"(\s*:)?|[][{}]')


def write(event: Event) -> bytes:
    """The line of an event, without the line feed that ends it."""
    return next(write_all((event,)))


def write_all(events: Iterable[Event]) -> Iterator[bytes]:
    """The lines of events. The events of one record share all of their head but the id."""
    origin: Origin | None = None
    head = b""
    for event in events:
        if event.origin is not origin:
            origin = event.origin
            head = _without_breaks(_encode(_head(origin)))[len(b'{"eventId":""') : -1]
        yield b'{"eventId":' + _encode(event.id) + head + _members(event.entry)


def _members(entry: bytes) -> bytes:
    """The entry's members as they follow ours, to the closing brace."""
    entry = _without_breaks(entry)
    if not entry.startswith(b"{"):
        return b',"entry":' + entry + b"}"
    for name in _COLLIDING:
        if name in entry:
            entry = _rename(entry, _kept_name)
            break
    is_empty = entry[1:-1].strip() == b""
    return entry[1:] if is_empty else b"," + entry[1:]


def parse(line: bytes) -> Line:
    """Take a line apart. Raises ValueError if `write` did not make it."""
    head = surrogates.decode(_decode_head, line)
    prefix = _encode(head)[:-1]
    if not line.startswith(prefix):
        raise ValueError("not a delivered line")
    rest = line[len(prefix) :]
    if rest.startswith(b',"entry":'):
        return Line(head, rest[len(b',"entry":') : -1])
    entry = b"{" + rest.removeprefix(b",")
    return Line(head, _rename(entry, _old_name) if b'"entry' in entry else entry)


def _head(origin: Origin) -> Head:
    position = origin.position
    return Head(
        eventId="",
        clusterId=origin.cluster_id,
        instanceId=origin.instance_id,
        shardId=position.shard if position else None,
        sequenceNumber=position.sequence if position else None,
        arrivalTime=None if origin.arrival_ms is None else iso_time(origin.arrival_ms),
        engine=origin.engine.name,
        more=msgspec.UNSET if origin.more is None else msgspec.Raw(origin.more),
    )


def _without_breaks(json: bytes) -> bytes:
    return json.translate(None, b"\r\n") if b"\n" in json or b"\r" in json else json


def _rename(entry: bytes, new_name: Callable[[bytes], bytes]) -> bytes:
    """Rename members of a JSON object in place, so that everything else keeps its bytes."""
    parts: list[bytes] = []
    depth = copied = 0
    for token in _TOKEN.finditer(entry):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and token[2]:
            parts += entry[copied : token.start(1)], new_name(token[1])
            copied = token.end(1)
    return b"".join((*parts, entry[copied:]))


def _kept_name(name: bytes) -> bytes:
    text = surrogates.decode(_decode_text, b'"' + name + b'"')
    return b"entry." + name if text in _OURS or text.startswith("entry") else name


def _old_name(name: bytes) -> bytes:
    return name.removeprefix(b"entry.")
