"""The gzip member and the JSON in it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from vectors import outer
from vectors.case import ENTRY, Case, good
from vectors.writer import Message

__all__ = ["payloads"]

DEFLATED = (
    "H4sIAAAAAAACA6tWKqksSFWyUlBySSxJTEosTnVMLsksyyyp9M3PyyzJL8rMSw9KTc4vSlHSUVBKziktLkkt8kwB"
    "aYBydMNcnUP8g4JB8pl5xSWJecmpEAUpSQg5pRQ0413LUvNKfDKLS5SsoquhjlAqgtqklJyfm5uYBzRFKdjVB2gG"
    "QigktaIELqygfniPulJtbC0AOp3wk8cAAAA="
)
"""A payload as zlib deflated it once; another version may deflate it otherwise."""


def payloads() -> Iterator[Case]:
    """Gzip, then JSON."""
    text = outer.payload([ENTRY])
    for name, why, data in (
        ("deflated", "deflated, not stored", base64.b64decode(DEFLATED)),
        ("name", "a gzip header with a name", _gzip_with(0x08, b"name\0", text)),
        ("extra", "a gzip header with extra fields", _gzip_with(0x04, b"\x04\0abcd", text)),
        ("comment", "a gzip header with a comment", _gzip_with(0x10, b"comment\0", text)),
    ):
        yield good(f"gzip-{name}", why, Message(plaintext=data))
    packed = outer.gzip(text)
    for name, why, data in (
        ("empty", "a message of no text", b""),
        ("missing", "JSON that is not compressed", text),
        ("zlib", "a zlib header instead of gzip's", b"\x78\x01" + packed[10:]),
        ("deflate", "neither header", packed[10:-8]),
        ("truncated", "the trailer is missing", packed[:-8]),
        ("truncated-late", "the last byte is missing", packed[:-1]),
        ("crc", "another checksum", packed[:-8] + bytes(4) + packed[-4:]),
        ("size", "another size in the trailer", packed[:-4] + bytes(4)),
        ("longer", "a byte after the end", packed + b"\0"),
        ("twice", "two members", packed + packed),
        ("method", "another method than deflate", packed[:2] + b"\x07" + packed[3:]),
        ("reserved-flag", "a flag that is reserved", packed[:3] + b"\x20" + packed[4:]),
        ("damaged", "a block of a type that there is not", packed[:10] + b"\x07" + packed[11:]),
        ("in-gzip", "compressed twice", outer.gzip(packed)),
    ):
        yield _bad_payload(f"gzip-{name}", why, data)
    list_of = b'"databaseActivityEventList"'
    for name, why, data in (
        ("empty", "no bytes", b""),
        ("text", "no JSON", b"no JSON"),
        ("array", "JSON, but an array", b"[" + text + b"]"),
        ("null", "JSON, but null", b"null"),
        ("truncated", "the last byte is missing", text[:-1]),
        ("twice", "two objects", text + text),
        ("bom", "a byte order mark is not JSON", b"\xef\xbb\xbf" + text),
        ("not-utf8", "text that is not UTF-8", text.replace("ü".encode(), b"\xfc")),
        ("surrogate-utf8", "a surrogate in UTF-8", text.replace("ü".encode(), b"\xed\xa0\x80")),
        ("control", "a line feed in a string", text.replace("ü".encode(), b"\n")),
        ("number-huge", "a number that no double can hold, and no object", b"1e400"),
        ("nan", "NaN is not JSON", outer.payload(['{"x":NaN}'])),
        ("number-00", "00 is not JSON", outer.payload(['{"x":00}'])),
        ("single-quotes", "JSON has double quotes", outer.payload(["{'x':1}"])),
        ("comment", "JSON has no comments", outer.payload(["{}/**/"])),
        ("type-missing", "there is no type", outer.payload([ENTRY], type=None)),
        (
            "type-other",
            "the type of the envelope",
            outer.payload([ENTRY], type="DatabaseActivityMonitoringRecords"),
        ),
        ("type-number", "the type is a number", outer.payload([ENTRY], type=1)),
        ("cluster-number", "clusterId is a number", outer.payload([ENTRY], clusterId=1)),
        ("instance-list", "instanceId is a list", outer.payload([ENTRY], instanceId=[])),
        ("list-missing", "there is no list", text.replace(list_of, b'"x"')),
        (
            "list-null",
            "the list is null",
            b"".join((text.partition(list_of)[0], list_of, b":null}")),
        ),
        (
            "list-object",
            "the list is an object",
            b"".join((text.partition(list_of)[0], list_of, b":{}}")),
        ),
        ("list-open", "the list does not end", text[:-2] + b"}"),
    ):
        yield _bad_payload(f"payload-{name}", why, outer.gzip(data))


def _gzip_with(flag: int, field: bytes, data: bytes) -> bytes:
    packed = outer.gzip(data)
    return packed[:3] + bytes([flag]) + packed[4:10] + field + packed[10:]


def _bad_payload(name: str, why: str, plaintext: bytes) -> Case:
    record = outer.envelope(Message(plaintext=plaintext).write().bytes)
    return Case(name, why, "payload", record)
