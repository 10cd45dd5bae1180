"""Which engine wrote an entry, and what of its members becomes which column."""

import json
import pickle

import pytest
from msgspec.structs import replace

from dastream.event import Columns, Event, Origin
from dastream.format.engines import ENGINES, TABLES, common, recognise
from entries import BY_ENGINE, mysql, mysql_auxiliary, oracle, postgresql, sqlserver
from support import HEARTBEAT, compact, shared

every_engine = pytest.mark.parametrize("name", ENGINES)

TIMES = {"start_time_us": 1_795_418_884_920_564, "log_time_us": 1_795_418_884_940_668}

POSTGRESQL = Columns(
    **TIMES,
    user="davide",
    database="postgres",
    command="SELECT",
    command_class="READ",
    object_name="public.my_table",
    object_type="TABLE",
    object_schema="public",
    statement="SELECT 1",
    row_count=10,
    succeeded=True,
    client_application="psql",
    remote_host="172.31.3.195",
    remote_port="34534",
    session_id="5ce73c6f.7e64",
    statement_id="6",
    substatement_id=1,
    pid=32356,
    server_host="172.31.3.192",
    server_version="2.3.1",
    service_name="Amazon Aurora PostgreSQL-Compatible edition",
    net_protocol="TCP",
    db_protocol="Postgres 3.0",
)
MYSQL = Columns(
    **TIMES,
    end_time_us=1_795_418_884_940_667,
    user="davide",
    database="shop",
    command="QUERY",
    command_class="MAIN",
    object_name="orders",
    object_type="TABLE",
    statement="SELECT * FROM orders",
    row_count=3,
    succeeded=True,
    remote_host="10.0.3.7",
    remote_port="40112",
    session_id="8150",
    statement_id="900123",
    substatement_id=1,
    pid=4711,
    server_host="shop-node-1",
    server_version="MySQL 8.0.32",
    service_name="Amazon Aurora MySQL",
    net_protocol="TCP",
    db_protocol="MySQL",
)
MYSQL_AUXILIARY = replace(
    MYSQL,
    command="READ",
    command_class="AUX",
    is_auxiliary=True,
    object_detail="orders",
    statement=None,
    row_count=None,
    succeeded=None,
    substatement_id=2,
)
ORACLE = Columns(
    log_time_us=TIMES["log_time_us"],
    user="DAVIDE",
    database="SHOP",
    command="SELECT",
    command_class="Standard",
    object_name="ORDERS",
    object_schema="SALES",
    statement="select * from orders",
    succeeded=True,
    client_application="JDBC Thin Client",
    remote_host="10.0.3.7",
    remote_port="40112",
    session_id="3344556677",
    statement_id="12",
    transaction_id="0A00110080FF0000",
    pid=5150,
    server_host="10.0.12.39",
    server_version="19.0.0.0.ru-2023-01.rur-2023-01.r1.EE.3",
    service_name="oracle-ee",
    net_protocol="tcp",
    db_protocol="oracle",
)
SQLSERVER = Columns(
    log_time_us=TIMES["log_time_us"],
    user="davide",
    database="shop",
    command="SELECT",
    command_class="TABLE",
    object_name="orders",
    object_type="TABLE",
    object_schema="sales",
    statement="select * from [sales].[orders]",
    row_count=0,
    succeeded=True,
    client_application="sqlcmd",
    remote_host="10.0.3.7",
    session_id="71",
    statement_id="0x0123456789abcdef0123456789abcdef",
    substatement_id=1,
    statement_part=1,
    transaction_id="815015",
    server_host="10.0.12.39",
    server_version="15.00.4073.23.v1.R1",
    service_name="sqlserver-ee",
    db_protocol="SQLSERVER",
)


