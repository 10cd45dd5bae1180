import base64
import json
import re

import pytest

from dastream.errors import DecryptError
from dastream.format import message
from dastream.format.limits import Limits
from dastream.format.message import decrypt, open_message
from support import DATA_KEY, SUITES, encrypt, key_provider, shared

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

SIGNED = [0x0214, 0x0346, 0x0378, 0x0578]
UNSIGNED = sorted(SUITES.keys() - set(SIGNED))
OTHER_KEY = bytes(32)
CONTEXT = {"b": "second", "a": "first", "ü": "third, by its UTF-8"}

every_suite = pytest.mark.parametrize("suite", SUITES, ids=hex)
signed_suites = pytest.mark.parametrize("suite", SIGNED, ids=hex)


@every_suite
@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 256, 1000])
def test_plaintext_of_any_length_comes_back(suite, size):
    plaintext = bytes(i % 251 for i in range(size))

    assert decrypt(encrypt(plaintext, suite=suite, frame_bytes=128), DATA_KEY) == plaintext


@pytest.mark.parametrize("frame_bytes", [128, 256, 384, 1 << 20])
def test_frames_may_be_short_and_long(frame_bytes):
    plaintext = bytes(i % 251 for i in range(300))

    sealed = encrypt(plaintext, frame_bytes=frame_bytes)

    assert decrypt(sealed, DATA_KEY) == plaintext


@pytest.mark.parametrize("suite", UNSIGNED, ids=hex)
def test_frame_length_is_believed_only_if_the_bytes_are_there(suite):
    sealed = bytearray(encrypt(bytes(300), suite=suite, frame_bytes=128))
    length_at = sealed.index((128).to_bytes(4))
    sealed[length_at : length_at + 4] = b"\xff" * 4

    with pytest.raises(DecryptError):
        decrypt(bytes(sealed), DATA_KEY)


def test_number_of_encrypted_keys_has_a_bound():
    provider = key_provider()
    for number in range(3):
        provider.add_master_key_provider(key_provider(OTHER_KEY, namespace=f"other {number}"))
    sealed = encrypt(b"text", provider=provider)

    assert open_message(sealed, DATA_KEY, limits=Limits(encrypted_keys_max=4)).plaintext == b"text"
    with pytest.raises(DecryptError, match="4 encrypted data keys") as caught:
        open_message(sealed, DATA_KEY, limits=Limits(encrypted_keys_max=3))
    assert "DASTREAM_ENCRYPTED_KEYS_MAX" in caught.value.hint


@every_suite
def test_encryption_context_may_be_as_long_as_its_length_can_tell(suite):
    context = {f"name {number}": "ü" * 1000 for number in range(30)}

    assert decrypt(encrypt(b"text", suite=suite, context=context), DATA_KEY) == b"text"


@every_suite
def test_encryption_context_is_part_of_what_is_authenticated(suite):
    sealed = encrypt(b"text", suite=suite, context=CONTEXT)

    assert decrypt(sealed, DATA_KEY) == b"text"
    with pytest.raises(DecryptError):
        decrypt(sealed.replace(b"second", b"sEcond"), DATA_KEY)


@every_suite
def test_message_id_is_the_one_of_the_header(suite):
    sealed = encrypt(b"text", suite=suite)
    expected = sealed[4:20] if sealed[0] == 1 else sealed[3:35]

    assert open_message(sealed, DATA_KEY).id == expected


@every_suite
def test_our_encrypted_data_key_is_found_behind_others(suite):
    provider = key_provider(OTHER_KEY, namespace="other", name="first")
    provider.add_master_key_provider(key_provider(OTHER_KEY, name="DataKex"))
    provider.add_master_key_provider(key_provider(OTHER_KEY))
    provider.add_master_key_provider(key_provider(DATA_KEY))
    # The SDK writes them in the order of a set, another one each time.
    written = [encrypt(b"text", provider=provider, suite=suite) for _ in range(20)]

    assert {decrypt(sealed, DATA_KEY) for sealed in written} == {b"text"}
    assert any(sealed.index(b"other") < sealed.index(b"DataKey") for sealed in written)


