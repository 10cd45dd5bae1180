import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from dastream.format.hkdf import Hkdf

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
every_hash = pytest.mark.parametrize("name", HASHES)


@every_hash
@given(
    key=st.binary(min_size=1, max_size=200),
    info=st.binary(max_size=200),
    salt=st.binary(max_size=64),
    length=st.integers(1, 32),
)
def test_derives_what_the_library_derives(name, key, info, salt, length):
    theirs = HKDF(HASHES[name], length, salt or None, info).derive(key)

    assert Hkdf(name).derive(key, info, length, salt=salt) == theirs


@pytest.mark.parametrize(
    ("key", "salt", "info", "derived"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        ("0b" * 22, "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
    ],
)
def test_cases_of_rfc_5869(key, salt, info, derived):
    key, salt, info = (bytes.fromhex(one) for one in (key, salt, info))

    assert Hkdf("sha256").derive(key, info, 32, salt=salt).hex() == derived


@every_hash
def test_no_derivation_leaves_a_trace_in_the_next(name):
    hkdf = Hkdf(name)
    first = hkdf.derive(b"key", b"info", 32)

    hkdf.derive(b"other", b"info", 32)

    assert hkdf.derive(b"key", b"info", 32) == first
