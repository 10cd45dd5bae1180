import gzip
import json
import tracemalloc
import zlib

import pytest

from dastream.errors import PayloadError
from dastream.format.limits import Limits
from dastream.format.payload import gunzip, parse
from dastream.line import Head
from support import CLUSTER, HEARTBEAT, INSTANCE, compact, entry, payload

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

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
        with pytest.raises(
            PayloadError, match=f"more than {Limits().payload_bytes_max} bytes"
        ) as caught:
            gunzip(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 100 * MIB
    assert "DASTREAM_PAYLOAD_BYTES_MAX" in caught.value.hint


@pytest.mark.parametrize("said", [0, 1, 2**31 - 1, 2**32 - 1])
def test_trailer_that_lies_about_the_size_is_refused_and_never_believed(said):
    data = gzip.compress(bytes(1000))

    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="not gzip, or damaged"):
            gunzip(data[:-4] + said.to_bytes(4, "little"))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_payload_up_to_the_bound_comes_back(size):
    assert gunzip(gzip.compress(bytes(size)), Limits(payload_bytes_max=100)) == bytes(size)


def test_payload_of_many_pieces_comes_back():
    text = bytes(range(256)) * (40 * MIB // 256)

    assert gunzip(gzip.compress(text, 1)) == text


@pytest.mark.parametrize("size", [101, 100_000])
def test_payload_beyond_the_bound_is_refused_and_not_cut(size):
    with pytest.raises(PayloadError, match="more than 100 bytes"):
        gunzip(gzip.compress(bytes(size)), Limits(payload_bytes_max=100))


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


def listed(*entries):
    return payload([]).replace(b"[]", b"[" + b",".join(entries) + b"]")


LONE = [
    rb'"\ud800"',
    rb'{"commandText":"cut \ud83d"}',
    rb'{"\udfff":{"a":["\uDE00\uD83D"]}}',
    rb'{"commandText":"\\ud800 \ud83d\ude00 \ud83d"}',
]


@pytest.mark.parametrize("odd", LONE)
def test_entry_with_half_a_character_keeps_its_bytes_and_costs_no_other_entry(odd):
    entries = [compact(entry()), odd, compact(HEARTBEAT)]

    assert parse(listed(*entries)).entries == entries


def test_unknown_member_with_half_a_character_keeps_its_bytes():
    text = payload([HEARTBEAT])[:-1] + rb',"zone":["\ud800"]}'

    assert bytes(parse(text).more["zone"]) == rb'["\ud800"]'


@pytest.mark.parametrize("odd", [*LONE, b"5", b"null", b"{}", b'{ "a":1}', b'{"a":1\n}'])
def test_members_are_read_together_only_where_all_entries_are_plain(odd):
    good = compact(entry())

    assert [m.dbUserName for m in parse(listed(good, good)).plain_members] == ["davide"] * 2
    assert parse(listed(good, odd)).plain_members is None


@pytest.mark.parametrize("name", [*Head.__struct_fields__, "entry", "e\\u006egine"])
def test_entry_with_a_name_of_ours_is_not_plain(name):
    odd = b'{"%b":null}' % name.encode()

    assert parse(listed(odd)).plain_members is None
    assert parse(listed(b'{"a":%b}' % odd)).plain_members is not None


def test_number_of_entries_has_a_bound():
    assert len(parse(listed(*[b"5"] * 7), Limits(entries_max=7)).entries) == 7
    with pytest.raises(PayloadError, match="more than 7 entries") as caught:
        parse(listed(*[b"5"] * 8), Limits(entries_max=7))
    assert "DASTREAM_ENTRIES_MAX" in caught.value.hint


@pytest.mark.parametrize("text", [b"5,", b"[],", b'{"a":1},'])
def test_millions_of_values_are_refused_without_taking_the_memory(text):
    data = payload([]).replace(b"[]", b"[" + text * 4_000_000 + b"5]")

    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="more than 1000000 values") as caught:
            parse(data)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert "DASTREAM_VALUES_MAX" in caught.value.hint


def test_one_entry_may_hold_many_values():
    big = b'{"a":[%b1]}' % (b"1," * 500_000)

    assert parse(listed(big, b"{}")).entries == [big, b"{}"]


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
    assert {name: bytes(raw) for name, raw in parsed.more.items()} == {"note": b'"\\udc00"'}


def test_half_of_a_character_stays_the_one_that_it_was_beside_a_list_that_looks_like_it():
    data = payload([], other=[]).replace(b"[]", b'["\\ud83d"]', 1)
    data = data.replace(b"[]", b'["\\ufffd"]')

    assert parse(data).entries == [b'"\\ud83d"']
