"""One input through one of the readers, and what must hold of it.

The first byte of an input says which reader; the rest is its own.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping

from vectors import outer
from vectors.writer import DATA_KEY

from dastream import line
from dastream.decode import Decoder
from dastream.errors import DecodeError
from dastream.event import Event, Members
from dastream.format.engines import ENGINES
from dastream.format.message import decrypt
from dastream.lake.reader import read_event
from dastream.record import Position, Record
from dastream.transforms import DEFAULT, apply
from fuzz.recipe import entry_of, message_of, sealed

__all__ = ["ENTRY", "LAYERS", "MESSAGE", "RECORD", "run"]

_VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "")


def _unwrap(key: bytes, context: Mapping[str, str]) -> bytes:
    del key, context
    return DATA_KEY


_decode = Decoder(_unwrap)


def run(data: bytes) -> str:
    """Read an input; the name of what came of it.

    Raises whatever a reader raises that it must not, and AssertionError where a result is wrong.
    """
    layer = LAYERS[data[0] % len(LAYERS)] if data else _record
    try:
        layer(data[1:])
    except DecodeError as error:
        return type(error).__name__
    return "read"


def _record(data: bytes) -> list[Event]:
    """The data of a record."""
    events = _decode(Record(data, Position("stream", "shard", "1"), 0))
    for event in events:
        _check(event)
    apply(DEFAULT, events, Counter())
    return events


def _message(data: bytes) -> None:
    """A message of any bytes."""
    decrypt(data, DATA_KEY)


def _sealed_message(data: bytes) -> None:
    """A message whose tags hold."""
    decrypt(message_of(data), DATA_KEY)


def _text(data: bytes) -> None:
    """The text of a message that opens: what should be gzip."""
    _record(outer.envelope(sealed(data)))


def _payload(data: bytes, version: str = "1.1") -> None:
    """The JSON in a message. Another parser finds the same entries in it."""
    events = _record(outer.envelope(sealed(outer.gzip(data)), version=version))
    with contextlib.suppress(RecursionError):
        entries = json.loads(data.decode())["databaseActivityEventList"]
        assert [json.loads(event.entry) for event in events] == entries


def _entry(data: bytes) -> None:
    """One entry of a payload, by every engine, under one of the versions."""
    version, entry = _VERSIONS[data[0] % len(_VERSIONS)] if data else "", data[1:]
    payload = outer.payload(["@"]).replace(b"@", entry)
    for engine in ENGINES.values():
        engine.columns(entry)
    _payload(payload, version)


def _odd_entry(data: bytes) -> None:
    """An entry that is JSON, after a byte for the version."""
    _entry(data[:1] + entry_of(data[1:]))


LAYERS: tuple[Callable[[bytes], object], ...] = (
    _record,
    _message,
    _sealed_message,
    _text,
    _payload,
    _entry,
    _odd_entry,
)
RECORD, MESSAGE, ENTRY = b"\0", b"\1", b"\5"
"""What an input for a layer begins with."""


def _check(event: Event) -> None:
    """An event has columns, whatever its entry is, and its line gives it back.

    What was learnt of an entry together with others is what it says by itself.
    """
    alone = Event(event.id, event.entry, event.origin)
    for name in Members.__struct_fields__:
        assert getattr(event.members, name) == getattr(alone.members, name)
    delivered = line.write(event)
    assert delivered == line.write(alone)
    assert b"\n" not in delivered
    assert b"\r" not in delivered
    again = read_event(delivered)
    assert (again.id, again.entry) == (event.id, event.entry.translate(None, b"\r\n"))
    assert again.columns == event.columns
