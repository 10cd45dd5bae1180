"""A message from any bytes: with its tags and its signature as they should be.

A fuzzer never finds a tag that holds, so it would not get past the header. Here its bytes say
what is written into a message, right or wrong, and the message is sealed after that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from vectors.writer import SUITES, Frame, Message, encrypted_key

from dastream.format.engines import TABLES
from dastream.line import Head

__all__ = ["entry_of", "message_of", "sealed"]

_SUITES = tuple(SUITES)


class _Choices:
    """Reads choices off the front of bytes; when there are none left, all are 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def bytes(self, length: int) -> bytes:
        taken, self._data = self._data[:length], self._data[length:]
        return taken.ljust(length, b"\0")

    def number(self, length: int = 1) -> int:
        return int.from_bytes(self.bytes(length))

    def counted(self) -> bytes:
        return self.bytes(self.number() % 32)

    def rest(self) -> bytes:
        return self._data


def sealed(plaintext: bytes, suite: int = 0x0178) -> bytes:
    """A message that opens."""
    return Message(plaintext=plaintext, suite=suite).write().bytes


def entry_of(data: bytes) -> bytes:
    """An entry as the bytes say: JSON always, with known names and unlikely values."""
    return _object(_Choices(data), depth_max=3)


def _object(choices: _Choices, depth_max: int) -> bytes:
    members = [
        _string(choices, _NAMES) + b":" + _value(choices, depth_max)
        for _ in range(choices.number() % 12)
    ]
    return b"{" + _space(choices) + b",".join(members) + b"}"


def _value(choices: _Choices, depth_max: int) -> bytes:
    kind = choices.number() % 8
    if kind == 0 and depth_max:
        return _object(choices, depth_max - 1)
    if kind == 1 and depth_max:
        items = [_value(choices, depth_max - 1) for _ in range(choices.number() % 4)]
        return b"[" + b",".join(items) + _space(choices) + b"]"
    if kind == 2:
        return str(choices.number(9) - (1 << 63)).encode()
    if kind == 3:
        return _OTHERS[choices.number() % len(_OTHERS)]
    return _string(choices, _TEXTS)


def _string(choices: _Choices, likely: Sequence[str]) -> bytes:
    index = choices.number() % (2 * len(likely))
    text = likely[index] if index < len(likely) else choices.counted().decode("utf-8", "replace")
    escaped = json.dumps(text, ensure_ascii=choices.number() % 2 == 0)
    return escaped.encode("utf-8", "backslashreplace")


def _space(choices: _Choices) -> bytes:
    return (b"", b"", b" ", b"\n", b"\r\n\t")[choices.number() % 5]


_NAMES = (
    *sorted({m.name for table in TABLES.values() for m in table.members.values()}),
    *(*Head.__struct_fields__, "entry", "entry.eventId", "entry.entry.x", "entries", "type"),
)
_TEXTS = (
    *("", "heartbeat", "record", "MAIN", "AUX", "LOGIN FAILED", "rdsadmin", "RDSADMIN", "0", "1"),
    *("PostgreSQL", "MySQL", "Oracle", "SQLSERVER", "Postgres 3.0", "false", "[a, b]", '["x"]'),
    *("2026-11-23 07:28:04.920564+00", "2026-11-23 07:28:04.9205647", "9999-99-99 99:99:99"),
    *("\ud800", "\ud83d\ude00", "\0", "\u2028", "a\nb\r", "{", '\\"', "=1+1"),
)
_OTHERS = (
    *(b"null", b"true", b"false", b"-0", b"0.0", b"1e400", b"-1E-400", b"[]", b"{}"),
    *(b"9" * 25, b"1" + b"0" * 400, b"[" * 50 + b"]" * 50, rb'"\u0065ntry"', rb'"\ud83d\ude00"'),
)


def message_of(data: bytes) -> bytes:
    """A message as the bytes say."""
    choices = _Choices(data)
    suite = _SUITES[choices.number() % len(_SUITES)]
    fields: dict[str, Any] = {"suite": suite, "frame_bytes": choices.number()}
    names = [choices.counted() for _ in range(choices.number() % 4)]
    fields["pairs"] = [(name, choices.counted()) for name in dict.fromkeys(names)]
    fields |= _fault(choices)
    message = Message(**fields, plaintext=choices.rest())
    return message.write().bytes + choices.bytes(choices.number() % 2)


def _fault(choices: _Choices) -> dict[str, Any]:
    """A field that is as the bytes say; half of the time none is."""
    index = choices.number() % (2 * len(_FAULTS))
    return _FAULTS[index](choices) if index < len(_FAULTS) else {}


def _keys(choices: _Choices) -> list[bytes]:
    return [
        encrypted_key(
            choices.bytes((16, 24, 32, 0)[choices.number() % 4]),
            choices.counted(),
            provider=b"BC" if choices.number() % 2 else choices.counted(),
            name=b"DataKey" if choices.number() % 2 else choices.counted(),
            info_end=choices.counted(),
        )
        for _ in range(choices.number() % 5)
    ]


def _frames(choices: _Choices) -> list[Frame]:
    return [
        Frame(
            choices.number(),
            choices.counted(),
            is_final=choices.number() % 3 == 0,
            iv=choices.bytes(12) if choices.number() % 2 else None,
            length=choices.number(4) if choices.number() % 8 == 1 else None,
        )
        for _ in range(choices.number() % 6)
    ]


_FAULTS: tuple[Callable[[_Choices], dict[str, Any]], ...] = (
    lambda c: {"version": c.number()},
    lambda c: {"type": c.number()},
    lambda c: {"suite_id": c.number(2)},
    lambda c: {"context": c.bytes(c.number())},
    lambda c: {"context": c.bytes(c.number()), "wrapping_aad": b""},
    lambda c: {"wrapping_aad": c.counted()},
    lambda c: {"encrypted_keys": _keys(c)},
    lambda c: {"encrypted_keys_count": c.number(2)},
    lambda c: {"content_type": c.number()},
    lambda c: {"reserved": c.number(4)},
    lambda c: {"iv_bytes": c.number()},
    lambda c: {"frame_length": c.number(4)},
    lambda c: {"commitment": c.bytes(32)},
    lambda c: {"public_key": c.counted()},
    lambda c: {"signature": c.bytes(c.number())},
    lambda c: {"body_length": c.number(8)},
    lambda c: {"body_iv": c.bytes(12), "header_iv": c.bytes(12)},
    lambda c: {"frames": _frames(c)},
)
"""Fields that are given instead of following from the rest."""
