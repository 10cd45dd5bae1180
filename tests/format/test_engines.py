import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.event import Columns, Event, Origin
from dastream.format.engines import ENGINES, recognise
from dastream.transforms.filters import activity, no_service_users
from support import HEARTBEAT, compact, entry, shared

every_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda e: e.name)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda values: st.lists(values) | st.dictionaries(st.text("abc"), values),
    max_leaves=5,
)
ENTRIES = st.one_of(
    JSON_VALUES,
    st.dictionaries(st.sampled_from(sorted(entry())), JSON_VALUES),
    st.dictionaries(st.sampled_from(sorted(entry())), st.sampled_from(["", "0", "-1", "1.5", "²"])),
)

SELECT_1_1 = Columns(
    start_time_us=1_558_658_389_920_564,
    log_time_us=1_558_658_389_940_668,
    user="rdsadmin",
    database="postgres",
    command="SELECT",
    command_class="READ",
    object_name="public.my_table",
    object_type="TABLE",
    statement="select * from my_table;",
    params=(),
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
CREATE_TABLE_1_1 = msgspec.structs.replace(
    SELECT_1_1,
    start_time_us=1_558_658_214_403_455,
    log_time_us=1_558_658_214_494_235,
    command="CREATE TABLE",
    command_class="DDL",
    object_name=None,
    object_type=None,
    statement="create table my_table (id serial primary key, name varchar(32));",
    row_count=None,
    statement_id="2",
)
CONNECT_1_0 = msgspec.structs.replace(
    SELECT_1_1,
    start_time_us=None,
    log_time_us=1_558_575_088_610_198,
    command="CONNECT",
    command_class="MISC",
    object_name=None,
    object_type=None,
    statement=None,
    row_count=None,
    remote_port="49804",
    session_id="5ce5f7f0.474b",
    statement_id="1",
    pid=18251,
)
INSERT_1_0 = Columns(
    log_time_us=1_577_343_369_090_054,
    user="masteruser",
    database="mylab",
    command="INSERT",
    command_class="WRITE",
    object_name="public.pgbench_history",
    object_type="TABLE",
    statement="INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)"
    " VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP);",
    params=("424", "62", "1788678", "-2770"),
    row_count=1,
    succeeded=True,
    client_application="pgbench",
    remote_host="10.0.0.204",
    remote_port="33948",
    session_id="5e04596c.2383",
    statement_id="3731",
    substatement_id=1,
    pid=9091,
    server_host="10.0.12.39",
    server_version="2.3.5",
    service_name="Amazon Aurora PostgreSQL-Compatible edition",
    net_protocol="TCP",
    db_protocol="Postgres 3.0",
)
GOLDEN = {
    "1.0": [
        CONNECT_1_0,
        msgspec.structs.replace(CREATE_TABLE_1_1, start_time_us=None),
        msgspec.structs.replace(SELECT_1_1, start_time_us=None),
        INSERT_1_0,
    ],
    "1.1": [
        msgspec.structs.replace(
            CONNECT_1_0,
            start_time_us=1_572_395_989_940_668,
            log_time_us=1_572_395_989_990_579,
        ),
        CREATE_TABLE_1_1,
        SELECT_1_1,
    ],
}


def samples(pattern):
    """The published samples: a version, an engine and a record each."""
    found = [
        pytest.param(sample, id=f"{file.stem}-{number}")
        for file in sorted(shared("samples").glob(pattern))
        for number, sample in enumerate(json.loads(file.read_bytes()))
    ]
    reason = "the published samples are not beside the repository"
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=reason))]


def entries_of(sample):
    return [compact(value) for value in sample["record"]["databaseActivityEventList"]]


@pytest.mark.parametrize("version", GOLDEN)
def test_published_postgresql_entries_have_the_columns_that_one_reads_in_them(version):
    file = shared(f"samples/aurora-postgresql-{version}.json")
    if not file.exists():
        pytest.skip("the published samples are not beside the repository")
    columns = ENGINES["aurora-postgresql"].columns

    found = [columns(e) for s in json.loads(file.read_bytes()) for e in entries_of(s)]

    assert found == GOLDEN[version]


