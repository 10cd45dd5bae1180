"""Whatever comes from outside: one kind of error, and bounded memory."""

import contextlib
import json
import tracemalloc
import zlib

import pytest
from fuzz.recipe import message_of
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import outer
from vectors.writer import DATA_KEY, Message

from dastream.decode import Decoder
from dastream.errors import DecodeError, EnvelopeError, PayloadError
from dastream.format import envelope, message, payload
from dastream.format.members import check_utf8
from dastream.record import Record

MEBIBYTE = 1024 * 1024


def decode(data):
    return Decoder(lambda key, context: DATA_KEY)(Record(data))


def sealed(text):
    return outer.envelope(Message(plaintext=text).write().bytes)


READERS = {
    "record": decode,
    "envelope": envelope.parse,
    "message": lambda data: message.decrypt(data, DATA_KEY),
    "sealed message": lambda data: message.decrypt(message_of(data), DATA_KEY),
    "gzip": payload.gunzip,
    "payload": payload.parse,
    "sealed text": lambda data: decode(sealed(data)),
    "sealed payload": lambda data: decode(sealed(outer.gzip(data))),
}

GOOD_RECORD = sealed(outer.gzip(outer.payload(['{"a":1}'])))
STARTS = (
    GOOD_RECORD,
    Message(plaintext=b"text", suite=0x0378).write().bytes,
    outer.gzip(b"text"),
    outer.payload(["{}"]),
)


@st.composite
def almost_good(draw):
    """Something good with a few bytes altered, put in, or taken away."""
    data = bytearray(draw(st.sampled_from(STARTS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@settings(max_examples=300)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=400) | almost_good())
def test_reader_of_any_bytes_raises_nothing_but_decode_errors(name, data):
    with contextlib.suppress(DecodeError):
        READERS[name](data)


def gzip_of(total_bytes):
    """So many zeros, a thousandth of the size."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = bytes(16 * MEBIBYTE)
    pieces = [deflate.compress(zeros) for _ in range(total_bytes // len(zeros))]
    return b"".join(pieces) + deflate.flush()


def peak_of_refused(error, data):
    """The most memory that was held at one time until a record was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(error):
            decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def lying(bomb):
    """The trailer of the gzip member says that there are 10 bytes."""
    return bomb[:-4] + (10).to_bytes(4, "little")


def test_bomb_of_a_gibibyte_takes_less_than_100_megabytes():
    bomb = gzip_of(1024 * MEBIBYTE)

    for data in (bomb, lying(bomb)):
        assert peak_of_refused(PayloadError, sealed(data)) < 100_000_000


def test_bomb_in_a_bomb_is_not_opened():
    assert peak_of_refused(PayloadError, sealed(outer.gzip(gzip_of(64 * MEBIBYTE)))) < 4 * MEBIBYTE


@pytest.mark.parametrize(
    "fault",
    [
        {"encrypted_keys": [], "encrypted_keys_count": 0xFFFF},
        {"frame_length": 0xFFFFFFFF, "frames": []},
        {"context": b"\xff\xff" + bytes(65533)},
        {"frame_bytes": 0, "body_length": 1 << 63},
    ],
)
def test_what_a_message_says_of_its_size_costs_nothing(fault):
    written = Message(plaintext=b"text", **fault).write().bytes

    assert peak_of_refused(DecodeError, outer.envelope(written)) < 2 * MEBIBYTE


@pytest.mark.parametrize("brackets", [b"[]", b'{"a":}'])
def test_deeply_nested_json_is_refused(brackets):
    opened, closed = brackets[:-1], brackets[-1:]
    nested = opened * 100_000 + b"0" + closed * 100_000

    with pytest.raises(EnvelopeError):
        decode(GOOD_RECORD[:-1] + b',"more":' + nested + b"}")
    with pytest.raises(PayloadError):
        decode(sealed(outer.gzip(outer.payload([nested.decode()]))))


def test_million_unknown_members_are_refused_before_they_are_kept():
    many = b"".join(b',"%d":0' % number for number in range(1_000_000))
    text = outer.payload(["{}"]).removesuffix(b"}") + many + b"}"

    assert peak_of_refused(EnvelopeError, GOOD_RECORD[:-1] + many + b"}") < 2 * len(many)
    assert peak_of_refused(PayloadError, sealed(outer.gzip(text))) < 4 * len(many)


@pytest.mark.parametrize(
    ("error", "of_envelope", "of_payload"),
    [
        (EnvelopeError, b',"x":"%b"}' % (b"x" * 60_000), b"}"),
        (PayloadError, b"}", b',"x":"%b"}' % (b"x" * 60_000)),
    ],
)
def test_unknown_members_that_each_event_would_repeat_take_no_more_than_a_payload(
    error, of_envelope, of_payload
):
    def with_entries(count):
        text = outer.payload(["{}"] * count).removesuffix(b"}") + of_payload
        return sealed(outer.gzip(text))[:-1] + of_envelope

    events = decode(with_entries(1_000))
    assert sum(len(event.origin.more) for event in events) > 60_000_000
    with pytest.raises(error, match="once for each event"):
        decode(with_entries(1_200))


@pytest.mark.parametrize("character", ["ü", "€", "😀"])
def test_characters_of_several_bytes_make_nothing_of_a_text_longer_in_memory(character):
    text = outer.payload([f'{{"commandText":"{"x" * 8 * MEBIBYTE}{character}"}}'])
    assert not text.isascii()

    tracemalloc.start()
    try:
        payload.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("character", ["ü", "€", "😀"])
def test_characters_are_whole_wherever_they_stand_in_a_long_text(character, at):
    text = f'{{"a":"{"x" * at}{character * 200_000}"}}'.encode()

    check_utf8(text)
    for wrong in (
        text[:-3] + text[-2:],
        text.replace(character.encode(), character.encode()[:-1], 1),
        text[:-2] + text[-3:],
        text[: -2 - len(character.encode())] + character.encode()[:-1],
    ):
        with pytest.raises(UnicodeDecodeError):
            check_utf8(wrong)


def test_envelope_that_no_record_can_hold_is_refused_before_it_is_read():
    large = json.dumps({"x": "y" * 17 * MEBIBYTE}).encode()

    assert peak_of_refused(EnvelopeError, large) < MEBIBYTE
