import gzip
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream import decode_record, line
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.line import Head
from dastream.record import Position
from support import (
    ARRIVAL_MS,
    ARRIVAL_TIME,
    CLUSTER,
    INSTANCE,
    SHARD,
    STREAM,
    compact,
    encrypt,
    entry,
    envelope,
    payload,
    record,
    unwrap,
)

ENGINE = ENGINES["postgresql"]
HERE = Origin(
    ENGINE,
    cluster_id=CLUSTER,
    instance_id=INSTANCE,
    position=Position(STREAM, SHARD, "49590338271490256608559692538361571095921575989136588898"),
    arrival_ms=ARRIVAL_MS,
)
OURS = Head.__struct_fields__

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.one_of(
    TEXTS,
    st.sampled_from([*OURS, "entry", "entry.x", "entry.entry", "entry.eventId", "entryX", 'e"{']),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.sampled_from(["{", '"', "\\", "}\n{"]),
    lambda values: st.lists(values) | st.dictionaries(NAMES, values),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, VALUES)
MORE = st.none() | st.dictionaries(TEXTS, VALUES, min_size=1)


def as_written(value, *, spaced, ascii_only):
    """The bytes of a JSON value, as some engine might write them."""
    indent, separators = (2, (" ,", " : ")) if spaced else (None, (",", ":"))
    return json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only).encode()


def event(data, origin=HERE):
    return Event("0a1b-3", data, origin)


def without_breaks(data):
    return data.replace(b"\n", b"").replace(b"\r", b"")


@given(OBJECTS | VALUES, st.booleans(), st.booleans(), MORE)
def test_any_entry_comes_back_from_a_line_that_is_one_line_of_json(value, spaced, ascii_only, more):
    data = as_written(value, spaced=spaced, ascii_only=ascii_only)
    raw_more = None if more is None else as_written(more, spaced=spaced, ascii_only=ascii_only)
    origin = Origin(ENGINE, more=raw_more)

    written = line.write(event(data, origin))

    assert b"\n" not in written
    assert b"\r" not in written
    members = json.loads(written, object_pairs_hook=_no_name_twice)
    assert members["eventId"] == "0a1b-3"
    assert members.get("more") == more
    assert line.parse(written).entry == without_breaks(data)
    assert line.parse(written).head.eventId == "0a1b-3"


@given(OBJECTS)
def test_members_keep_their_names_unless_the_name_is_ours(value):
    written = json.loads(line.write(event(compact(value))))
    is_renamed = not value.keys().isdisjoint({*OURS, "entry"})

    assert written.get("renamed", False) is is_renamed
    for name, member in value.items():
        is_other = is_renamed and (name in OURS or name.startswith("entry"))
        assert written[f"entry.{name}" if is_other else name] == member
    assert len(written) == len(value) + len(OURS) - 2 + is_renamed  # `more` is left out


def _no_name_twice(pairs):
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_line_has_our_members_first_and_then_the_bytes_of_the_entry():
    data = b'{"logTime" : "2026-11-23",\t"rowCount":1.50,"b":{"eventId":[]}}'

    assert line.write(event(data)) == (
        b'{"eventId":"0a1b-3","clusterId":"%b","instanceId":"%b","shardId":"%b",'
        b'"sequenceNumber":"49590338271490256608559692538361571095921575989136588898",'
        b'"arrivalTime":"%b","engine":"postgresql",'
        b'"logTime" : "2026-11-23",\t"rowCount":1.50,"b":{"eventId":[]}}'
    ) % (CLUSTER.encode(), INSTANCE.encode(), SHARD.encode(), ARRIVAL_TIME.encode())


def test_what_a_path_does_not_know_is_null():
    head = json.loads(line.write(event(b"{}", Origin(ENGINE))))

    assert head == dict.fromkeys(OURS[:-2]) | {"eventId": "0a1b-3", "engine": "postgresql"}