@pytest.mark.parametrize("sample", samples("*.json"))
def test_published_entries_are_recognised_and_every_member_fits(sample):
    entries = entries_of(sample)
    engine = recognise(sample["version"], entries)

    assert engine.name == sample["engine"].removeprefix("rds-")
    for value in entries:
        columns = engine.columns(value)
        assert columns.misfits == ()
        assert columns.user
        assert columns.command
        assert columns.log_time_us


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.0", "aurora-postgresql"),
        ("1.1", "aurora-postgresql"),
        ("1.2", "aurora-mysql"),
        ("1.3", "oracle"),
        ("1.4", "sqlserver"),
        ("9.9", "unknown"),
    ],
)
def test_heartbeats_alone_are_recognised_by_the_version(version, name):
    assert recognise(version, [compact(HEARTBEAT)]).name == name


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"serverType": "PostgreSQL"}, "aurora-postgresql"),
        ({"serverType": "PostgreSQL", "serviceName": "PostgreSQL"}, "postgresql"),
        ({"serverType": "MySQL"}, "aurora-mysql"),
        ({"serverType": "ORACLE"}, "oracle"),
        ({"serverType": "oracle"}, "oracle"),
        ({"serverType": "SQLSERVER"}, "sqlserver"),
        ({"serverType": "DB2"}, "aurora-postgresql"),
        ({"serverType": 5}, "aurora-postgresql"),
        ({"serverType": None}, "aurora-postgresql"),
    ],
)
def test_the_first_entry_that_names_a_server_goes_before_the_version(members, name):
    entries = [compact(HEARTBEAT), b"5", compact(members), compact({"serverType": "mysqlx"})]

    assert recognise("1.1", entries).name == name


@pytest.mark.parametrize(
    ("members", "succeeded"),
    [
        ({}, True),
        ({"exitCode": "0"}, True),
        ({"exitCode": 0}, True),
        ({"exitCode": "42P01", "errorMessage": 'relation "t" does not exist'}, False),
        ({"exitCode": "42P01"}, False),
        ({"exitCode": 1}, False),
        ({"errorMessage": "canceled"}, False),
        ({"command": None}, None),
    ],
)
def test_postgresql_statement_succeeded_without_error_and_exit_code(members, succeeded):
    assert ENGINES["postgresql"].columns(compact(entry(**members))).succeeded is succeeded


@every_engine
def test_numbers_and_texts_become_what_their_column_says(engine):
    columns = engine.columns(
        compact(
            entry(sessionId=62, statementId="0x1e", remotePort=5432, rowCount="7", pid="-1")
            | {"transactionId": "0", "substatementId": None}
        )
    )

    assert columns.misfits == ()
    assert (columns.session_id, columns.statement_id, columns.remote_port) == ("62", "0x1e", "5432")
    assert (columns.row_count, columns.pid, columns.substatement_id) == (7, -1, None)


@every_engine
def test_values_that_do_not_fit_are_named_and_null(engine):
    wrong = {"dbUserName": True, "pid": 1.5, "rowCount": "many", "paramList": [1], "logTime": "?"}

    columns = engine.columns(compact(entry(**wrong)))

    assert set(columns.misfits) == wrong.keys()
    assert (columns.user, columns.pid, columns.row_count, columns.params) == (None, None, None, ())
    assert columns.statement == "SELECT 1"


@every_engine
def test_nulls_between_bind_values_stay_in_their_place(engine):
    assert engine.columns(compact(entry(paramList=["1", None, ""]))).params == ("1", None, "")


@every_engine
@pytest.mark.parametrize(
    "value", [b"5", b'"text"', b"[]", b"null", b'{"pid":' + b"9" * 5000 + b"}"]
)
def test_entry_that_is_no_object_of_known_values_is_one_misfit(engine, value):
    assert engine.columns(value) in [
        Columns(misfits=("entry",)),
        Columns(misfits=("entry",), succeeded=None),
    ]


@every_engine
@given(value=ENTRIES)
def test_any_json_value_gives_columns_and_passes_the_filters(engine, value):
    event = Event("id-0", compact(value), Origin(engine))

    assert isinstance(event.columns, Columns)
    assert event.kind in {"activity", "heartbeat"}
    assert activity([event]) in ([], [event])
    assert no_service_users([event]) in ([], [event])
    assert msgspec.json.encode(event.columns)


@every_engine
@pytest.mark.parametrize("depth", [10, 500, 900, 100_000])
def test_deeply_nested_members_are_misfits(engine, depth):
    nested = b"[" * depth + b"]" * depth
    value = b'{"command":' + nested + b',"commandText":' + nested + b',"dbUserName":"rdsadmin"}'
    event = Event("id-0", value, Origin(engine))

    assert event.columns.command is None
    assert event.columns.misfits
    assert no_service_users([event]) in ([], [event])
    assert recognise("1.1", [b'{"serverType":' + nested + b"}"]).name == "aurora-postgresql"


def test_duration_is_from_the_start_to_the_end_or_else_to_the_log_time():
    assert SELECT_1_1.duration_us == 20_104
    assert msgspec.structs.replace(SELECT_1_1, end_time_us=1_558_658_389_920_565).duration_us == 1
    assert msgspec.structs.replace(SELECT_1_1, log_time_us=1).duration_us is None
    assert CONNECT_1_0.duration_us is None
    assert (SELECT_1_1.time_us, CONNECT_1_0.time_us) == (
        1_558_658_389_920_564,
        1_558_575_088_610_198,
    )
