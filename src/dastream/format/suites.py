"""The algorithm suites of the AWS Encryption SDK.

Source: the AWS Encryption SDK specification, framework/algorithm-suites. All use AES-GCM with an
IV of 12 bytes and a tag of 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from dastream.format.hkdf import Hkdf
from dastream.format.primitives import Curve

__all__ = ["IV_BYTES", "SUITES", "TAG_BYTES", "Suite"]

IV_BYTES = 12
TAG_BYTES = 16

_SHA256, _SHA384, _SHA512 = Hkdf("sha256"), Hkdf("sha384"), Hkdf("sha512")

# Primes and b: NIST SP 800-186, section 3.2.1.
_P256 = Curve(
    ec.SECP256R1(),
    SHA256(),
    prime=2**256 - 2**224 + 2**192 + 2**96 - 1,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    spki="3059301306072a8648ce3d020106082a8648ce3d030107034200",
)
_P384 = Curve(
    ec.SECP384R1(),
    SHA384(),
    prime=2**384 - 2**128 - 2**96 + 2**32 - 1,
    b=0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    spki="3076301006072a8648ce3d020106052b81040022036200",
)


class Suite(NamedTuple):
    """An algorithm suite.

    `key_bytes` is the length of the message key and of the content key, `hkdf` makes the one of the
    other or is None where they are the same, `curve` is that of the signature or None.
    """

    id: int
    version: int
    key_bytes: int
    hkdf: Hkdf | None = None
    curve: Curve | None = None
    committed: bool = False


SUITES: Mapping[int, Suite] = {
    suite.id: suite
    for suite in (
        Suite(0x0014, 1, key_bytes=16),
        Suite(0x0046, 1, key_bytes=24),
        Suite(0x0078, 1, key_bytes=32),
        Suite(0x0114, 1, key_bytes=16, hkdf=_SHA256),
        Suite(0x0146, 1, key_bytes=24, hkdf=_SHA256),
        Suite(0x0178, 1, key_bytes=32, hkdf=_SHA256),
        Suite(0x0214, 1, key_bytes=16, hkdf=_SHA256, curve=_P256),
        Suite(0x0346, 1, key_bytes=24, hkdf=_SHA384, curve=_P384),
        Suite(0x0378, 1, key_bytes=32, hkdf=_SHA384, curve=_P384),
        Suite(0x0478, 2, key_bytes=32, hkdf=_SHA512, committed=True),
        Suite(0x0578, 2, key_bytes=32, hkdf=_SHA512, curve=_P384, committed=True),
    )
}
