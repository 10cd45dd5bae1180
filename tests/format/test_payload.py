import gzip
import json
import tracemalloc
import zlib

import pytest

from dastream.errors import PayloadError
from dastream.format.payload import PAYLOAD_BYTES_MAX, gunzip, parse
from support import CLUSTER, HEARTBEAT, INSTANCE, compact, entry, payload

MIB = 1024 * 1024


def bomb(size):
    """`size` zeros in gzip: one compressed MiB again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size // MIB - 1)


def test_one_gib_of_zeros_fails_without_taking_the_memory():
    data = bomb(1024 * MIB)
    assert len(data) < 2 * MIB

    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match=f"more than {PAYLOAD_BYTES_MAX} bytes") as caught:
            gunzip(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 3 * PAYLOAD_BYTES_MAX
    assert "DASTREAM_PAYLOAD_BYTES_MAX" in caught.value.hint


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_payload_up_to_the_bound_comes_back(size):
    assert gunzip(gzip.compress(bytes(size)), bytes_max=100) == bytes(size)


@pytest.mark.parametrize("size", [101, 100_000])
def test_payload_beyond_the_bound_is_refused_and_not_cut(size):
    with pytest.raises(PayloadError, match="more than 100 bytes"):
        gunzip(gzip.compress(bytes(size)), bytes_max=100)


def test_every_truncation_is_refused():
    data = gzip.compress(payload([entry()]))

    for length in range(len(data)):
        with pytest.raises(PayloadError):
            gunzip(data[:length])


@pytest.mark.parametrize("garbage", [b"\0", b"text", gzip.compress(b"another member")])
def test_bytes_after_the_gzip_data_are_refused(garbage):
    with pytest.raises(PayloadError, match="after the end"):
        gunzip(gzip.compress(b"text") + garbage)


@pytest.mark.parametrize("data", [b"{}", zlib.compress(b"text"), bytes(100)])
def test_bytes_that_are_not_gzip_are_refused(data):
    with pytest.raises(PayloadError, match="not gzip"):
        gunzip(data)


def test_wrong_check_sum_is_refused():
    data = bytearray(gzip.compress(b"text"))
    data[-8] ^= 1

    with pytest.raises(PayloadError, match="damaged"):
        gunzip(bytes(data))


def test_entries_are_the_bytes_between_the_commas():
    text = payload([]).replace(b"[]", b'[ {"a" : 1.50} ,5]')

    assert [bytes(raw) for raw in parse(text).entries] == [b'{"a" : 1.50}', b"5"]


def test_ids_and_unknown_members_are_told():
    parsed = parse(payload([HEARTBEAT], region={"name": "eu"}))

    assert (parsed.cluster_id, parsed.instance_id) == (CLUSTER, INSTANCE)
    assert {name: bytes(raw) for name, raw in parsed.more.items()} == {"region": b'{"name":"eu"}'}


@pytest.mark.parametrize("nothing", [None, ""])
def test_blank_and_null_ids_are_none(nothing):
    parsed = parse(payload([], clusterId=nothing, instanceId=nothing))

    assert (parsed.cluster_id, parsed.instance_id, parsed.entries) == (None, None, [])


@pytest.mark.parametrize("name", ["type", "databaseActivityEventList"])
def test_missing_member_is_named(name):
    members = json.loads(payload([]))
    del members[name]

    with pytest.raises(PayloadError, match=f"{name} is missing"):
        parse(compact(members))


@pytest.mark.parametrize(
    "text",
    [
        payload([], type="DatabaseActivityMonitoringRecords"),
        payload([], type=1),
        payload({}),
        payload(None),
        payload("text"),
        payload([], clusterId=1),
        payload([], instanceId=["db-1"]),
        b"",
        b"[]",
        b"null",
        payload([])[:-1],
        payload([]) + b"x",
        payload([{"commandText": "ü"}]).decode().encode("latin-1"),
        payload([]).replace(b"[]", b'[{"commandText":"\xed\xa0\x80"}]'),
        payload([]).replace(b"[]", b"[" * 100_000 + b"]" * 100_000),
        payload([]).replace(b"[]", b'[{"a":NaN}]'),
    ],
)
def test_other_json_and_other_bytes_are_refused(text):
    with pytest.raises(PayloadError, match="payload: "):
        parse(text)


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_entries_may_be_nested_deeply(depth):
    value = b'{"a":' * depth + b"1" + b"}" * depth

    assert bytes(parse(payload([]).replace(b"[]", b"[" + value + b"]")).entries[0]) == value


def test_half_of_a_character_stays_as_it_was_written():
    entries = [b'{"a":"\\ud83d"}', b'"\\udE00"', b'{"a":"\\ufffd"}', b'{"a":"\\ud83d"}']
    data = (
        payload([], note="?")
        .replace(b"?", b"\\udc00")
        .replace(b"[]", b"[ " + b" ,\n".join(entries) + b"]")
    )

    parsed = parse(data)

    assert [bytes(entry) for entry in parsed.entries] == entries
    assert {name: bytes(raw) for name, raw in parsed.more.items()} == {"note": b'"\\ufffd"'}


def test_half_of_a_character_in_a_list_that_stands_there_twice_is_refused():
    # Which of the two places an entry is from could not be told.
    data = payload([], other=[]).replace(b"[]", b'["\\ud83d"]', 1)
    data = data.replace(b"[]", b'["\\ufffd"]')

    with pytest.raises(PayloadError, match="stands there twice"):
        parse(data)
