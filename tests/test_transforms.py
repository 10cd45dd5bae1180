import json
import sys
import time
from collections import Counter

import msgspec
import pytest

from dastream import line
from dastream.decode import Decoder
from dastream.errors import ConfigError, TransformError
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.transforms import DEFAULT, NamedTransform, apply, open_transforms
from support import HEARTBEAT, compact, entry, record, sealed, unwrap

ORIGIN = Origin(ENGINES["aurora-postgresql"])


def decoded(members):
    """An event as it comes out of a record."""
    return Decoder(unwrap)(record(sealed([members])))[0]


def event(members, engine="aurora-postgresql"):
    return Event("id-0", compact(members), Origin(ENGINES[engine]))


def by_user(user, engine="aurora-postgresql", **members):
    """What a user does, in MySQL on the server itself as its service's user does."""
    host = {"remoteHost": "localhost"} if engine == "aurora-mysql" else {}
    return event(entry(dbUserName=user) | host | members, engine)


def outcome(one, transforms=DEFAULT):
    """`kept`, or the name of the transform that dropped the event."""
    dropped = Counter()
    return "kept" if apply(transforms, [one], dropped) else next(iter(dropped))


def test_heartbeats_are_dropped_first_and_counted_by_name():
    dropped = Counter()

    kept = apply(DEFAULT, [event(HEARTBEAT), event(entry()), event(HEARTBEAT)], dropped)

    assert [one.kind for one in kept] == ["activity"]
    assert dropped == {"heartbeats": 2}


@pytest.mark.parametrize(
    ("engine", "user", "expected"),
    [
        ("aurora-postgresql", "rdsadmin", "service-users"),
        ("aurora-postgresql", "rdsproxyadmin", "service-users"),
        ("aurora-postgresql", "RDSADMIN", "kept"),  # a name in quotes is another user
        ("aurora-postgresql", "rdssec", "kept"),
        ("aurora-postgresql", "rdsadmin2", "kept"),
        ("aurora-postgresql", "davide", "kept"),
        ("aurora-postgresql", None, "kept"),
        ("aurora-postgresql", ["rdsadmin"], "kept"),
        ("postgresql", "rdsadmin", "kept"),
        ("aurora-mysql", "rdsadmin", "service-users"),
        ("aurora-mysql", "rdsproxyadmin", "service-users"),
        ("aurora-mysql", "RdsAdmin", "kept"),
        ("oracle", "RDSADMIN", "service-users"),
        ("oracle", "RDSSEC", "service-users"),
        ("oracle", "rdssec", "service-users"),
        ("oracle", "rdsproxyadmin", "kept"),
        ("sqlserver", "rdsadmin", "service-users"),
        ("oracle", "RDSADMIN2", "kept"),
        ("oracle", " RDSADMIN", "kept"),
        ("oracle", None, "kept"),
        ("aurora-mysql", "rdssec", "kept"),
        ("aurora-mysql", "", "kept"),
        ("sqlserver", "RdsSec", "service-users"),
        ("sqlserver", "rdsproxyadmin", "kept"),
    ],
)
def test_exactly_the_service_users_of_the_engine_are_dropped(engine, user, expected):
    assert outcome(by_user(user, engine)) == expected


@pytest.mark.parametrize(
    ("engine", "members"),
    [
        ("aurora-postgresql", {"command": "AUTH FAILURE", "class": "MISC"}),
        ("aurora-postgresql", {"command": "CONNECT", "errorMessage": "no pg_hba.conf entry"}),
        ("aurora-postgresql", {"command": "CONNECT", "exitCode": "28P01"}),
        ("aurora-mysql", {"command": "FAILED_CONNECT"}),
        ("aurora-mysql", {"command": "CONNECT", "exitCode": "1045"}),
        ("aurora-mysql", {"command": "CONNECT", "errorMessage": "Access denied"}),
        ("aurora-mysql", {"command": "CHANGEUSER", "exitCode": "1045"}),
        ("oracle", {"command": "LOGON", "exitCode": 1017}),
        ("oracle", {"command": "LOGON", "exitCode": "1017"}),
        ("sqlserver", {"command": "LOGIN FAILED", "exitCode": 0}),
        ("sqlserver", {"command": "DATABASE AUTHENTICATION FAILED", "exitCode": 0}),
    ],
)
def test_failed_login_of_a_service_user_is_kept(engine, members):
    assert outcome(by_user("rdsadmin", engine, **members)) == "kept"