@every_suite
def test_another_data_key_does_not_open_it(suite):
    with pytest.raises(DecryptError, match="does not open under this data key") as caught:
        decrypt(encrypt(b"text", suite=suite), OTHER_KEY)

    assert caught.value.hint


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_data_key_of_another_size_is_refused(size):
    with pytest.raises(DecryptError, match=f"data key: {size} bytes"):
        decrypt(encrypt(b"text"), bytes(size))


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("bc", "DataKey"), ("BC", "DataKe"), ("BC", "DataKeyX"), ("", ""), ("RawMasterKey", "BC")],
)
def test_namespace_and_name_must_be_those_of_the_message(namespace, name):
    with pytest.raises(DecryptError, match="namespace and name"):
        decrypt(encrypt(b"text"), DATA_KEY, key_namespace=namespace, key_name=name)


def test_namespace_and_name_may_be_given():
    provider = key_provider(namespace="mine", name="too")

    sealed = encrypt(b"text", provider=provider)

    assert decrypt(sealed, DATA_KEY, key_namespace="mine", key_name="too") == b"text"


@every_suite
def test_bytes_after_the_end_are_refused(suite):
    with pytest.raises(DecryptError, match="message: 1 bytes after its end"):
        decrypt(encrypt(b"text", suite=suite) + b"\0", DATA_KEY)


@pytest.mark.parametrize("suite", UNSIGNED, ids=hex)
def test_footer_on_an_unsigned_message_is_refused(suite):
    footer = encrypt(b"text", suite=0x0378)[-105:]

    with pytest.raises(DecryptError, match="after its end"):
        decrypt(encrypt(b"text", suite=suite) + footer, DATA_KEY)


@signed_suites
def test_missing_footer_is_refused(suite):
    with pytest.raises(DecryptError, match="too early"):
        decrypt(_without_footer(encrypt(b"text", suite=suite)), DATA_KEY)


@signed_suites
def test_footer_of_another_message_is_refused(suite):
    sealed, other = encrypt(b"text", suite=suite), encrypt(b"text", suite=suite)
    footer = other[len(_without_footer(other)) :]

    with pytest.raises(DecryptError, match="signature does not hold"):
        decrypt(_without_footer(sealed) + footer, DATA_KEY)


@signed_suites
def test_signed_message_gives_no_plaintext_if_only_its_last_byte_is_wrong(suite):
    sealed = bytearray(encrypt(b"text", suite=suite))
    sealed[-1] ^= 1

    with pytest.raises(DecryptError, match="footer: the signature does not hold") as caught:
        decrypt(bytes(sealed), DATA_KEY)

    assert "text" not in repr(caught.value)


def test_public_key_on_an_unsigned_message_is_refused():
    """As the SDK does: a signature that is announced cannot be taken away."""
    sealed = bytearray(encrypt(b"text", suite=0x0378))
    sealed[2:4] = (0x0178).to_bytes(2)

    with pytest.raises(DecryptError, match="public key in an unsigned message"):
        decrypt(bytes(sealed), DATA_KEY)


@every_suite
def test_every_truncation_is_refused(suite):
    sealed = encrypt(bytes(130), suite=suite, frame_bytes=128)

    for length in range(len(sealed)):
        with pytest.raises(DecryptError):
            decrypt(sealed[:length], DATA_KEY)


@every_suite
def test_every_single_flipped_bit_is_refused(suite):
    sealed = encrypt(b"text", suite=suite)

    accepted = [bit for bit in range(8 * len(sealed)) if _opens(_flipped(sealed, bit))]

    assert accepted == []


