"""Each accelerator does what the standard library and `cryptography` do, for good and bad bytes."""

import gzip
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from accelerators import accelerated
from dastream.format.primitives import ACCELERATORS, Primitives
from dastream.format.suites import SUITES

PURE = Primitives()
PURE.use(())

CURVES = {suite.curve.curve.name: suite.curve for suite in SUITES.values() if suite.curve}
GZIP = zlib.MAX_WBITS | 16


COMBINATIONS = [*((name,) for name in ACCELERATORS[:3]), ACCELERATORS]
"""gmpy2 does something only together with awscrt."""


@pytest.fixture(params=COMBINATIONS, ids="+".join, scope="module")
def fast(request):
    for _ in accelerated(request.param):
        one = Primitives()
        one.use(request.param)
        yield one


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except ValueError:
        return ValueError


def inflated(chosen, data, bytes_max):
    inflate = chosen.decompressobj(GZIP)
    try:
        return inflate.decompress(data, bytes_max), inflate.eof, inflate.unused_data
    except chosen.inflate_error:
        return None


@given(st.text(st.sampled_from("AQgw09+/=-_ \n\x00é"), max_size=13))
def test_every_library_takes_the_same_base64(fast, text):
    assert outcome(fast.b64decode, text) == outcome(PURE.b64decode, text)


@given(st.binary(max_size=300))
def test_every_library_writes_the_same_base64_and_reads_it_back(fast, data):
    assert fast.b64encode(data) == PURE.b64encode(data)
    assert fast.b64decode(fast.b64encode(data)) == data


@given(st.binary(max_size=300), st.binary(max_size=20), st.integers(1, 400))
def test_every_library_inflates_alike(fast, text, more, bytes_max):
    data = gzip.compress(text) + more

    assert inflated(fast, data, bytes_max) == inflated(PURE, data, bytes_max)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_every_library_refuses_the_same_damaged_gzip(fast, text, data):
    sealed = bytearray(gzip.compress(text))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8

    assert inflated(fast, bytes(sealed), 1000) == inflated(PURE, bytes(sealed), 1000)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_every_library_accepts_and_refuses_the_same_signatures(fast, curve):
    key = ec.generate_private_key(curve.curve)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    signature = key.sign(b"signed", curve.algorithm)

    assert fast.verify(curve, point, signature, b"signed") is True
    assert fast.verify(curve, point, signature, b"Signed") is False
    for other in _altered(signature):
        assert fast.verify(curve, point, other, b"signed") is False, other.hex()
        assert PURE.verify(curve, point, other, b"signed") is False, other.hex()


def _altered(signature):
    """Each flipped bit, each truncation, and the same numbers written in other ways."""
    for bit in range(8 * len(signature)):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        yield bytes(altered)
    for length in range(len(signature)):
        yield signature[:length]
    yield signature + b"\0"
    yield b"\x30\x81" + signature[1:]
    yield bytes([0x30, signature[1] + 1, 2, signature[3] + 1, 0]) + signature[4:]
    yield bytes.fromhex("3006020100020100")
    yield bytes.fromhex("3006020101020100")


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@given(st.data())
def test_every_library_takes_the_same_points(fast, curve, data):
    """Half of all numbers below the prime are the x of two points; none beyond it is of any."""
    size = curve.point_bytes - 1
    x = data.draw(st.integers(0, curve.prime + 10) | st.integers(0, 2 ** (8 * size) - 1))
    point = bytes([data.draw(st.integers(0, 4))]) + x.to_bytes(size)

    assert outcome(fast.verify, curve, point, b"", b"") == outcome(
        PURE.verify, curve, point, b"", b""
    )


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_signature_holds_for_either_point_of_an_x(fast, curve):
    for number in range(2, 12):
        key = ec.derive_private_key(number, curve.curve)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        other = bytes([point[0] ^ 1]) + point[1:]
        signature = key.sign(b"signed", curve.algorithm)

        assert fast.verify(curve, point, signature, b"signed") is True
        assert fast.verify(curve, other, signature, b"signed") is False


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("first", [0, 2, 4])
@pytest.mark.parametrize("size", [-1, 0, 1])
def test_every_library_refuses_the_same_points(fast, curve, first, size):
    """Nothing is there for the point at infinity, other lengths, and x not on the curve."""
    point = bytes([first]) + b"\xff" * (curve.point_bytes - 1 + size)

    for chosen in (fast, PURE):
        with pytest.raises(ValueError, match=r"\w"):
            chosen.verify(curve, point, b"", b"")
