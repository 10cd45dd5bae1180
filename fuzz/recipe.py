"""A message from any bytes: with its tags and its signature as they should be.

A fuzzer never finds a tag that holds, so it would not get past the header. Here its bytes say
what is written into a message, right or wrong, and the message is sealed after that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vectors.writer import SUITES, Frame, Message, encrypted_key

__all__ = ["message_of", "sealed"]

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
