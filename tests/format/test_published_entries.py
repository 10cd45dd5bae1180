"""The 21 published entries, and the columns that one reads in them.

The entries lie beside the repository; the columns were written by eye.
"""

import json

import pytest
from msgspec.structs import replace

from dastream.event import Columns
from dastream.format.engines import recognise
from support import compact, shared

PG_CONNECT = Columns(
    log_time_us=1_558_575_088_610_198,
    user="rdsadmin",
    database="postgres",
    command="CONNECT",
    command_class="MISC",
    succeeded=True,
    client_application="psql",
    remote_host="172.31.3.195",
    remote_port="49804",
    session_id="5ce5f7f0.474b",
    statement_id="1",
    substatement_id=1,
    pid=18251,
    server_host="172.31.3.192",
    server_version="2.3.1",
    service_name="Amazon Aurora PostgreSQL-Compatible edition",
    net_protocol="TCP",
    db_protocol="Postgres 3.0",
)
PG_CREATE_TABLE = replace(
    PG_CONNECT,
    log_time_us=1_558_658_214_494_235,
    command="CREATE TABLE",
    command_class="DDL",
    statement="create table my_table (id serial primary key, name varchar(32));",
    remote_port="34534",
    session_id="5ce73c6f.7e64",
    statement_id="2",
    pid=32356,
)
PG_SELECT = replace(
    PG_CREATE_TABLE,
    log_time_us=1_558_658_389_940_668,
    command="SELECT",
    command_class="READ",
    object_name="public.my_table",
    object_type="TABLE",
    object_schema="public",
    statement="select * from my_table;",
    row_count=10,
    statement_id="6",
)
PG_INSERT = replace(
    PG_SELECT,
    log_time_us=1_577_343_369_090_054,
    user="masteruser",
    database="mylab",
    command="INSERT",
    command_class="WRITE",
    object_name="public.pgbench_history",
    statement="INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)"
    " VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP);",
    params=("424", "62", "1788678", "-2770"),
    row_count=1,
    client_application="pgbench",
    remote_host="10.0.0.204",
    remote_port="33948",
    session_id="5e04596c.2383",
    statement_id="3731",
    pid=9091,
    server_host="10.0.12.39",
    server_version="2.3.5",
)

MYSQL_CONNECT = Columns(
    start_time_us=1_590_170_833_267_207,
    end_time_us=1_590_170_833_267_213,
    log_time_us=1_590_170_833_267_214,
    user="rdsadmin",
    command="CONNECT",
    command_class="MAIN",
    object_type="TABLE",
    row_count=0,
    succeeded=True,
    remote_host="localhost",
    remote_port="11053",
    session_id="725121",
    statement_id="0",
    substatement_id=1,
    pid=2830,
    server_host="master",
    server_version="MySQL 5.7.12",
    service_name="Amazon Aurora MySQL",
    net_protocol="TCP",
    db_protocol="MySQL",
)
MYSQL_CREATE_MAIN = replace(
    MYSQL_CONNECT,
    start_time_us=1_590_170_832_226_384,
    end_time_us=1_590_170_832_250_222,
    log_time_us=1_590_170_832_250_221,
    user="master",
    database="test",
    command="QUERY",
    object_name="test1",
    statement="CREATE TABLE test1 (id INT)",
    remote_port="11054",
    session_id="725118",
    statement_id="65459278",
)
AUXILIARY = {
    "command_class": "AUX",
    "is_auxiliary": True,
    "object_detail": "test1",
    "statement": None,
    "row_count": None,
    "succeeded": None,
    "substatement_id": 2,
}
MYSQL_CREATE_AUX = replace(
    MYSQL_CREATE_MAIN,
    end_time_us=1_590_170_832_247_182,
    log_time_us=1_590_170_832_247_182,
    command="CREATE",
    **AUXILIARY,
)
MYSQL_SELECT_MAIN = replace(
    MYSQL_CREATE_MAIN,
    start_time_us=1_590_172_197_986_364,
    end_time_us=1_590_172_197_986_467,
    log_time_us=1_590_172_197_986_467,
    statement="SELECT * FROM test1 WHERE id < 28",
    row_count=2,
    session_id="726571",
    statement_id="65469218",
)
MYSQL_SELECT_AUX = replace(
    MYSQL_SELECT_MAIN,
    end_time_us=1_590_172_197_986_399,
    log_time_us=1_590_172_197_986_399,
    command="READ",
    **AUXILIARY,
)
MYSQL_LAB = replace(
    MYSQL_SELECT_MAIN,
    start_time_us=1_596_658_514_055_697,
    end_time_us=1_596_658_514_055_973,
    log_time_us=1_596_658_514_055_973,
    user="administrator",
    database="mylab",
    object_name="sbtest1",
    statement="SELECT SQL_NO_CACHE *, SHA2(c, 512), SQRT(k) FROM sbtest1"
    " WHERE id BETWEEN 1953750 AND 1954012 ORDER BY id DESC LIMIT 10",
    row_count=10,
    remote_host="172.31.0.211",
    remote_port="10935",
    session_id="851",
    statement_id="5070228",
    pid=21971,
    server_host="auroralab-mysql-node-1",
)
MYSQL_POLLING = replace(
    MYSQL_CONNECT,
    start_time_us=1_594_068_231_636_257,
    end_time_us=1_594_068_231_636_563,
    log_time_us=1_594_068_231_636_563,
    database="mysql",
    command="QUERY",
    statement="show status like 'server_aurora_das_%'",
    row_count=4,
    remote_port="10944",
    session_id="5",
    statement_id="2990",
    pid=20555,
    server_host="auroralab-mysql-node-2",
)