@pytest.mark.parametrize(
    ("engine", "members"),
    [
        ("aurora-postgresql", {"command": "CONNECT", "class": "MISC"}),
        ("aurora-postgresql", {"command": "DISCONNECT", "exitCode": ""}),
        ("aurora-mysql", {"command": "CONNECT", "exitCode": "0", "errorMessage": ""}),
        ("aurora-mysql", {"command": "CHANGEUSER", "exitCode": "0", "errorMessage": ""}),
        ("aurora-mysql", {"command": "READ", "class": "AUX", "exitCode": "", "errorMessage": ""}),
        ("aurora-mysql", {"command": "QUERY", "exitCode": "1146", "errorMessage": "no table"}),
        ("oracle", {"command": "LOGON", "exitCode": 0}),
        ("oracle", {"command": "SELECT", "exitCode": 942}),
        ("sqlserver", {"command": "LOGIN SUCCEEDED", "exitCode": 1}),
        ("sqlserver", {"command": "SELECT", "exitCode": 0}),
        ("aurora-postgresql", {"command": "SELECT", "errorMessage": "division by zero"}),
    ],
)
def test_other_logins_and_failed_statements_of_a_service_user_are_dropped(engine, members):
    assert outcome(by_user("rdsadmin", engine, **members)) == "service-users"


@pytest.mark.parametrize(
    ("engine", "user", "host", "expected"),
    [
        ("aurora-mysql", "rdsadmin", "localhost", "service-users"),
        ("aurora-mysql", "rdsadmin", "127.0.0.1", "service-users"),
        ("aurora-mysql", "rdsadmin", "", "service-users"),
        ("aurora-mysql", "rdsadmin", None, "service-users"),
        ("aurora-mysql", "rdsadmin", "172.31.3.195", "kept"),
        ("aurora-mysql", "rdsadmin", "localhost.example.com", "kept"),
        ("aurora-mysql", "rdsadmin", ["localhost"], "kept"),
        ("aurora-mysql", "rdsadmin", 0, "kept"),
        ("aurora-mysql", "rdsproxyadmin", "172.31.3.195", "service-users"),
        ("aurora-postgresql", "rdsadmin", "172.31.3.195", "service-users"),
        ("oracle", "RDSADMIN", "172.31.3.195", "service-users"),
    ],
)
def test_service_user_of_mysql_from_another_host_is_somebody_else(engine, user, host, expected):
    assert outcome(by_user(user, engine, remoteHost=host)) == expected


def test_users_of_every_type_stand_beside_service_users():
    users = ["rdsadmin", ["rdsadmin"], {"a": 1}, 5, None, "davide", "rdsproxyadmin"]
    dropped = Counter()

    kept = apply(DEFAULT, [by_user(user) for user in users], dropped)

    assert [one.members.dbUserName for one in kept] == users[1:-1]
    assert dropped == {"service-users": 2}


every_engine = pytest.mark.parametrize("engine", ENGINES)
engines_without_classes = pytest.mark.parametrize("engine", ["aurora-mysql", "oracle", "sqlserver"])


@every_engine
def test_role_change_by_a_service_user_is_kept_by_its_class(engine):
    assert outcome(by_user("rdsadmin", engine, **{"class": "ROLE"})) == "kept"