def test_frames_must_be_in_order():
    sealed = encrypt(bytes(256), frame_bytes=128)
    body = sealed.index(b"\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1")
    frame = 4 + 12 + 128 + 16
    first, second = sealed[body : body + frame], sealed[body + frame : body + 2 * frame]

    with pytest.raises(DecryptError, match="frame 2 where 1 should be"):
        decrypt(sealed[:body] + second + first + sealed[body + 2 * frame :], DATA_KEY)
    with pytest.raises(DecryptError, match="frame 1 where 2 should be"):
        decrypt(sealed[:body] + first + first + sealed[body + 2 * frame :], DATA_KEY)


@pytest.mark.parametrize("suite_id", [0x0000, 0x0015, 0x0278, 0x0478, 0x0578, 0xFFFF])
def test_other_suites_of_version_1_are_refused_by_name(suite_id):
    sealed = encrypt(b"text")

    with pytest.raises(DecryptError, match=f"unknown algorithm suite 0x{suite_id:04x}"):
        decrypt(sealed[:2] + suite_id.to_bytes(2) + sealed[4:], DATA_KEY)


@pytest.mark.parametrize("suite_id", [0x0014, 0x0178, 0x0378, 0x0678])
def test_other_suites_of_version_2_are_refused_by_name(suite_id):
    sealed = encrypt(b"text", suite=0x0478)

    with pytest.raises(DecryptError, match=f"0x{suite_id:04x} in version 2"):
        decrypt(sealed[:1] + suite_id.to_bytes(2) + sealed[3:], DATA_KEY)


@every_suite
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_message_of_one_block_comes_back(suite, size):
    plaintext = bytes(i % 251 for i in range(size))

    assert decrypt(encrypt(plaintext, suite=suite, frame_bytes=0), DATA_KEY) == plaintext


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\3", b"{}", b"\1\x81", b"\1\x80\1\x78", b"\x1f\x8b"]
)
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(DecryptError):
        decrypt(data, DATA_KEY)


def test_errors_hold_neither_key_nor_plaintext():
    sealed = encrypt(b"SELECT secret", suite=0x0378)

    for bit in range(0, 8 * len(sealed), 97):
        with pytest.raises(DecryptError) as caught:
            decrypt(_flipped(sealed, bit), DATA_KEY)
        told = f"{caught.value} {caught.value.hint} {caught.value!r}"
        assert "secret" not in told
        assert re.fullmatch(r"[\x20-\x7e]+", told)


def _commitment_vectors():
    file = shared("vectors/commitment-test-vectors.json")
    if not file.exists():
        reason = (
            f"the official commitment vectors are not in {file.parent.name}/ of the shared files"
        )
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    vectors = json.loads(file.read_bytes())["tests"]
    return [pytest.param(vector, id=vector["comment"].split(".")[0]) for vector in vectors]


@pytest.mark.parametrize("vector", _commitment_vectors())
def test_official_commitment_vector_is_opened_or_refused_as_it_says(vector, monkeypatch):
    """Most name a KMS key, and all carry the message key: so only its unwrapping is left out."""
    sealed = base64.b64decode(vector["ciphertext"])
    message_key = base64.b64decode(vector["decrypted-dek"])
    monkeypatch.setattr(message, "_unwrap", lambda *_: message_key)

    if vector["status"]:
        opened = open_message(sealed, DATA_KEY)
        assert opened.plaintext == "".join(vector["plaintext-frames"]).encode()
        assert opened.id == base64.b64decode(vector["message-id"])
    else:
        with pytest.raises(DecryptError, match="commits to another key"):
            open_message(sealed, DATA_KEY)


def _without_footer(sealed):
    for length in range(len(sealed) - 2, 0, -1):
        if int.from_bytes(sealed[length : length + 2]) == len(sealed) - length - 2:
            return sealed[:length]
    raise AssertionError("no footer")


def _flipped(sealed, bit):
    altered = bytearray(sealed)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def _opens(sealed):
    try:
        decrypt(sealed, DATA_KEY)
    except DecryptError:
        return False
    return True
