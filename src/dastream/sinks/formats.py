"""The formats of a lake's objects of events: how a batch is packed, and where its receipt lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

from dastream import line
from dastream.errors import ConfigError
from dastream.event import Event
from dastream.sinks import jsonl
from dastream.sinks.jsonl import Receipt

__all__ = [
    "FORMATS",
    "JSON_LINES",
    "PARQUET",
    "PARQUET_WITHOUT_ENTRIES",
    "Format",
    "open_format",
]

FOOTER_BYTES_MAX = 1 << 20
"""No footer of a Parquet file is longer: a row group takes about 7 kB there."""


class Format(NamedTuple):
    """One format. `receipt` reads what `receipt_bytes_max` bytes from `receipt_start` on hold.

    `has_entries` tells whether every entry can be had back from it, byte for byte.
    """

    suffix: str
    pack: Callable[[Sequence[Event], Receipt], bytes]
    receipt: Callable[[bytes], Receipt | None]
    receipt_start: int
    receipt_bytes_max: int
    has_entries: bool = True


def open_format(options: Mapping[str, Sequence[str]]) -> Format:
    """The format that the parameters of a URL ask for, each with its values. Raises ConfigError."""
    given = {name: values[-1] for name, values in options.items()}
    name, raw = given.pop("format", "jsonl"), given.pop("raw", "yes")
    if not given and (name, raw) == ("jsonl", "yes"):
        return JSON_LINES
    if not given and name == "parquet" and raw in {"yes", "no"}:
        _parquet()
        return PARQUET if raw == "yes" else PARQUET_WITHOUT_ENTRIES
    raise ConfigError(
        "sink: unknown option in the URL",
        hint="write format=jsonl, format=parquet, or format=parquet&raw=no",
    )


def _pack_lines(events: Sequence[Event], receipt: Receipt) -> bytes:
    return jsonl.pack(line.texts(events), receipt)


def _pack_parquet(events: Sequence[Event], receipt: Receipt, *, has_entries: bool = True) -> bytes:
    data: bytes = _parquet().pack(events, receipt, has_entries=has_entries)
    return data


def _parquet_receipt(end_of_object: bytes) -> Receipt | None:
    receipt: Receipt | None = _parquet().receipt(end_of_object)
    return receipt


def _parquet() -> ModuleType:
    try:
        from dastream.sinks import parquet  # noqa: PLC0415 - needs an extra, and is slow to load
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"parquet: {error.name} is not installed",
            hint="in a checkout of dastream: pip install '.[lake]'",
        ) from None
    return parquet


JSON_LINES = Format("jsonl.gz", _pack_lines, jsonl.receipt, 0, jsonl.RECEIPT_BYTES_MAX)
PARQUET = Format("parquet", _pack_parquet, _parquet_receipt, -FOOTER_BYTES_MAX, FOOTER_BYTES_MAX)
PARQUET_WITHOUT_ENTRIES = PARQUET._replace(
    pack=partial(_pack_parquet, has_entries=False), has_entries=False
)
FORMATS = (JSON_LINES, PARQUET)
