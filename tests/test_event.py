import logging

import pytest

from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from support import HEARTBEAT, compact, entry

ORIGIN = Origin(ENGINES["aurora-postgresql"])
SECRET = "SELECT pin FROM cards"  # stands in for what nobody may see


def event(**members):
    return Event("id-0", compact(entry(SECRET) | members), ORIGIN)


def test_replaced_member_leaves_nothing_of_the_old_value():
    old = event()
    assert old.columns.statement == SECRET  # decoded before, so a stale copy would show

    masked = old.replace(commandText="***", paramList=[])

    assert masked.columns.statement == "***"
    assert b"cards" not in masked.entry
    assert "cards" not in str([getattr(masked, name) for name in Event.__struct_fields__])


def test_replaced_members_stay_in_their_place_and_others_keep_their_bytes():
    old = Event("id-0", b'{"a":1.50,"commandText":"x","b":{"c" : [ ]}}', ORIGIN)

    assert old.replace(commandText=None).entry == b'{"a":1.50,"commandText":null,"b":{"c" : [ ]}}'
    assert old.replace(tag="new").entry.endswith(b',"tag":"new"}')


@pytest.mark.parametrize(
    "data",
    [
        b'{"commandText":"old","commandText":"old"}',
        b'{"command\\u0054ext":"old"}',
        b'{ "commandText"\n:\n"old" }',
    ],
)
def test_old_value_goes_however_its_name_was_written(data):
    assert Event("id-0", data, ORIGIN).replace(commandText=1).entry == b'{"commandText":1}'


def test_replacing_gives_another_event_of_the_same_id_and_origin():
    old = event()
    new = old.replace(commandText="x")

    assert (new.id, new.origin) == (old.id, old.origin)
    assert old.columns.statement == SECRET


def test_nothing_of_an_event_can_be_set():
    one = event()

    for name in Event.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(one, name, None)
    assert one.columns.statement == SECRET


def test_members_and_columns_are_decoded_once():
    one = event()

    assert one.members is one.members
    assert one.columns is one.columns


@pytest.mark.parametrize(
    "data", [b"5", b"[]", b"null", b'"text"', b"garbage", b"", b'{"a":', b"{" * 10_000]
)
def test_entry_that_is_no_object_has_no_members_to_replace(data):
    with pytest.raises(TypeError, match="not a JSON object"):
        Event("id-0", data, ORIGIN).replace(commandText="x")


def test_neither_repr_nor_a_log_line_shows_the_entry(caplog):
    logging.getLogger("test").warning("%s %r %s", event(), event(), [event()])

    assert repr(event()) == "<Event id-0>"
    assert "cards" not in caplog.text


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (compact(HEARTBEAT), "heartbeat"),
        (compact(entry()), "activity"),
        (b"{}", "activity"),
        (b"5", "activity"),
        (b'{"type":null}', "activity"),
        (b'{"type":["heartbeat"]}', "activity"),
        (b'{"type":"HEARTBEAT"}', "activity"),
    ],
)
def test_only_the_type_makes_a_heartbeat(data, kind):
    assert Event("id-0", data, ORIGIN).kind == kind


def test_half_of_a_character_hides_neither_members_nor_columns():
    old = Event("id-0", b'{"type":"heartbeat","dbUserName":"eve","commandText":"\\ud83d"}', ORIGIN)

    assert (old.kind, old.members.dbUserName) == ("heartbeat", "eve")
    assert (old.columns.statement, old.columns.misfits) == ("\ufffd", ())
    assert old.replace(dbUserName="x").columns.user == "x"