def columns_of(name, members):
    return ENGINES[name].columns(compact(members))


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("aurora-postgresql", postgresql(), POSTGRESQL),
        ("postgresql", postgresql(), POSTGRESQL),
        ("aurora-mysql", mysql(), MYSQL),
        ("aurora-mysql", mysql_auxiliary(), MYSQL_AUXILIARY),
        ("oracle", oracle(), ORACLE),
        ("sqlserver", sqlserver(), SQLSERVER),
    ],
)
def test_entry_of_the_engine_has_these_columns(name, members, expected):
    assert columns_of(name, members) == expected


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.0", "aurora-postgresql"),
        ("1.1", "aurora-postgresql"),
        ("1.2", "aurora-mysql"),
        ("1.3", "oracle"),
        ("1.4", "sqlserver"),
        ("9.9", "unknown"),
        ("", "unknown"),
    ],
)
def test_heartbeats_alone_are_recognised_by_the_version(version, name):
    assert recognise(version, [compact(HEARTBEAT)]).name == name
    assert recognise(version, []).name == name


@every_engine
@pytest.mark.parametrize("version", ["1.1", "1.4", "9.9"])
def test_entry_is_recognised_whatever_the_version_says(name, version):
    members = BY_ENGINE[name]()
    if name == "postgresql":
        members["serviceName"] = "PostgreSQL"

    assert recognise(version, [compact(HEARTBEAT), compact(members)]).name == name


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"serverType": "PostgreSQL"}, "aurora-postgresql"),
        ({"serverType": "PostgreSQL", "serviceName": "PostgreSQL"}, "postgresql"),
        ({"serverType": "MySQL"}, "aurora-mysql"),
        ({"serverType": "ORACLE"}, "oracle"),  # so says the guide
        ({"serverType": "oracle"}, "oracle"),  # so say the entries
        ({"serverType": "SQLSERVER"}, "sqlserver"),
        ({"dbProtocol": "Postgres 3.0"}, "aurora-postgresql"),
        ({"dbProtocol": "Postgres 3.0", "serviceName": "PostgreSQL"}, "postgresql"),
        ({"serverType": None, "dbProtocol": "MySQL"}, "aurora-mysql"),
        ({"serverType": "other", "dbProtocol": "oracle"}, "oracle"),
        ({"serverType": "DB2"}, "sqlserver"),
        ({"serverType": 5, "dbProtocol": ["MySQL"]}, "sqlserver"),
        ({"serverType": None}, "sqlserver"),
        ({"serverType": ""}, "sqlserver"),
    ],
)
def test_the_first_entry_that_names_a_server_goes_before_the_version(members, name):
    entries = [compact(HEARTBEAT), b"5", compact(members), compact({"serverType": "mysqlx"})]

    assert recognise("1.4", entries).name == name


@every_engine
def test_numbers_and_texts_become_what_their_column_says(name):
    columns = columns_of(
        name,
        BY_ENGINE[name](sessionId=62, statementId="0x1e", remotePort=5432, rowCount="7", pid="-1")
        | {"transactionId": "0", "substatementId": None},
    )

    assert columns.misfits == ()
    assert (columns.session_id, columns.statement_id, columns.remote_port) == ("62", "0x1e", "5432")
    assert (columns.row_count, columns.pid, columns.substatement_id) == (7, -1, None)


@every_engine
@pytest.mark.parametrize("member", ["rowCount", "pid"])
@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (2**63 - 1, True),
        (-(2**63), True),
        (2**63, False),
        (10**30, False),
        (str(2**63 - 1), True),
        (str(-(2**63)), True),
        (str(2**63), False),
        ("9" * 30, False),
        ("1.0", False),
        ("--1", False),
        ("٣", False),
        (True, False),
    ],
)
def test_whole_numbers_have_64_bits(name, member, value, fits):
    columns = columns_of(name, BY_ENGINE[name](**{member: value}))
    column = {"rowCount": columns.row_count, "pid": columns.pid}[member]

    assert (column, columns.misfits) == ((int(value), ()) if fits else (None, (member,)))


