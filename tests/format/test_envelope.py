import json

import pytest

from dastream.errors import EnvelopeError
from dastream.format.envelope import KEY_BYTES_MAX, parse
from dastream.format.limits import Limits
from support import compact, encrypt, envelope

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

MESSAGE = encrypt(b"text")


def altered(**members):
    return json.loads(envelope(MESSAGE)) | members


def without(name):
    members = json.loads(envelope(MESSAGE))
    del members[name]
    return compact(members)


def test_members_are_decoded_from_base64():
    parsed = parse(envelope(MESSAGE, key=b"wrapped"))

    assert (parsed.version, parsed.message, parsed.key, parsed.more) == (
        "1.1",
        MESSAGE,
        b"wrapped",
        {},
    )


def test_unknown_members_are_kept_as_they_are():
    parsed = parse(compact(altered(region="eu-west-1", list=[1, {"a": None}])))

    assert {name: bytes(raw) for name, raw in parsed.more.items()} == {
        "region": b'"eu-west-1"',
        "list": b'[1,{"a":null}]',
    }


def test_spaces_and_line_breaks_between_members_do_not_matter():
    assert parse(json.dumps(altered(), indent=2).encode()).message == MESSAGE


@pytest.mark.parametrize("name", ["type", "version", "databaseActivityEvents", "key"])
def test_missing_member_is_named(name):
    with pytest.raises(EnvelopeError, match=f"{name} is missing or not a string"):
        parse(without(name))


@pytest.mark.parametrize("name", ["type", "version", "databaseActivityEvents", "key"])
@pytest.mark.parametrize("value", [None, 1.1, True, ["x"], {"type": "x"}])
def test_member_of_another_type_is_named(name, value):
    with pytest.raises(EnvelopeError, match=f"{name} is missing or not a string"):
        parse(compact(altered(**{name: value})))


@pytest.mark.parametrize("type", ["", "DatabaseActivityMonitoringRecord", "Alarm"])
def test_type_of_something_else_is_refused_with_a_hint(type):
    with pytest.raises(EnvelopeError, match="the type is not that") as caught:
        parse(compact(altered(type=type)))

    assert "stream" in caught.value.hint


@pytest.mark.parametrize("name", ["databaseActivityEvents", "key"])
@pytest.mark.parametrize("text", ["a", "ab==c", "a b=", "ab-_", "YQ==\n", "YQ", "ü"])
def test_text_that_is_not_strictly_base64_is_refused(name, text):
    with pytest.raises(EnvelopeError, match=f"{name} is not base64"):
        parse(compact(altered(**{name: text})))


@pytest.mark.parametrize("size", [0, KEY_BYTES_MAX + 1])
def test_key_that_kms_cannot_have_written_is_refused(size):
    with pytest.raises(EnvelopeError, match="the key has no length"):
        parse(envelope(MESSAGE, key=bytes(size)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}{}",
        envelope(MESSAGE)[:-1],
        envelope(MESSAGE) + b"x",
        envelope(MESSAGE).replace(b"1.1", b"1.\xff"),
        envelope(MESSAGE).decode().encode("utf-16"),
        b'{"a":' * 100_000,
        b"\x1f\x8b\x08",
    ],
)
def test_bytes_that_are_no_json_object_are_refused(data):
    with pytest.raises(EnvelopeError):
        parse(data)


def test_invalid_utf8_in_an_unknown_member_is_refused():
    with pytest.raises(EnvelopeError, match="not a JSON object"):
        parse(envelope(MESSAGE)[:-1] + b',"more":"\xff"}')


def test_longer_data_than_any_record_is_refused_unread():
    with pytest.raises(EnvelopeError, match="longer than 100 bytes"):
        parse(bytes(101), Limits(envelope_bytes_max=100))


def with_unknown_bytes(size, **members):
    """An envelope with so many bytes beside the values of known members."""
    data = envelope(MESSAGE, note="", **members)
    known = sum(len(compact(json.loads(data)[name])) for name in json.loads(envelope(MESSAGE)))
    return data.replace(b'"note":""', b'"note":"%b"' % (b"x" * (size - len(data) + known)))


def test_unknown_members_have_a_bound():
    assert parse(with_unknown_bytes(64 * 1024)).more
    for data in (with_unknown_bytes(64 * 1024 + 1), with_unknown_bytes(9_000_000, x=1)):
        with pytest.raises(EnvelopeError, match="more than 65536 bytes of unknown") as caught:
            parse(data)
        assert "DASTREAM_MORE_BYTES_MAX" in caught.value.hint
    assert parse(with_unknown_bytes(70_000), Limits(more_bytes_max=70_000)).more


def test_long_message_does_not_count_to_the_unknown_members():
    parsed = parse(envelope(bytes(1_000_000), region="eu").replace(b"/", rb"\/"))

    assert (len(parsed.message), parsed.more.keys()) == (1_000_000, {"region"})
