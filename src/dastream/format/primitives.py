"""base64, inflate and ECDSA, by the fastest library that is installed.

The standard library and `cryptography` do everything. An accelerator does the same sooner: it
accepts and refuses the same bytes and gives the same ones, and the tests run on each combination.
"""

from __future__ import annotations

import binascii
import hashlib
import importlib
import zlib
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["ACCELERATORS", "Curve", "Inflater", "Primitives", "primitives"]

ACCELERATORS = ("pybase64", "zlib_ng", "awscrt", "gmpy2")
"""The modules that are used where they are installed (the extra `fast`)."""


class Inflater(Protocol):
    """`zlib.decompressobj`, as far as it is used here."""

    eof: bool
    unconsumed_tail: bytes
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...
    def flush(self, length: int, /) -> bytes: ...


class Curve:
    """A curve and hash of ECDSA. Sources: SEC 1, section 2.3.3; RFC 5480, section 2.

    `prime` and `b` are those of the curve's equation y² = x³ - 3x + b; `spki` is what stands
    before an uncompressed point in a SubjectPublicKeyInfo, in hex.
    """

    def __init__(
        self,
        curve: ec.EllipticCurve,
        hash: hashes.HashAlgorithm,
        *,
        prime: int,
        b: int,
        spki: str,
    ) -> None:
        self.point_bytes = 1 + (curve.key_size + 7) // 8
        """Length of a compressed point."""
        self.curve = curve
        self.algorithm = ec.ECDSA(hash)
        self.digest = getattr(hashlib, hash.name)
        self.prime = prime
        self.b = b
        self.spki = bytes.fromhex(spki)


class Primitives:
    """The primitives, each bound to the library that was chosen.

    `b64decode` takes a string strictly: no white space, no missing or surplus padding; it raises
    ValueError. `verify` raises ValueError for a point that is not on the curve.
    """

    b64decode: Callable[[str | bytes], bytes]
    b64encode: Callable[[bytes], str]
    decompressobj: Callable[[int], Inflater]
    inflate_error: type[Exception]
    verify: Callable[[Curve, bytes, bytes, bytes], bool]

    def __init__(self) -> None:
        self.use()

    def use(self, accelerators: Collection[str] = ACCELERATORS) -> None:
        """Use these accelerators, as far as they are installed, and no others."""
        base64 = _installed("pybase64", accelerators)
        self.b64decode = _b64decoder(base64) if base64 else _b64decode
        self.b64encode = base64.b64encode_as_string if base64 else _b64encode
        inflate = _installed("zlib_ng.zlib_ng", accelerators) or zlib
        self.decompressobj = inflate.decompressobj
        self.inflate_error = inflate.error
        self.verify = _verify
        if "awscrt" in accelerators and _has_awscrt():
            powmod = getattr(_installed("gmpy2", accelerators), "powmod", None)
            uncompress = partial(_uncompress_by_gmpy2, powmod) if powmod else _uncompress
            self.verify = partial(_verify_by_awscrt, uncompress)


def _installed(module: str, accelerators: Collection[str]) -> Any:
    if module.partition(".")[0] not in accelerators:
        return None
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def _b64decoder(base64: Any) -> Callable[[str | bytes], bytes]:
    decode = base64.b64decode
    return lambda text: decode(text, None, True)


def _b64decode(text: str | bytes) -> bytes:
    if len(text) % 4:  # strict mode overlooks padding after a full quad
        raise ValueError("base64: the length is no multiple of 4")
    return binascii.a2b_base64(text, strict_mode=True)


def _b64encode(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _public_key(curve: Curve, point: bytes) -> ec.EllipticCurvePublicKey:
    if len(point) != curve.point_bytes:
        raise ValueError("only compressed points are written")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, point)
    except UnsupportedAlgorithm:
        raise ValueError("the library has no such curve") from None


def _verify(curve: Curve, point: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        _public_key(curve, point).verify(signature, signed, curve.algorithm)
    except InvalidSignature:
        return False
    return True


def _has_awscrt() -> bool:
    from importlib.util import find_spec  # noqa: PLC0415 - seldom needed

    return find_spec("awscrt") is not None


def _uncompress(curve: Curve, point: bytes) -> bytes:
    return _public_key(curve, point).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _uncompress_by_gmpy2(
    powmod: Callable[[int, int, int], int], curve: Curve, point: bytes
) -> bytes:
    """Like `_uncompress`. Both primes are 3 modulo 4, so a root is a power (SEC 1, 2.3.4)."""
    x, p = int.from_bytes(point[1:]), curve.prime
    if len(point) != curve.point_bytes or point[0] not in (2, 3) or x >= p:
        raise ValueError("no compressed point of the curve")
    square = (x * x * x - 3 * x + curve.b) % p
    y = int(powmod(square, (p + 1) // 4, p))
    if y * y % p != square:
        raise ValueError("the point is not on the curve")
    if y % 2 != point[0] % 2:
        y = p - y
    return b"\4" + point[1:] + y.to_bytes(len(point) - 1)


def _verify_by_awscrt(
    uncompress: Callable[[Curve, bytes], bytes],
    curve: Curve,
    point: bytes,
    signature: bytes,
    signed: bytes,
) -> bool:
    """Like `_verify`; the library takes no compressed points."""
    key = _awscrt_ec().new_key_from_der_data(curve.spki + uncompress(curve, point))
    return bool(key.verify(curve.digest(signed).digest(), signature))


@cache
def _awscrt_ec() -> Any:
    from awscrt.crypto import EC  # noqa: PLC0415 - slow to load, and most messages are unsigned

    return EC


primitives = Primitives()
"""The primitives of this process."""
