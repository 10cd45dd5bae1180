"""Any JSON becomes an event with its bytes intact, whatever stands in its members."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream import line
from dastream.event import Columns, Event, Origin
from dastream.format import payload
from dastream.format.engines import ENGINES, TABLES, recognise
from dastream.transforms.filters import activity, no_service_users
from entries import BY_ENGINE
from support import compact
from support import payload as payload_of

every_engine = pytest.mark.parametrize("name", ENGINES)

MEMBERS = sorted({name for make in BY_ENGINE.values() for name in make()})

NUMBERS = st.sampled_from(
    (
        *(b"0", b"-0", b"-0.0", b"1.0", b"1e3", b"1E400", b"-1e-400", b"0.1e+1"),
        *(b"9" * 20, b"9" * 5000, b"1" + b"0" * 400 + b".5"),
        *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809"),
    )
) | st.integers().map(lambda number: str(number).encode())

STRINGS = st.sampled_from(
    (
        *(rb'""', rb'"\ud83d"', rb'"\udc00 x"', rb'"\ud83d\ude00"', rb'"\u0000"', rb'"\\ud83d"'),
        *(b'"AUX"', b'"MAIN"', b'"heartbeat"', b'"rdsadmin"', b'"LOGIN FAILED"', b'"NaN"'),
        *(b'"0"', b'"-1"', b'"2026-11-23 07:28:04.940668+00"', b'"9999-99-99 99:99:99.999999+00"'),
        *('"٣"'.encode(), b"\"'\\\\'\"", rb'"\"a\".\"b\""'),
    )
) | st.text(st.characters(exclude_categories=["Cs"])).map(compact)

SPACES = st.sampled_from([b"", b"", b" ", b"\t", b"\r\n"])


def _list(values):
    return st.builds(lambda items, s: b"[" + s + (s + b",").join(items) + b"]", values, SPACES)


def _object(pairs):
    members = pairs.map(lambda items: [name + b":" + value for name, value in items])
    return st.builds(lambda items, s: b"{" + s + (b"," + s).join(items) + s + b"}", members, SPACES)


def _nested(depth):
    return b"[" * depth + b"]" * depth


VALUES = st.recursive(
    st.sampled_from([b"null", b"true", b"false", _nested(100)]) | NUMBERS | STRINGS,
    lambda values: (
        _list(st.lists(values, max_size=4))
        | _object(st.lists(st.tuples(STRINGS, values), max_size=4))
    ),
    max_leaves=6,
)
NAMES = st.sampled_from([compact(name) for name in MEMBERS]) | STRINGS
ENTRIES = VALUES | _object(st.lists(st.tuples(NAMES, VALUES), max_size=8))  # with names twice


def without_breaks(data):
    return data.replace(b"\n", b"").replace(b"\r", b"")


@every_engine
@given(entry=ENTRIES)
def test_any_json_becomes_an_event_whose_columns_have_their_types(name, entry):
    event = Event("id-0", entry, Origin(ENGINES[name]))

    # The types are checked, and the numbers' 64 bits.
    assert msgspec.convert(msgspec.structs.asdict(event.columns), Columns, strict=True)
    for field in Columns.__struct_fields__:
        value = getattr(event.columns, field)
        assert not isinstance(value, int) or -(2**63) <= value < 2**63
        assert value != ""
    assert {"entry", *(member.name for member in TABLES[name].members.values())}.issuperset(
        event.columns.misfits
    )


@every_engine
@given(entry=ENTRIES)
def test_any_json_passes_the_filters_and_recognition(name, entry):
    event = Event("id-0", entry, Origin(ENGINES[name]))

    assert activity([event]) in ([], [event])
    assert no_service_users([event]) in ([], [event])
    assert recognise("1.1", [entry]).name in ENGINES


@given(entry=ENTRIES)
def test_bytes_of_any_json_come_back_from_the_delivered_line(entry):
    written = line.write(Event("id-0", entry, Origin(ENGINES["postgresql"])))

    assert b"\n" not in written
    assert line.parse(written).entry == without_breaks(entry)
    assert line.parse(written).head.eventId == "id-0"


@given(entries=st.lists(ENTRIES, max_size=4))
def test_bytes_of_any_json_come_out_of_the_payload_as_they_went_in(entries):
    data = payload_of([]).replace(b"[]", b"[" + b" ,\n".join(entries) + b"]")

    assert [bytes(entry) for entry in payload.parse(data).entries] == entries


@every_engine
@given(value=VALUES, member=st.sampled_from(MEMBERS))
def test_one_odd_value_leaves_the_columns_of_other_members_alone(name, value, member):
    """The pass over all members and the one by one agree, whichever an entry takes."""
    good = BY_ENGINE[name]()
    rest = {other: one for other, one in good.items() if other != member}
    written = compact(rest)[:-1] + b"," + compact(member) + b":" + value + b"}"
    made_of = {column for column, one in TABLES[name].members.items() if one.name == member} | {
        rule.column for rule in TABLES[name].rules
    }

    odd, plain = ENGINES[name].columns(written), ENGINES[name].columns(compact(good))

    assert odd.misfits in {(), (member,)}
    for column in set(Columns.__struct_fields__) - made_of - {"misfits"}:
        assert getattr(odd, column) == getattr(plain, column)


@every_engine
@given(first=VALUES, second=VALUES)
def test_of_a_member_that_stands_there_twice_the_last_counts(name, first, second):
    both = b'{"dbUserName":' + first + b',"pid":' + first + b',"dbUserName":' + second + b"}"
    last = b'{"pid":' + first + b',"dbUserName":' + second + b"}"

    assert ENGINES[name].columns(both) == ENGINES[name].columns(last)