ORACLE_LOGON = Columns(
    log_time_us=1_610_669_736_233_787,
    user="TEST",
    database="ORCL",
    command="LOGON",
    command_class="Standard",
    succeeded=True,
    client_application="JDBC Thin Client",
    remote_host="123.456.789.012",
    remote_port="25440",
    session_id="987654321",
    statement_id="1",
    pid=17904,
    server_host="987.654.321.098",
    server_version="19.0.0.0.ru-2020-01.rur-2020-01.r1.EE.3",
    service_name="oracle-ee",
    net_protocol="tcp",
    db_protocol="oracle",
)
ORACLE_CREATE_TABLE = replace(
    ORACLE_LOGON,
    log_time_us=1_610_670_169_535_239,
    command="CREATE TABLE",
    object_name="PERSONS",
    object_schema="TEST",
    statement="CREATE TABLE persons(\n"
    "    person_id NUMBER GENERATED BY DEFAULT AS IDENTITY,\n"
    "    first_name VARCHAR2(50) NOT NULL,\n"
    "    last_name VARCHAR2(50) NOT NULL,\n"
    "    PRIMARY KEY(person_id)\n)",
    client_application="sqlplus@ip-12-34-5-678 (TNS V1-V3)",
    remote_host="123.456.789.0",
    remote_port=None,
    session_id="1234567890",
    statement_id="43",
    transaction_id="090011007F0D0000",
    pid=17687,
    server_host="987.654.321.01",
    net_protocol="beq",
)
ORACLE_SELECT = replace(
    ORACLE_CREATE_TABLE,
    log_time_us=1_610_670_318_850_375,
    database="1234567890",
    command="SELECT",
    statement="select count(*) from persons",
    session_id="1080639707",
    statement_id="44",
    transaction_id=None,
    server_host="987.654.321.09",
)

SQLSERVER_FAILED_LOGIN = Columns(
    log_time_us=1_665_092_082_711_307,
    user="test",
    command="LOGIN FAILED",
    command_class="LOGIN",
    object_type="LOGIN",
    row_count=0,
    error="Login failed for user 'test'. Reason: Password did not match that for the login"
    " provided. [CLIENT: local-machine]",
    succeeded=False,
    client_application="Microsoft SQL Server Management Studio",
    remote_host="local machine",
    statement_id="0x1eb0d1808d34a94b9d3dcf5432750f02",
    substatement_id=1,
    statement_part=1,
    server_host="172.31.30.159",
    server_version="15.00.4073.23.v1.R1",
    service_name="sqlserver-ee",
    db_protocol="SQLSERVER",
)
SQLSERVER_CREATE_TABLE = replace(
    SQLSERVER_FAILED_LOGIN,
    log_time_us=1_665_092_678_412_067,
    database="testDB",
    command="ALTER",
    command_class="SCHEMA",
    object_name="dbo",
    object_type="SCHEMA",
    statement="Create table [testDB].[dbo].[TestTable2](\r\ntextA varchar(6000),\r\n"
    "    textB varchar(6000)\r\n)",
    error=None,
    succeeded=True,
    client_application="Microsoft SQL Server Management Studio - Query",
    session_id="84",
    statement_id="0x5178d33d56e95e419558b9607158a5bd",
    transaction_id="4561864",
)
SQLSERVER_SELECT = replace(
    SQLSERVER_CREATE_TABLE,
    log_time_us=1_665_091_499_942_226,
    command="SELECT",
    command_class="TABLE",
    object_name="TestTable",
    object_type="TABLE",
    object_schema="dbo",
    statement="select * from [testDB].[dbo].[TestTable]",
    session_id="62",
    statement_id="0x03baed90412f564fad640ebe51f89b99",
    transaction_id="4532935",
)

EXPECTED = {
    "aurora-postgresql-1.0": [PG_CONNECT, PG_CREATE_TABLE, PG_SELECT, PG_INSERT],
    "aurora-postgresql-1.1": [
        replace(
            PG_CONNECT,
            start_time_us=1_572_395_989_940_668,
            log_time_us=1_572_395_989_990_579,
        ),
        replace(PG_CREATE_TABLE, start_time_us=1_558_658_214_403_455),
        replace(PG_SELECT, start_time_us=1_558_658_389_920_564),
    ],
    "aurora-mysql-1.2": [
        MYSQL_CONNECT,
        MYSQL_CREATE_MAIN,
        MYSQL_CREATE_AUX,
        MYSQL_SELECT_MAIN,
        MYSQL_SELECT_AUX,
        MYSQL_SELECT_AUX,  # an older edition of the same event
        MYSQL_LAB,
        MYSQL_POLLING,
    ],
    "rds-oracle-1.3": [ORACLE_LOGON, ORACLE_CREATE_TABLE, ORACLE_SELECT],
    "rds-sqlserver-1.4": [SQLSERVER_FAILED_LOGIN, SQLSERVER_CREATE_TABLE, SQLSERVER_SELECT],
}
ONE_BY_ONE = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name, columns in EXPECTED.items()
    for number in range(len(columns))
]


@pytest.mark.parametrize(("name", "number"), ONE_BY_ONE)
def test_published_entry_has_the_columns_that_one_reads_in_it(name, number):
    file = shared(f"samples/{name}.json")
    if not file.exists():
        pytest.skip("the published samples are not beside the repository")
    samples = json.loads(file.read_bytes())
    (entry,) = map(compact, samples[number]["record"]["databaseActivityEventList"])

    engine = recognise(samples[number]["version"], [entry])

    assert len(samples) == len(EXPECTED[name])
    assert engine.name == samples[number]["engine"].removeprefix("rds-")
    assert engine.columns(entry) == EXPECTED[name][number]
