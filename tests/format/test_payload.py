import gzip
import json
import random
import tracemalloc
import zlib

import msgspec
import pytest

from dastream.errors import PayloadError
from dastream.format.limits import Limits
from dastream.format.payload import gunzip, parse
from dastream.line import Head
from support import CLUSTER, HEARTBEAT, INSTANCE, compact, entry, payload

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

MIB = 1024 * 1024

SMALL, LARGE = b"text", random.Random(0).randbytes(9_000) * 2


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


def test_small_record_that_is_a_bomb_does_not_take_more_than_it_may():
    data = gzip.compress(bytes(30 * MIB))
    assert len(data) < 32 * 1024

    tracemalloc.start()
    try:
        assert len(gunzip(data)) == 30 * MIB
        assert tracemalloc.get_traced_memory()[1] < 100 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("said", [0, 1, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("text", [bytes(1000), LARGE])
def test_trailer_that_lies_about_the_size_is_refused_and_never_believed(text, said):
    data = gzip.compress(text)

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


@pytest.mark.parametrize("size", [1, 4_000, 5_000, 31_000, 33_000, 100_000])
def test_payload_of_any_size_comes_back(size):
    """Some are decompressed at once, others in pieces."""
    text = random.Random(size).randbytes(size)

    assert gunzip(gzip.compress(text)) == text
    assert gunzip(gzip.compress(text), Limits(payload_bytes_max=size)) == text
    with pytest.raises(PayloadError, match="more than"):
        gunzip(gzip.compress(text), Limits(payload_bytes_max=size - 1))


def test_payload_of_many_pieces_comes_back():
    text = bytes(range(256)) * (40 * MIB // 256)

    assert gunzip(gzip.compress(text, 1)) == text


@pytest.mark.parametrize("size", [101, 100_000])
def test_payload_beyond_the_bound_is_refused_and_not_cut(size):
    with pytest.raises(PayloadError, match="more than 100 bytes"):
        gunzip(gzip.compress(bytes(size)), Limits(payload_bytes_max=100))


@pytest.mark.parametrize("text", [payload([entry()]), LARGE])
def test_truncations_are_refused(text):
    data = gzip.compress(text)

    for length in range(0, len(data), 1 + len(data) // 1000):
        with pytest.raises(PayloadError):
            gunzip(data[:length])


@pytest.mark.parametrize(
    "garbage",
    [b"\0", b"text", gzip.compress(b"another member")],
    ids=["zero", "text", "another member"],
)
@pytest.mark.parametrize("text", [SMALL, LARGE])
def test_bytes_after_the_gzip_data_are_refused(text, garbage):
    data = gzip.compress(text)

    for more in (garbage, data[-8:], data):
        with pytest.raises(PayloadError, match="after the end"):
            gunzip(data + more)


@pytest.mark.parametrize("data", [b"{}", zlib.compress(b"text"), bytes(100)])
def test_bytes_that_are_not_gzip_are_refused(data):
    with pytest.raises(PayloadError, match="not gzip"):
        gunzip(data)


@pytest.mark.parametrize("text", [SMALL, LARGE])
def test_wrong_check_sum_is_refused(text):
    data = bytearray(gzip.compress(text))
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


def test_unknown_members_have_a_bound():
    for size in (0, 64 * 1024 - 500):
        assert parse(payload([HEARTBEAT], note="x" * size)).more.keys() == {"note"}
    with pytest.raises(PayloadError, match="more than 65536 bytes of unknown members") as caught:
        parse(payload([HEARTBEAT], note="x" * 64 * 1024))
    assert "DASTREAM_MORE_BYTES_MAX" in caught.value.hint


def test_entries_do_not_count_to_the_unknown_members():
    assert parse(payload([entry("x" * 1_000_000)], region="eu").replace(b"[", b"[ ")).more


@pytest.mark.parametrize("name", ["clusterId", "instanceId"])
def test_id_that_is_too_long_for_one_is_refused(name):
    assert len(parse(payload([HEARTBEAT], **{name: "x" * 128})).entries) == 1
    for odd in ({}, {"region": "eu"}):
        with pytest.raises(PayloadError, match=f"{name} is missing, of another type or too long"):
            parse(payload([HEARTBEAT], **{name: "x" * 129}, **odd))


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


@pytest.mark.parametrize(
    "odd", [*LONE, b"5", b"null", b"{}", b'{ "a":1}', b'{"a":1\n}', b'{"a":1\r}']
)
def test_members_are_read_together_only_where_all_entries_are_plain(odd):
    good = compact(entry())

    assert [m.dbUserName for m in parse(listed(good, good)).plain_members] == ["davide"] * 2
    assert parse(listed(good, odd)).plain_members is None


HEAD = b'{"type":"DatabaseActivityMonitoringRecord","databaseActivityEventList":'
TRICKY = [
    HEAD + b"""[{"a":"}"}]}""",
    HEAD + b"""[{"a":"},{"},{"b":"{"}]}""",
    HEAD + b"""[{"a":"},{"},{"b":"}]}"}]}""",
    HEAD + b"""[{"a":{"b":1}},{"c":[{"d":1},{"e":1}]}]}""",
    HEAD + b"""[{"a":1}, {"b":1}]}""",
    HEAD + b"""[{"a":1} ,{"b":1}]}""",
    HEAD + b"""[ {"a":1}]}""",
    HEAD + b"""[{"a":1}] }""",
    HEAD + b"""[{"a":1}],"clusterId":"x"}""",
    HEAD + b"""[{"a":1}],"clusterId":"}]}"}""",
    HEAD + b"""[{"a":1}],"databaseActivityEventList":[{"b":1}]}""",
    HEAD[:-2] + b"""" :[{"a":1}]}""",
    HEAD.replace(b'"d', b'"clusterId":"12345{","d') + b"""[{"a":1}]}""",
    HEAD.replace(b'"da', b'"\\u0064a') + b"""[{"databaseActivityEventList":[{"b":1}]}]}""",
    HEAD.replace(b'"da', b'"\\u0064a') + b"""[{"databaseActivityEventList":["{"],"c":1}]}""",
    HEAD.replace(b'"da', b'"\\u0064a') + b"""[{"databaseActivityEventList":[]},{"c":1}]}""",
]


@pytest.mark.parametrize("text", TRICKY)
def test_entries_are_found_whatever_is_in_them_or_around_them(text):
    raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])["databaseActivityEventList"]
    entries = [bytes(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]

    assert parse(text).entries == entries


@pytest.mark.parametrize("length", range(40))
def test_list_whose_name_is_written_otherwise_is_not_taken_to_begin_anywhere_else(length):
    begin = b'{"clusterId":"%b{",' % (b"x" * length)
    text = begin + HEAD[1:].replace(b'"da', b'"\\u0064a') + b'[{"a":1}]}'

    assert parse(text).entries == [b'{"a":1}']


@pytest.mark.parametrize("name", [*Head.__struct_fields__, "entry", "e\\u006egine"])
def test_entry_with_a_name_of_ours_is_not_plain(name):
    odd = b'{"%b":null}' % name.encode()

    assert parse(listed(odd)).plain_members is None
    assert parse(listed(b'{"a":%b}' % odd)).plain_members is not None


@pytest.mark.parametrize("one", [b"5", b'{"a":1}', b'{"a":{}}', b'{ "a":1}'])
def test_number_of_entries_has_a_bound(one):
    assert len(parse(listed(*[one] * 7), Limits(entries_max=7)).entries) == 7
    with pytest.raises(PayloadError, match="more than 7 entries") as caught:
        parse(listed(*[one] * 8), Limits(entries_max=7))
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


@pytest.mark.parametrize("value", [b"5", b'"a"', b'{"a":"b"}'])
def test_values_are_counted_to_the_last_one(value):
    one = listed(*[value] * 97)
    assert one.count(b",") == 99

    assert len(parse(one, Limits(values_max=100)).entries) == 97
    with pytest.raises(PayloadError, match="more than 99 values"):
        parse(one, Limits(values_max=99))


@pytest.mark.parametrize("text", [",", '",', '\\",\\', '",\\'])
def test_commas_in_a_text_are_no_values(text):
    entries = [compact(entry(text * 1_000)), b"{}"]
    limits = Limits(values_max=40)
    assert listed(*entries).count(b",") > 500

    assert parse(listed(*entries), limits).entries == entries
    with pytest.raises(PayloadError, match="more than 40 values"):
        parse(listed(*entries, *[b"{}"] * 20), limits)


@pytest.mark.parametrize("text", [rb"\",", b'"",', b'",', rb"\,", b","])
def test_texts_without_an_end_are_refused_and_no_byte_of_them_is_read_twice(text):
    data = payload([]).removesuffix(b"]}") + b'"' + text * 2_000_000 + b"\\"

    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            parse(data, Limits(values_max=100_000))
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()


def test_texts_are_values_even_if_nothing_is_between_them():
    data = listed(b'"%b"' % (b"," * 100), b'""' * 100)

    with pytest.raises(PayloadError, match="more than 40 values"):
        parse(data, Limits(values_max=40))


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
