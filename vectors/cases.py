"""The vectors: one thing about each that a reader may get wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vectors import writer
from vectors.writer import DATA_KEY, KEY, SUITES, Frame, Message, Written, counted, encrypted_key

__all__ = ["Case", "cases"]

ENTRY = """{"type":"record","command":"SELECT","commandText":"SELECT 'ü'"}"""
HEARTBEAT = '{"type":"heartbeat"}'
TEXT = writer.gzip(writer.payload([ENTRY]))
NAME = "DatabaseActivityMonitoringRecords"

DEFLATED = (
    "H4sIAAAAAAACA6tWKqksSFWyUlBySSxJTEosTnVMLsksyyyp9M3PyyzJL8rMSw9KTc4vSlHSUVBKziktLkkt8kwB"
    "aYBydMNcnUP8g4JB8pl5xSWJecmpEAUpSQg5pRQ0413LUvNKfDKLS5SsoquhjlAqgtqklJyfm5uYBzRFKdjVB2gG"
    "QigktaIELqygfniPulJtbC0AOp3wk8cAAAA="
)
"""A payload as zlib deflated it once; another version may deflate it otherwise."""

P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffff"
    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)

REQUIRED = ("type", "version", "databaseActivityEvents", "key")


@dataclass(frozen=True)
class Case:
    """A record, and what becomes of it.

    `expect` is `success`, or where it fails: `envelope`, `decrypt`, `payload`. `events` are the
    ids and entries of a success. `data_keys` go from an envelope's key to what KMS gives back.
    """

    name: str
    why: str
    expect: str
    record: bytes
    events: Sequence[tuple[str, str]] = ()
    data_keys: Mapping[bytes, bytes] = field(default_factory=lambda: {KEY: DATA_KEY})


def cases() -> Iterator[Case]:
    """All of them, in the order of their groups."""
    yield from _envelopes()
    yield from _good_messages()
    yield from _headers()
    yield from _encrypted_keys()
    yield from _bodies()
    yield from _footers()
    yield from _payloads()
    yield from _entries()


def _good(name: str, why: str, message: Message, entries: Sequence[str] = (ENTRY,)) -> Case:
    return _read(name, why, writer.envelope(message.write().bytes), message, entries)


def _read(
    name: str, why: str, record: bytes, message: Message, entries: Sequence[str] = (ENTRY,)
) -> Case:
    id = message.id.hex()
    events = [(f"{id}-{index}", entry) for index, entry in enumerate(entries)]
    return Case(name, why, "success", record, events)


def _refused(name: str, why: str, message: bytes | Message | Written) -> Case:
    if isinstance(message, Message):
        message = message.write()
    data = message.bytes if isinstance(message, Written) else message
    return Case(name, why, "decrypt", writer.envelope(data))


def _envelopes() -> Iterator[Case]:
    message = Message(plaintext=TEXT)
    sealed = message.write().bytes
    good = writer.envelope(sealed)
    yield _read("envelope-plain", "nothing is wrong", good, message)
    yield _read(
        "envelope-member-unknown",
        "AWS adds members",
        writer.envelope(sealed, region={"name": ["x"]}),
        message,
    )
    yield _read(
        "envelope-spaces",
        "white space between tokens is nothing",
        b" \n" + json.dumps(json.loads(good), indent=3).encode() + b"\r\n\t",
        message,
    )
    escaped = good.replace(b'"type"', b'"\\u0074ype"').replace(b"Records", b"\\u0052ecords")
    yield _read("envelope-escapes", "JSON may write any character as an escape", escaped, message)
    slashes = good.replace(b"/", b"\\/")
    yield _read("envelope-slashes", "JSON may write / as \\/", slashes, message)
    swapped = json.dumps(dict(reversed(json.loads(good).items()))).encode()
    yield _read("envelope-order", "members have no order", swapped, message)
    yield _read(
        "envelope-version-other",
        "a version that is not known is read like the known ones",
        writer.envelope(sealed, version="9.9"),
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
            ("gzip", "the record is compressed", writer.gzip(good)),
            ("type-other", "the type of the payload", good.replace(b"Records", b"Record")),
            (
                "events-object",
                "as the user guide shows it",
                writer.envelope(b"").replace(b'""', b"{}"),
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
                writer.envelope(sealed, **{name: value}),
            )
            for what, why, value in (
                ("missing", f"there is no {name}", None),
                ("number", f"{name} is a number", 1),
                ("list", f"{name} is a list", []),
            )
        )


def _with_text(good: bytes, text: str) -> bytes:
    return json.dumps(json.loads(good) | {"databaseActivityEvents": text}).encode()


def _good_messages() -> Iterator[Case]:
    for suite in SUITES:
        yield _good(f"suite-{suite:04x}", "framed, one frame", Message(plaintext=TEXT, suite=suite))
        yield _good(
            f"suite-{suite:04x}-not-framed",
            "one block without frames",
            Message(plaintext=TEXT, suite=suite, frame_bytes=0),
        )
    for frame_bytes in (1, 16, 100, len(TEXT) - 1, len(TEXT), 1 << 20, (1 << 31) - 1):
        yield _good(
            f"frame-length-{frame_bytes}",
            f"frames of {frame_bytes} bytes",
            Message(plaintext=TEXT, frame_bytes=frame_bytes),
        )
    size = len(TEXT)
    yield _good(
        "frame-final-empty",
        "all text is in regular frames, the final one is empty",
        Message(
            plaintext=TEXT,
            frame_bytes=size,
            frames=[Frame(1, TEXT), Frame(2, b"", is_final=True)],
        ),
    )
    yield _good(
        "frame-iv-random",
        "IVs that are not the frame's number",
        Message(
            plaintext=TEXT,
            frame_bytes=size - 5,
            frames=[
                Frame(1, TEXT[:-5], iv=writer.random_bytes("iv 1", 12)),
                Frame(2, TEXT[-5:], is_final=True, iv=writer.random_bytes("iv 2", 12)),
            ],
        ),
    )
    yield _good(
        "not-framed-iv-random",
        "an IV that is not 1",
        Message(plaintext=TEXT, frame_bytes=0, body_iv=writer.random_bytes("iv", 12)),
    )
    yield _good(
        "header-iv-random",
        "a header IV that is not zero",
        Message(plaintext=TEXT, header_iv=writer.random_bytes("header iv", 12)),
    )
    pairs = [(b"b", b"2"), (b"a", b"1"), ("ü".encode(), "ß".encode()), (b"", b"")]
    for suite in (0x0178, 0x0378, 0x0578):
        yield _good(
            f"context-{suite:04x}",
            "an encryption context, with an empty name and an empty value",
            Message(plaintext=TEXT, suite=suite, pairs=pairs),
        )
    signed = Message(plaintext=TEXT, suite=0x0378)
    numbers = (n for n in count(1) if len(_signature(replace(signed, signed_number=n))) < 102)
    yield _good(
        "signature-short",
        "DER integers have the length that they need",
        replace(signed, signed_number=next(numbers)),
    )
    r, s = decode_dss_signature(_signature(signed))
    yield _good(
        "signature-high-s",
        "s and its negative are both right",
        replace(signed, signature=encode_dss_signature(r, P384_ORDER - s)),
    )


def _signature(message: Message) -> bytes:
    return message.write().footer[2:]


def _headers() -> Iterator[Case]:
    for suite in (0x0178, 0x0378, 0x0478, 0x0578):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        version = SUITES[suite].version
        at_id = 4 if version == 1 else 3
        yield _refused(
            f"header-{suite:04x}-id-altered",
            "a bit of the message id",
            sealed.flipped("header", at_id),
        )
        yield _refused(
            f"header-{suite:04x}-tag-altered", "a bit of the header's tag", sealed.flipped("tag")
        )
    yield _refused("header-iv-altered", "a bit of the header's IV", Message().write().flipped("iv"))
    yield _refused("header-empty", "a message of no bytes", b"")
    yield _refused(
        "header-base64-twice", "base64 in base64", base64.b64encode(Message().write().bytes)
    )
    yield _refused("header-too-short", "it ends in the header", Message().write().header[:40])
    yield _refused("header-only", "it ends after the header", Message().write()._replace(body=b""))
    for name, why, fault in (
        ("version-0", "version 0", {"version": 0}),
        ("version-3", "version 3", {"version": 3}),
        (
            "version-2-suite-1",
            "a suite of version 1 in version 2",
            {"suite": 0x0478, "suite_id": 0x0178},
        ),
        ("version-1-suite-2", "a suite of version 2 in version 1", {"suite_id": 0x0478}),
        ("type-other", "another type than 0x80", {"type": 0x81}),
        ("suite-zero", "a suite that there is not", {"suite_id": 0}),
        ("suite-other", "the id of another suite of the same form", {"suite_id": 0x0114}),
        ("suite-reserved", "a suite that there is not", {"suite": 0x0478, "suite_id": 0x0678}),
        ("content-type-3", "neither framed nor not", {"content_type": 3}),
        (
            "content-type-framed",
            "not framed, and says that it is",
            {"frame_bytes": 0, "content_type": 2},
        ),
        ("content-type-not-framed", "framed, and says that it is not", {"content_type": 1}),
        ("reserved", "reserved bytes that are not zero", {"reserved": 1}),
        ("iv-length-0", "an IV length of 0", {"iv_bytes": 0}),
        ("iv-length-16", "an IV length of 16", {"iv_bytes": 16}),
        ("frame-length-0", "framed, with frames of no bytes", {"frame_length": 0}),
        (
            "frame-length-of-not-framed",
            "not framed, with a frame length",
            {"frame_bytes": 0, "frame_length": 9},
        ),
        (
            "commitment-other",
            "it commits to another key",
            {"suite": 0x0478, "commitment": bytes(32)},
        ),
        (
            "public-key-without-signature",
            "a public key and no signature",
            {"pairs": [(b"aws-crypto-public-key", b"AA==")]},
        ),
    ):
        yield _refused(f"header-{name}", why, Message(plaintext=TEXT, **fault))
    commitment = Message(plaintext=TEXT, suite=0x0478).write()
    yield _refused(
        "header-commitment-altered", "a bit of the commitment", commitment.flipped("header", -1)
    )
    yield from _contexts()


def _contexts() -> Iterator[Case]:
    pair = counted(b"a") + counted(b"1")
    one = (1).to_bytes(2) + pair
    for name, why, context in (
        ("repeats", "a name twice", (2).to_bytes(2) + pair + pair),
        ("longer", "a byte after the last pair", one + b"\0"),
        (
            "count-low",
            "more pairs than it says",
            (1).to_bytes(2) + pair + counted(b"b") + counted(b""),
        ),
        ("count-high", "fewer pairs than it says", (2).to_bytes(2) + pair),
        ("name-too-long", "a name beyond the end", (1).to_bytes(2) + b"\0\xffa"),
        ("half-a-count", "one byte", b"\0"),
        (
            "not-utf8",
            "a name that is not UTF-8",
            (1).to_bytes(2) + counted(b"\xff") + counted(b"1"),
        ),
    ):
        yield _refused(f"context-{name}", why, Message(plaintext=TEXT, context=context))
    sealed = Message(plaintext=TEXT, pairs=[(b"a", b"1")]).write()
    at = sealed.header.index(counted(b"1")) + 2
    yield _refused("context-altered", "a bit of a value", sealed.flipped("header", at))


def _encrypted_keys() -> Iterator[Case]:
    key = Message().message_key
    right = encrypted_key(key, b"")
    others = [
        encrypted_key(key, b"", provider=b"aws-kms", name=b"arn:aws:kms:us-east-1:1:key/x"),
        encrypted_key(key, b"", name=b"DataKex"),
        encrypted_key(key, b"", data_key=bytes(32)),
        counted(b"BC") + counted(b"DataKey") + counted(b""),
    ]
    yield _good(
        "encrypted-key-last",
        "ours is the fifth of five",
        Message(plaintext=TEXT, encrypted_keys=[*others, right]),
    )
    yield _good(
        "encrypted-key-of-another-first",
        "one of our name that our data key does not open, then ours",
        Message(plaintext=TEXT, encrypted_keys=[others[2], right]),
    )
    short = Message(suite=0x0114).message_key
    for name, why, keys, more in (
        ("none", "no encrypted data key", [], {}),
        ("missing", "fewer than the count says", [right], {"encrypted_keys_count": 2}),
        ("not-ours", "none is ours", others, {}),
        (
            "provider-case",
            "the provider is BC, not bc",
            [encrypted_key(key, b"", provider=b"bc")],
            {},
        ),
        ("name-longer", "the name is DataKey", [encrypted_key(key, b"", name=b"DataKeys")], {}),
        ("info-longer", "a byte after the IV", [encrypted_key(key, b"", info_end=b"\0")], {}),
        (
            "tag-bits-bytes",
            "the tag's length is in bits",
            [encrypted_key(key, b"", tag_bits=16)],
            {},
        ),
        ("iv-16", "an IV of 16 bytes", [encrypted_key(key, b"", iv=bytes(16))], {}),
        (
            "truncated",
            "a ciphertext of 47 bytes",
            [encrypted_key(key, b"", ciphertext_bytes=47)],
            {},
        ),
        ("short", "a message key of 16 bytes for a suite of 32", [encrypted_key(short, b"")], {}),
        ("aad-other", "wrapped under another context", [encrypted_key(key, b"\0\0")], {}),
        (
            "aad-counted",
            "wrapped under the context with its length",
            [encrypted_key(key, b"\0\0\0\0")],
            {},
        ),
        ("many", "65,535 of them", [], {"encrypted_keys_count": 0xFFFF}),
    ):
        message = Message(plaintext=TEXT, encrypted_keys=keys, **more)
        yield _refused(f"encrypted-key-{name}", why, message)
    sealed = Message(plaintext=TEXT).write().bytes
    record = writer.envelope(sealed)
    yield Case("data-key-unknown", "KMS refuses the envelope's key", "decrypt", record, (), {})
    other = {KEY: bytes(32)}
    yield Case("data-key-other", "the data key of another record", "decrypt", record, (), other)


def _bodies() -> Iterator[Case]:
    size, last = 64, TEXT[64:128]
    head = [Frame(1, TEXT[:64])]
    rest = [Frame(2, last), Frame(3, TEXT[128:], is_final=True)]
    for name, why, frames in (
        ("none", "no frame", []),
        ("final-missing", "no final frame", [*head, rest[0]]),
        ("missing", "a frame is missing", [*head, rest[1]]),
        ("first-missing", "the first frame is missing", rest),
        ("repeats", "a frame twice", [*head, *head, *rest]),
        ("swapped", "two frames swapped", [rest[0], *head, rest[1]]),
        (
            "number-0",
            "numbers begin with 1",
            [Frame(0, TEXT[:64]), Frame(1, TEXT[64:128], is_final=True)],
        ),
        ("final-twice", "a second final frame", [*head, *rest, rest[1]]),
        (
            "final-number",
            "the final frame has the number of the one before",
            [*head, Frame(1, last, is_final=True)],
        ),
        ("final-too-long", "longer than the frame length", [Frame(1, TEXT[:65], is_final=True)]),
        (
            "final-length-low",
            "it says one byte less",
            [Frame(1, TEXT[:9], is_final=True, length=8)],
        ),
        (
            "final-length-high",
            "it says one byte more",
            [Frame(1, TEXT[:9], is_final=True, length=10)],
        ),
        (
            "final-length-huge",
            "it says 4 GiB",
            [Frame(1, TEXT[:9], is_final=True, length=0xFFFFFFFF)],
        ),
        (
            "short",
            "a regular frame of less than the frame length",
            [Frame(1, TEXT[:63]), Frame(2, b"", is_final=True)],
        ),
    ):
        yield _refused(f"frame-{name}", why, Message(frame_bytes=size, frames=frames))
    framed = Message(plaintext=TEXT, frame_bytes=size).write()
    frame = 4 + 12 + size + 16
    for name, why, byte in (
        ("number-altered", "a bit of the number of frame 1", 3),
        ("iv-altered", "a bit of the IV of frame 1", 4),
        ("text-altered", "a bit of frame 1", 16),
        ("tag-altered", "a bit of the tag of frame 1", frame - 1),
        ("text-altered-late", "a bit of the final frame", -17),
        ("tag-altered-late", "the last bit of the message", -1),
    ):
        yield _refused(f"frame-{name}", why, framed.flipped("body", byte))
    for suite in (0x0178, 0x0478):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        yield _refused(
            f"frame-{suite:04x}-truncated", "the last byte is missing", sealed.bytes[:-1]
        )
        yield _refused(f"frame-{suite:04x}-longer", "a byte after the end", sealed.bytes + b"\0")
    first = Message(plaintext=TEXT).write()
    other = Message(plaintext=TEXT, message_id=bytes(16)).write()
    yield _refused(
        "frame-of-another-message", "the body of another message", first._replace(body=other.body)
    )
    block = Message(plaintext=TEXT, frame_bytes=0).write()
    for name, why, byte in (
        ("iv-altered", "a bit of the IV", 0),
        ("length-altered", "a bit of the length", 19),
        ("text-altered", "a bit of the text", 20),
        ("tag-altered", "a bit of the tag", -1),
    ):
        yield _refused(f"not-framed-{name}", why, block.flipped("body", byte))
    yield _refused("not-framed-truncated", "the last byte is missing", block.bytes[:-1])
    yield _refused("not-framed-longer", "a byte after the end", block.bytes + b"\0")
    yield _refused(
        "not-framed-length-huge",
        "it says 2^64 - 1 bytes",
        Message(plaintext=TEXT, frame_bytes=0, body_length=(1 << 64) - 1),
    )


def _footers() -> Iterator[Case]:
    for suite in (0x0214, 0x0346, 0x0378, 0x0578):
        sealed = Message(plaintext=TEXT, suite=suite).write()
        yield _refused(
            f"signature-{suite:04x}-altered", "a bit of the signature", sealed.flipped("footer", -1)
        )
        yield _refused(f"signature-{suite:04x}-missing", "no footer", sealed._replace(footer=b""))
    signed = Message(plaintext=TEXT, suite=0x0378)
    sealed = signed.write()
    other = Message(plaintext=TEXT, suite=0x0378, signed_number=7).write()
    unsigned = Message(plaintext=TEXT).write()
    der = sealed.footer[2:]
    yield _refused(
        "signature-of-another-key",
        "the signature of another key",
        sealed._replace(footer=other.footer),
    )
    yield _refused(
        "signature-of-another-message",
        "the footer of a message with another id",
        sealed._replace(
            footer=Message(plaintext=TEXT, suite=0x0378, message_id=bytes(16)).write().footer
        ),
    )
    yield _refused(
        "signature-on-unsigned",
        "a footer that the suite has not",
        unsigned._replace(footer=sealed.footer),
    )
    for name, why, signature in (
        ("empty", "a signature of no bytes", b""),
        ("longer", "a byte after the DER sequence", der + b"\0"),
        ("zero", "r and s are 0", bytes.fromhex("3006020100020100")),
        ("ber", "a length in more bytes than it needs", b"\x30\x81" + der[1:]),
        ("not-der", "r and s without DER", bytes(96)),
    ):
        yield _refused(
            f"signature-{name}", why, Message(plaintext=TEXT, suite=0x0378, signature=signature)
        )
    yield _refused("signature-and-more", "a byte after the footer", sealed.bytes + b"\0")
    point = signed.all_pairs()[-1][1]
    raw = base64.b64decode(point)
    for name, why, key in (
        ("missing", "no public key in the context", None),
        ("not-base64", "a public key that is not base64", b"*" + point[1:]),
        ("empty", "an empty public key", b""),
        ("not-on-curve", "a point that is on no curve", base64.b64encode(b"\2" + b"\xff" * 48)),
        ("short", "a point of 48 bytes", base64.b64encode(raw[:-1])),
        ("uncompressed", "a point with both coordinates", _uncompressed(signed)),
        ("infinity", "the point at infinity", base64.b64encode(b"\0")),
    ):
        context = b"" if key is None else _public_key_context(key)
        yield _refused(
            f"public-key-{name}", why, Message(plaintext=TEXT, suite=0x0378, context=context)
        )


def _uncompressed(message: Message) -> bytes:
    public_key = message.signing_key().public_key()
    point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.b64encode(point)


def _public_key_context(key: bytes) -> bytes:
    return (1).to_bytes(2) + counted(b"aws-crypto-public-key") + counted(key)


def _payloads() -> Iterator[Case]:
    good = writer.payload([ENTRY])
    for name, why, data in (
        ("deflated", "deflated, not stored", base64.b64decode(DEFLATED)),
        ("name", "a gzip header with a name", _gzip_with(0x08, b"name\0", good)),
        ("extra", "a gzip header with extra fields", _gzip_with(0x04, b"\x04\0abcd", good)),
        ("comment", "a gzip header with a comment", _gzip_with(0x10, b"comment\0", good)),
    ):
        yield _good(f"gzip-{name}", why, Message(plaintext=data))
    packed = writer.gzip(good)
    for name, why, data in (
        ("empty", "a message of no text", b""),
        ("missing", "JSON that is not compressed", good),
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
        ("in-gzip", "compressed twice", writer.gzip(packed)),
    ):
        yield _bad_payload(f"gzip-{name}", why, data)
    list_of = b'"databaseActivityEventList"'
    for name, why, data in (
        ("empty", "no bytes", b""),
        ("text", "no JSON", b"no JSON"),
        ("array", "JSON, but an array", b"[" + good + b"]"),
        ("null", "JSON, but null", b"null"),
        ("truncated", "the last byte is missing", good[:-1]),
        ("twice", "two objects", good + good),
        ("bom", "a byte order mark is not JSON", b"\xef\xbb\xbf" + good),
        ("not-utf8", "text that is not UTF-8", good.replace("ü".encode(), b"\xfc")),
        ("surrogate-utf8", "a surrogate in UTF-8", good.replace("ü".encode(), b"\xed\xa0\x80")),
        ("control", "a line feed in a string", good.replace("ü".encode(), b"\n")),
        ("nan", "NaN is not JSON", writer.payload(['{"x":NaN}'])),
        ("number-00", "00 is not JSON", writer.payload(['{"x":00}'])),
        ("single-quotes", "JSON has double quotes", writer.payload(["{'x':1}"])),
        ("comment", "JSON has no comments", writer.payload(["{}/**/"])),
        ("type-missing", "there is no type", writer.payload([ENTRY], type=None)),
        ("type-other", "the type of the envelope", writer.payload([ENTRY], type=NAME)),
        ("type-number", "the type is a number", writer.payload([ENTRY], type=1)),
        ("cluster-number", "clusterId is a number", writer.payload([ENTRY], clusterId=1)),
        ("instance-list", "instanceId is a list", writer.payload([ENTRY], instanceId=[])),
        ("list-missing", "there is no list", good.replace(list_of, b'"x"')),
        (
            "list-null",
            "the list is null",
            b"".join((good.partition(list_of)[0], list_of, b":null}")),
        ),
        (
            "list-object",
            "the list is an object",
            b"".join((good.partition(list_of)[0], list_of, b":{}}")),
        ),
        ("list-open", "the list does not end", good[:-2] + b"}"),
    ):
        yield _bad_payload(f"payload-{name}", why, writer.gzip(data))


def _gzip_with(flag: int, field: bytes, data: bytes) -> bytes:
    packed = writer.gzip(data)
    return packed[:3] + bytes([flag]) + packed[4:10] + field + packed[10:]


def _bad_payload(name: str, why: str, plaintext: bytes) -> Case:
    record = writer.envelope(Message(plaintext=plaintext).write().bytes)
    return Case(name, why, "payload", record)


def _entries() -> Iterator[Case]:
    """Whatever an entry is, its bytes come out as they went in."""
    for name, why, entries, members in (
        ("none", "an empty list", [], {}),
        ("several", "the index counts heartbeats too", [HEARTBEAT, ENTRY, HEARTBEAT, ENTRY], {}),
        ("empty-object", "an entry without members", ["{}"], {}),
        ("other-types", "entries that are no objects", ["null", "1", '"text"', "[1]", "true"], {}),
        ("spaces", "white space within an entry", ['{ "a" :\t1 , "b": [ ] }'], {}),
        ("escapes", "escapes stay escapes", ['{"a":"\\u00fc\\/\\n\\ud83d\\ude00"}'], {}),
        (
            "numbers",
            "numbers keep their form",
            ['{"a":1.0,"b":1e400,"c":-0,"d":123456789012345678901234567890}'],
            {},
        ),
        ("repeated-member", "a member twice", ['{"a":1,"a":2}'], {}),
        ("control-escaped", "NUL in a statement", ['{"commandText":"a\\u0000b"}'], {}),
        ("long", "a statement of 5,000 characters", [json.dumps({"commandText": "x" * 5000})], {}),
        (
            "ids-missing",
            "neither cluster nor instance",
            [ENTRY],
            {"clusterId": None, "instanceId": None},
        ),
        ("ids-blank", "a blank cluster, as SQL Server has it", [ENTRY], {"clusterId": ""}),
        (
            "member-unknown",
            "AWS adds members",
            [ENTRY],
            {"databaseActivityEventsVersion": [1, {"x": None}]},
        ),
    ):
        plaintext = writer.gzip(writer.payload(entries, **members))
        yield _good(f"entry-{name}", why, Message(plaintext=plaintext), entries)
    lone = ['{"commandText":"\\ud800"}']
    plaintext = writer.gzip(writer.payload(lone))
    yield _good(
        "entry-lone-surrogate", "half of a pair, as an escape", Message(plaintext=plaintext), lone
    )