def test_unknown_members_of_the_record_stand_under_more():
    origin = Origin(ENGINE, more=b'{"envelope":{"region":\r\n "eu"}}')

    written = line.write(event(b'{"more":1}', origin))

    assert json.loads(written)["more"] == {"envelope": {"region": "eu"}}
    assert b"\n" not in written
    assert line.parse(written).entry == b'{"more":1}'


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"{}", b'"postgresql"}'),
        (b"{ }", b'"postgresql" }'),
        (b"{\n}", b'"postgresql"}'),
        (b"5", b'"postgresql","entry":5}'),
        (b'"text"', b'"postgresql","entry":"text"}'),
        (b"null", b'"postgresql","entry":null}'),
        (b'[{"eventId":1}]', b'"postgresql","entry":[{"eventId":1}]}'),
        (b'{"entry":5}', b'"postgresql","renamed":true,"entry.entry":5}'),
        (b'{"entry.eventId":5}', b'"postgresql","entry.eventId":5}'),
        (b'{"renamed":1}', b'"postgresql","renamed":true,"entry.renamed":1}'),
        (
            b'{"more":1,"entry.more":2,"entryX":3}',
            b'"postgresql","renamed":true,"entry.more":1,"entry.entry.more":2,"entry.entryX":3}',
        ),
        (b'{"a":"\\ud800"}', b'"postgresql","a":"\\ud800"}'),
        (b'{"engine":"\\ud800"}', b'"postgresql","renamed":true,"entry.engine":"\\ud800"}'),
        (
            b'{"entry\\ud800":1,"entry":2}',
            b'"postgresql","renamed":true,"entry.entry\\ud800":1,"entry.entry":2}',
        ),
        (b'"\\udfff\\ud83d\\ude00"', b'"postgresql","entry":"\\udfff\\ud83d\\ude00"}'),
        (b'{"event\\u0049d":5}', b'"postgresql","renamed":true,"entry.event\\u0049d":5}'),
        (b'{"\\u0065ntry":5}', b'"postgresql","renamed":true,"entry.\\u0065ntry":5}'),
        (
            b'{"shardId" :"\\"eventId\\":"}',
            b'"postgresql","renamed":true,"entry.shardId" :"\\"eventId\\":"}',
        ),
        (
            b'{"a":{"engine":1},"engine":2}',
            b'"postgresql","renamed":true,"a":{"engine":1},"entry.engine":2}',
        ),
        (b'{"a":"engine","engineX":2}', b'"postgresql","a":"engine","engineX":2}'),
    ],
)
def test_entry_is_written_and_read_back_byte_for_byte(data, end):
    written = line.write(event(data))

    assert written.endswith(end)
    assert line.parse(written).entry == without_breaks(data)


def test_events_become_lines_one_after_the_other():
    events = [event(b'{"a":1}'), event(b"5", Origin(ENGINE)), event(b'{"more":1}')]

    assert line.text(events) == b"".join(line.write(one) + b"\n" for one in events)
    assert b"".join(line.texts(events)) == line.text(events)
    assert line.text([]) == b""


def test_lines_are_not_all_in_memory_at_once():
    events = iter([event(b'{"a":1}')] * 1000)

    next(line.texts(events))

    assert len(list(events)) == 1000 - line.EVENTS_AT_ONCE


@given(OBJECTS, st.booleans(), st.booleans())
def test_plain_entries_are_taken_over_as_any_other(value, spaced, ascii_only):
    """What decode has looked at already gives the same line as what it has not."""
    data = as_written(value, spaced=spaced, ascii_only=ascii_only)
    (decoded,) = entries_of(data)

    assert line.write(decoded) == line.write(Event(decoded.id, data, decoded.origin))


def entries_of(*entries):
    data = payload([]).replace(b"[]", b"[" + b",".join(entries) + b"]")
    return decode_record(record(envelope(encrypt(gzip.compress(data)))), unwrap)


def test_head_comes_back():
    head = line.parse(line.write(event(compact(entry())))).head

    assert (head.clusterId, head.instanceId, head.shardId) == (CLUSTER, INSTANCE, SHARD)
    assert (head.arrivalTime, head.engine, head.more) == (
        ARRIVAL_TIME,
        "postgresql",
        msgspec.UNSET,
    )


@pytest.mark.parametrize(
    "text", [b"", b"text", b"{}", b"[]", b'{"eventId":1}', b'{ "eventId":"0-0"}', b'{"a":1}']
)
def test_line_of_another_maker_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\w"):
        line.parse(text)