@engines_without_classes
@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("QUERY", "GRANT ALL ON *.* TO eve"),
        ("QUERY", "  revoke select on t from eve"),
        ("QUERY", "/* a */ -- b\n# c\n create  user eve"),
        ("QUERY", "/*!50000 GRANT ALL ON *.* TO eve */"),
        ("QUERY", "/*M! /* a */ CREATE USER eve */"),
        ("QUERY", "ALTER/**/USER eve"),
        ("QUERY", "SET -- a\n/* b */ PASSWORD = 'x'"),
        ("QUERY", "SET/*a*/DEFAULT#b\nROLE/**/ALL TO eve"),
        ("QUERY", "/*!50000 CREATE*/ USER eve"),
        ("QUERY", "CREATE /*!50000 USER*/ eve"),
        ("QUERY", "ALTER ROLE eve SUPERUSER"),
        ("QUERY", "SET PASSWORD = 'x'"),
        ("QUERY", "rename user a to b"),
        ("QUERY", "REASSIGN OWNED BY a TO b"),
        ("ALTER", "ALTER SERVER ROLE sysadmin ADD MEMBER eve"),
        ("ADD MEMBER", "EXEC sp_addsrvrolemember 'eve', 'sysadmin'"),
        ("DROP MEMBER", None),
        ("CHANGE PASSWORD", None),
        ("CHANGE OWN PASSWORD", None),
        ("RESET PASSWORD", None),
        ("CREATE", "CREATE APPLICATION ROLE eve WITH PASSWORD = 'x'"),
        ("QUERY", "SET DEFAULT ROLE ALL TO eve"),
        ("CREATE LOGIN", None),
        ("CREATE USER", ""),
        ("ALTER PROFILE", None),
        ("GRANT", "(the text is cut)"),
    ],
)
def test_role_change_by_a_service_user_is_kept_by_command_or_text(engine, command, text):
    members = {"class": "MAIN", "command": command, "commandText": text}

    assert outcome(by_user("rdsadmin", engine, **members)) == "kept"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'GRANT'",
        "CREATE TABLE grants (a int)",
        "GRANTS",
        "ALTER TABLE user ADD x int",
        "-- GRANT ALL",
        "# GRANT ALL",
        "/* GRANT */ SELECT 1",
        "SET/**/PASSWORDS = 1",
        "ALTERUSER",
        "ALTER/* USER eve",
    ],
)
def test_what_only_mentions_a_role_change_is_dropped(text):
    members = {"command": "QUERY", "commandText": text}

    assert outcome(by_user("rdsadmin", "aurora-mysql", **members)) == "service-users"


def test_comments_without_end_take_no_time():
    comments = "/* " * 20_000 + "-- " * 20_000 + "\n" * 20_000
    text = comments + "ALTER" + comments + "SERVER" + comments
    started = time.process_time()

    assert outcome(by_user("rdsadmin", "aurora-mysql", commandText=text)) == "service-users"
    assert time.process_time() - started < 1


def test_transforms_run_in_their_order_and_the_rest_is_skipped_after_a_drop():
    seen = []

    def keep(one):
        seen.append("keep")
        return one.replace(tag="x")

    def drop(one):
        seen.append(one.entry[-10:])

    dropped = Counter()
    chain = [NamedTransform("keep", keep), NamedTransform("drop", drop), NamedTransform("z", drop)]

    assert apply(chain, [event(entry())], dropped) == []
    assert seen == ["keep", b'"tag":"x"}']
    assert dropped == {"drop": 1}


def test_no_transforms_let_everything_through():
    events = [event(HEARTBEAT), by_user("rdsadmin")]

    assert apply((), events, Counter()) == events


def test_raising_transform_is_told_by_name_and_type_without_its_text():
    def mask(one):
        raise ValueError(f"cannot mask {one.entry!r}")

    with pytest.raises(TransformError) as caught:
        apply([NamedTransform("my:mask", mask)], [event(entry("SELECT secret"))], Counter())

    assert str(caught.value) == "transform my:mask: raised ValueError"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("result", [True, False, [], "text"])
def test_transform_that_returns_no_event_is_a_transform_error(result):
    chain = [NamedTransform("mine", lambda _: result)]

    with pytest.raises(TransformError, match=r"transform mine: returned \w+ instead of an event"):
        apply(chain, [event(entry())], Counter())


@pytest.mark.parametrize(
    "made",
    [
        Event("id-0", json.dumps(entry()), ORIGIN),
        Event("id-0", bytearray(b"{}"), ORIGIN),
        Event("id-0", b"garbage", ORIGIN),
        Event("id-0", b'{"a":1}{', ORIGIN),
        Event("id-0", b'"***"', ORIGIN),
        Event("id-0", b'{"a":"\xff"}', ORIGIN),
        Event("id-0", b'{"a":' * 100_000, ORIGIN),
        Event("id-0", b"{}", None),
        Event(0, b"{}", ORIGIN),
    ],
)
def test_transform_that_makes_no_event_that_can_be_delivered_is_a_transform_error(made):
    chain = [NamedTransform("mine", lambda _: made)]

    with pytest.raises(TransformError, match="transform mine: returned an event that is not one"):
        apply(chain, [event(entry())], Counter())


