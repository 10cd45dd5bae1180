"""The outer JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from vectors import outer
from vectors.case import TEXT, Case, read
from vectors.outer import KEY
from vectors.writer import Message

__all__ = ["envelopes"]

REQUIRED = ("type", "version", "databaseActivityEvents", "key")


def envelopes() -> Iterator[Case]:
    """Envelopes, right and wrong."""
    message = Message(plaintext=TEXT)
    sealed = message.write().bytes
    good = outer.envelope(sealed)
    yield read("envelope-plain", "nothing is wrong", good, message)
    yield read(
        "envelope-member-unknown",
        "AWS adds members",
        outer.envelope(sealed, region={"name": ["x"]}),
        message,
    )
    yield read(
        "envelope-spaces",
        "white space between tokens is nothing",
        b" \n" + json.dumps(json.loads(good), indent=3).encode() + b"\r\n\t",
        message,
    )
    escaped = good.replace(b'"type"', b'"\\u0074ype"').replace(b"Records", b"\\u0052ecords")
    yield read("envelope-escapes", "JSON may write any character as an escape", escaped, message)
    slashes = good.replace(b"/", b"\\/")
    yield read("envelope-slashes", "JSON may write / as \\/", slashes, message)
    swapped = json.dumps(dict(reversed(json.loads(good).items()))).encode()
    yield read("envelope-order", "members have no order", swapped, message)
    yield read(
        "envelope-version-other",
        "a version that is not known is read like the known ones",
        outer.envelope(sealed, version="9.9"),
        message,
    )
    key = json.dumps(base64.b64encode(KEY).decode()).encode()
    yield from (
        Case(f"envelope-{name}", why, "envelope", data)
        for name, why, data in (
            ("empty", "no bytes", b""),
            ("text", "no JSON", b"no JSON"),
            ("array", "JSON, but an array", b"[" + good + b"]"),
            ("null", "JSON, but null", b"null"),
            ("string", "JSON, but a string", json.dumps(good.decode()).encode()),
            ("truncated", "the last byte is missing", good[:-1]),
            ("twice", "two objects", good + good),
            ("trailing-comma", "a comma before the brace", good[:-1] + b",}"),
            ("bom", "a byte order mark is not JSON", b"\xef\xbb\xbf" + good),
            ("utf16", "JSON is UTF-8", good.decode().encode("utf-16")),
            ("not-utf8", "an unknown member is not UTF-8", good[:-1] + b',"x":"\xff"}'),
            ("base64", "the record is in base64, as the AWS CLI shows it", base64.b64encode(good)),
            ("gzip", "the record is compressed", outer.gzip(good)),
            ("type-other", "the type of the payload", good.replace(b"Records", b"Record")),
            (
                "events-object",
                "as the user guide shows it",
                outer.envelope(b"").replace(b'""', b"{}"),
            ),
            ("events-not-base64", "a character that base64 has not", _with_text(good, "*")),
            ("events-spaces", "base64 with a line break", _with_text(good, "AQ\n==")),
            ("events-unpadded", "base64 without its padding", _with_text(good, "AQ")),
            ("events-url-alphabet", "the other alphabet of base64", _with_text(good, "-_-_")),
            ("key-empty", "the key is empty", good.replace(key, b'""')),
            ("key-not-base64", "the key is not base64", good.replace(key, b'"???"')),
        )
    )
    for name in REQUIRED:
        short = name.removeprefix("databaseActivity").lower()
        yield from (
            Case(
                f"envelope-{short}-{what}",
                why,
                "envelope",
                outer.envelope(sealed, **{name: value}),
            )
            for what, why, value in (
                ("missing", f"there is no {name}", None),
                ("number", f"{name} is a number", 1),
                ("list", f"{name} is a list", []),
            )
        )


def _with_text(good: bytes, text: str) -> bytes:
    return json.dumps(json.loads(good) | {"databaseActivityEvents": text}).encode()