@every_engine
def test_values_that_do_not_fit_are_named_and_null_and_the_others_stay(name):
    wrong = {"dbUserName": True, "pid": 1.5, "rowCount": "many", "paramList": [1], "logTime": "?"}
    good = columns_of(name, BY_ENGINE[name]())

    columns = columns_of(name, BY_ENGINE[name](**wrong))

    assert set(columns.misfits) == wrong.keys()
    none = {"user": None, "pid": None, "row_count": None, "params": (), "log_time_us": None}
    assert columns == replace(good, misfits=columns.misfits, **none)


@every_engine
@pytest.mark.parametrize("member", ["errorMessage", "exitCode"])
def test_success_is_not_known_if_what_tells_of_a_failure_does_not_fit(name, member):
    columns = columns_of(name, BY_ENGINE[name](**{member: {"code": 1}}))

    assert columns.misfits == (member,)
    assert columns.succeeded is None


@every_engine
def test_failure_is_known_also_if_something_else_does_not_fit(name):
    failed = {"exitCode": 0 if name == "sqlserver" else "1045", "errorMessage": 5}

    columns = columns_of(name, BY_ENGINE[name](**failed))

    assert (columns.succeeded, columns.misfits) == (False, ("errorMessage",))


@every_engine
def test_nulls_between_bind_values_stay_in_their_place(name):
    members = BY_ENGINE[name](paramList=["1", None, ""])

    assert columns_of(name, members).params == ("1", None, "")


@every_engine
@pytest.mark.parametrize("value", [b"5", b'"text"', b"[]", b"null", b"", b"{"])
def test_entry_that_is_no_object_is_one_misfit(name, value):
    assert ENGINES[name].columns(value) == Columns(misfits=("entry",))


@every_engine
def test_text_that_was_cut_within_a_character_ends_in_a_replacement_character(name):
    data = compact(BY_ENGINE[name]("TEXT")).replace(b'"TEXT"', b'"cut \\ud83d"')
    whole = columns_of(name, BY_ENGINE[name]())

    assert ENGINES[name].columns(data) == replace(whole, statement="cut \ufffd")


@every_engine
@pytest.mark.parametrize("depth", [10, 500, 900, 100_000])
def test_deeply_nested_members_are_misfits(name, depth):
    nested = b"[" * depth + b"]" * depth
    value = b'{"command":' + nested + b',"commandText":' + nested + b',"dbUserName":"rdsadmin"}'

    columns = ENGINES[name].columns(value)

    assert columns.command is None
    assert columns.misfits in [("command", "commandText"), ("entry",)]
    assert recognise("1.1", [b'{"serverType":' + nested + b"}"]).name == "aurora-postgresql"


def test_unknown_engine_has_the_columns_that_all_engines_name_alike():
    columns = common.columns(compact(postgresql(exitCode="0")))

    assert columns == replace(POSTGRESQL, exit_code="0", object_schema=None, succeeded=None)


@every_engine
def test_event_can_go_to_another_process(name):
    event = Event("id-0", compact(BY_ENGINE[name]()), Origin(ENGINES[name]))

    assert pickle.loads(pickle.dumps(event)).columns == event.columns


@every_engine
def test_members_that_are_told_to_be_empty_are_empty_in_the_published_entries(name):
    file = "rds-*" if name in {"oracle", "sqlserver"} else "aurora-*"
    never = [m.name for m in TABLES[name].members.values() if not m.is_filled]
    for path in shared("samples").glob(f"{file}{name.removeprefix('aurora-')}-*.json"):
        for sample in json.loads(path.read_bytes()):
            for entry in sample["record"]["databaseActivityEventList"]:
                assert [entry.get(member) for member in never] == [None] * len(never)


def test_duration_is_from_the_start_to_the_end_or_else_to_the_log_time():
    assert POSTGRESQL.duration_us == 20_104
    assert MYSQL.duration_us == 20_103
    assert replace(POSTGRESQL, log_time_us=1).duration_us is None
    assert ORACLE.duration_us is None
    assert (POSTGRESQL.time_us, ORACLE.time_us) == tuple(TIMES.values())
