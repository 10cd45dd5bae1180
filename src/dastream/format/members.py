"""What the readers of both JSON objects need, envelope and payload.

A record may have members that no version had when this was written. They are kept, and delivered
with each event, so they are bounded before they are looked at.
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from dastream.errors import NOT_JSON

__all__ = ["NOTHING", "Others", "check_utf8", "last_name"]

NOTHING: Mapping[str, msgspec.Raw] = MappingProxyType({})

_LAST_NAME = re.compile(r"(\w+)`")
"""Where msgspec names the member that an error is about."""

_PIECE_BYTES = 256 * 1024

_decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_utf8(json: bytes) -> None:
    """Raise UnicodeDecodeError for bytes that are not UTF-8, at which msgspec does not look.

    It is done in pieces, for one character beyond 16 bits makes all of a text four times as long.
    """
    if json.isascii():
        return
    start = 0
    while start < len(json):
        end = start + _PIECE_BYTES
        start += utf_8_decode(json[start:end], "strict", end >= len(json))[1]


def last_name(error: msgspec.ValidationError) -> str:
    """The member that an error is about, `it` if that is the whole value."""
    names: list[str] = _LAST_NAME.findall(str(error))
    return names[-1] if names else "it"


class Others:
    """The members of a JSON object that are not those of `known`, as raw JSON by their names."""

    def __init__(self, known: type[msgspec.Struct]) -> None:
        fields = [(name, msgspec.Raw, msgspec.Raw()) for name in known.__struct_fields__]
        raws = msgspec.defstruct("Raws", fields)
        only = msgspec.defstruct("OnlyRaws", [], bases=(raws,), forbid_unknown_fields=True)
        self._known = frozenset(known.__struct_fields__)
        self._decode = msgspec.json.Decoder(raws).decode
        self._decode_only = msgspec.json.Decoder(only).decode

    def __call__(self, json: bytes, bytes_max: int) -> Mapping[str, msgspec.Raw] | None:
        """None if all that is beside the values of known members is longer than `bytes_max`.

        Raises one of NOT_JSON for anything but an object. Names have to be UTF-8.
        """
        try:
            self._decode_only(json)
        except NOT_JSON:
            if self._bytes(json) > bytes_max:
                return None
            return {k: v for k, v in _decode_all(json).items() if k not in self._known}
        return NOTHING

    def _bytes(self, json: bytes) -> int:
        values = msgspec.structs.astuple(self._decode(json))
        return len(json) - sum(memoryview(value).nbytes for value in values)