@pytest.mark.parametrize("data", [b'{"a":1}', b'{ "eventId" :\n"x"}', b'{"a":"\\ud83d"}', b"{}"])
def test_transform_may_write_an_entry_of_its_own(data):
    chain = [NamedTransform("mine", lambda one: Event(one.id, data, one.origin))]

    assert [one.entry for one in apply(chain, [event(entry())], Counter())] == [data]


def test_nothing_of_the_old_entry_is_left_in_an_event_that_a_transform_copied():
    old = decoded(entry("SELECT secret"))
    assert (old.plain is not None, old.columns.statement) == (True, "SELECT secret")
    odd = b'{ "commandText":"***","eventId":"forged"}'

    chain = [NamedTransform("copy", lambda one: msgspec.structs.replace(one, entry=odd))]
    [new] = apply(chain, [old], Counter())

    assert (new.plain, new.columns.statement) == (None, "***")
    assert json.loads(line.write(new))["eventId"] == old.id


def test_events_that_no_transform_changed_are_the_same_ones():
    events = [event(entry()), event(5), event(HEARTBEAT)]
    dropped = Counter()

    for drop, kept in [((), events), ((events[0],), events[1:])]:
        chain = [NamedTransform("mine", lambda one, drop=drop: None if one in drop else one)]
        assert [id(one) for one in apply(chain, events, dropped)] == [id(one) for one in kept]
    assert dropped == {"mine": 1}


def test_drops_of_a_transform_that_is_named_twice_are_added_up():
    events = [event({"n": n}) for n in range(3)]
    dropped = Counter(mine=5)
    chain = [
        NamedTransform("mine", lambda one, last=last: None if one is last else one)
        for last in events[1:]
    ]

    assert apply(chain, events, dropped) == events[:1]
    assert dropped == {"mine": 7}


def test_transform_that_exits_ends_nothing():
    with pytest.raises(TransformError, match="transform mine: raised SystemExit"):
        apply([NamedTransform("mine", lambda _: sys.exit(3))], [event(entry())], Counter())


def test_interrupt_passes_through_a_transform():
    def interrupted(one):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply([NamedTransform("mine", interrupted)], [event(entry())], Counter())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("default", ["heartbeats", "service-users"]),
        ("", []),
        (" , ", []),
        ("service-users, heartbeats", ["service-users", "heartbeats"]),
        ("heartbeats,default", ["heartbeats", "heartbeats", "service-users"]),
    ],
)
def test_names_open_built_in_transforms_in_their_order(names, expected):
    assert [name for name, _ in open_transforms(names)] == expected


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A module that a user wrote."""
    text = "mask = lambda event: event.replace(commandText='***')\nNOT_CALLABLE = 5\n"
    (tmp_path / "my_transforms.py").write_text(text)
    (tmp_path / "my_exit.py").write_text("raise SystemExit\n")
    (tmp_path / "my_broken.py").write_text("raise RuntimeError('at import')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_transforms", None)


def test_module_and_function_open_a_users_own_transform(user_module):
    chain = open_transforms("heartbeats,my_transforms:mask")

    assert [name for name, _ in chain] == ["heartbeats", "my_transforms:mask"]
    assert apply(chain, [event(entry())], Counter())[0].columns.statement == "***"


@pytest.mark.parametrize(
    "name",
    [
        "no-such",
        "no_such_module:mask",
        "my_transforms:no_such",
        "my_transforms:NOT_CALLABLE",
        "my_transforms:",
        ":mask",
        ":",
        "my_broken:mask",
        "my_exit:mask",
        "os.path",
    ],
)
def test_transform_that_cannot_be_opened_is_named(user_module, name):
    with pytest.raises(ConfigError, match=f"transforms: {name} "):
        open_transforms(name)
