"""The delivered JSON line: our members first, then the entry's, byte for byte.

::

    {"eventId":…,"clusterId":…,"instanceId":…,"shardId":…,"sequenceNumber":…,"arrivalTime":…,
     "engine":…[,"more":…][,"renamed":true],<the entry's members as the engine wrote them>}

If an entry has a member with one of our names, or one called `entry`, the line says `renamed`,
and in it each of the entry's members with one of our names, or one that begins with `entry`, is
called `entry.NAME`. So every line turns back into the same entry. An entry that is no JSON
object becomes the one member `entry`. Line breaks, which JSON has only between tokens, are taken
out.

An entry is *plain* if nothing of that is needed: it begins with `{"`, has none of those names and
no line break.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, NoReturn

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON
from dastream.event import Event, Members, Origin
from dastream.record import iso_time

__all__ = ["Head", "Line", "PlainMembers", "parse", "refuse", "text", "texts", "write"]


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
    renamed: bool | msgspec.UnsetType = msgspec.UNSET
    """True if members of the entry had to be called `entry.NAME`; mostly absent."""


class Line(NamedTuple):
    """A line taken apart: our members, and the entry as the engine wrote it."""

    head: Head
    entry: bytes


_OURS = frozenset(Head.__struct_fields__)
_decode_head = msgspec.json.Decoder(Head).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*+)"(\s*:)?|[][{}]')
_START = b'{"eventId":'
_NEXT = b"\n" + _START
_RENAMED = b',"renamed":true,'


EVENTS_AT_ONCE = 256
"""A batch may have hundreds of thousands, whose lines would be as much again as its entries."""


class _Reserved:
    """The type of a member that must not be there: no value becomes one."""


def refuse(type: type, value: object) -> NoReturn:
    """The `dec_hook` of a decoder of `PlainMembers`."""
    raise ValueError(type, value)


PlainMembers = msgspec.defstruct(
    "PlainMembers",
    [(name, _Reserved, None) for name in (*Head.__struct_fields__, "entry")],
    bases=(Members,),
    frozen=True,
    gc=False,
)
"""`Members` of an entry in which no name has to be changed; others do not decode."""

_decode_plain = msgspec.json.Decoder(PlainMembers, dec_hook=refuse).decode


def write(event: Event) -> bytes:
    """The line of an event, without the line feed that ends it."""
    return text((event,))[:-1]


def texts(events: Iterable[Event]) -> Iterator[bytes]:
    """The lines of events, each with its line feed, some at a time."""
    rest = iter(events)
    while some := text(islice(rest, EVENTS_AT_ONCE)):
        yield some


def text(events: Iterable[Event]) -> bytes:
    """The lines of events, each with its line feed."""
    parts: list[bytes] = []
    origin: Origin | None = None
    head = head_and_comma = b""
    for event in events:
        if event.origin is not origin:  # the events of one record share one
            origin = event.origin
            head = _head(origin)
            head_and_comma = head + b","
        if event.plain is not None:
            parts += _NEXT, _encode(event.id), head_and_comma, event.entry[1:]
        else:
            parts += _NEXT, _encode(event.id), head, _members(event.entry)
    if not parts:
        return b""
    parts[0] = _START
    parts.append(b"\n")
    return b"".join(parts)


def _members(entry: bytes) -> bytes:
    """The entry's members as they follow ours, to the closing brace."""
    entry = _without_breaks(entry)
    if not entry.startswith(b"{"):
        return b',"entry":' + entry + b"}"
    if not _is_free_of_our_names(entry):
        return _RENAMED + _rename(entry, _kept_name)[1:]
    is_empty = entry[1:-1].strip() == b""
    return entry[1:] if is_empty else b"," + entry[1:]


def _is_free_of_our_names(entry: bytes) -> bool:
    try:
        surrogates.decode(_decode_plain, entry)
    except NOT_JSON:
        return False
    return True


def parse(line: bytes) -> Line:
    """Take a line apart. Raises ValueError if `write` did not make it."""
    try:
        return _parse(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        head, entry = _parse(surrogates.hide(line))
    if head.more is not msgspec.UNSET:
        head = msgspec.structs.replace(head, more=msgspec.Raw(surrogates.show(bytes(head.more))))
    return Line(head, surrogates.show(entry))


def _parse(line: bytes) -> Line:
    head = _decode_head(line)
    prefix = _encode(head)[:-1]
    if not line.startswith(prefix):
        raise ValueError("not a delivered line")
    rest = line[len(prefix) :]
    if head.renamed is True:
        return Line(head, _rename(b"{" + rest.removeprefix(b","), _old_name))
    if rest.startswith(b',"entry":'):
        return Line(head, rest[len(b',"entry":') : -1])
    return Line(head, b"{" + rest.removeprefix(b","))


def _head(origin: Origin) -> bytes:
    """What all lines of one origin have between their event id and the entry."""
    position = origin.position
    head = Head(
        "",
        origin.cluster_id,
        origin.instance_id,
        position.shard if position else None,
        position.sequence if position else None,
        None if origin.arrival_ms is None else iso_time(origin.arrival_ms),
        origin.engine.name,
        msgspec.UNSET if origin.more is None else msgspec.Raw(_without_breaks(origin.more)),
    )
    return _encode(head)[len(b'{"eventId":""') : -1]


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
