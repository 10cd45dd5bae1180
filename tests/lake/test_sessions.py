"""A session from its login to its end, and sessions that share an id."""

from datetime import timedelta

import msgspec

import lakes
from dastream.lake.order import Match
from dastream.lake.sessions import part

MINUTE = timedelta(minutes=1)


def events(first, *commands, start=lakes.MORNING, **members):
    return [
        lakes.event(
            first + number,
            None if command in ("CONNECT", "DISCONNECT") else "SELECT 1",
            at=start + number * MINUTE,
            command=command,
            **members,
        )
        for number, command in enumerate(commands)
    ]


def sessions(some):
    return part(Match(event, []) for event in some)


def test_a_session_has_its_begin_its_statements_and_its_end():
    (session,) = sessions(events(1, "CONNECT", "SELECT", "UPDATE", "DISCONNECT"))
    assert (session.has_begin, session.has_end, len(session.statements)) == (True, True, 2)
    assert session.known("user") == "davide"


def test_what_is_missing_at_its_ends_is_not_claimed():
    (session,) = sessions(events(1, "SELECT", "SELECT"))
    assert (session.has_begin, session.has_end) == (False, False)


def test_a_login_and_what_comes_after_a_logout_begin_another_session():
    some = events(1, "CONNECT", "SELECT", "CONNECT", "SELECT", "DISCONNECT", "SELECT")
    assert [len(session.matches) for session in sessions(some)] == [2, 3, 1]


def test_another_client_is_another_session():
    some = events(1, "SELECT") + events(2, "SELECT", remotePort="1") + events(3, "SELECT")
    assert len(sessions(some)) == 3
    unknown = events(1, "SELECT") + events(2, "SELECT", remoteHost=None, remotePort=None)
    assert len(sessions(unknown)) == 1


def test_sessions_of_two_instances_are_told_apart_though_they_are_mixed():
    def at(instance, event):
        origin = msgspec.structs.replace(event.origin, instance_id=instance)
        return msgspec.structs.replace(event, origin=origin)

    some = [at(f"db-{n % 2}", event) for n, event in enumerate(events(1, *["SELECT"] * 6))]
    assert [s.instance_id for s in sessions(some)] == ["db-0", "db-1"]
    assert [len(s.matches) for s in sessions(some)] == [3, 3]
