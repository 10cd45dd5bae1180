"""What a client sends against the entries that its session leaves, on real servers."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime

import msgspec
import psycopg
import pytest

from dastream.activity.entry import Entry, Server, encode
from dastream.activity.postgres_log import LogReader

# The members in their order, as in the sample events of AWS' user guide.
MEMBERS = [
    "startTime",
    "logTime",
    "statementId",
    "substatementId",
    "objectType",
    "command",
    "objectName",
    "databaseName",
    "dbUserName",
    "remoteHost",
    "remotePort",
    "sessionId",
    "rowCount",
    "commandText",
    "paramList",
    "pid",
    "clientApplication",
    "exitCode",
    "class",
    "serverVersion",
    "serverType",
    "serviceName",
    "serverHost",
    "netProtocol",
    "dbProtocol",
    "type",
    "errorMessage",
]


def assert_each_once(watched, sent):
    statements = watched.statements()
    assert len(statements) == len(sent)
    for entries, (text, values) in zip(statements, sent, strict=True):
        own = [entry for entry in entries if entry.command_text == text]
        assert own, f"{text} not in {entries}"
        # A call is logged before it is bound; a text that does not parse is never bound.
        bound = [e for e in own if e.command != "EXECUTE" and e.exit_code != "42P01"]
        assert [e.param_list for e in bound] == [values for _ in bound]
        keys = [(e.substatement_id, e.command, e.object_name) for e in entries]
        assert len(keys) == len(set(keys))


STATEMENTS = [
    "SELECT 1",
    "select\n  2 -- with a comment\n",
    "/* first */ SELECT 'ein „Wort“, naïve 日本 \U0001f600'",
    "INSERT INTO t VALUES (1, 'quote '' comma, \"double\"')",
    ("INSERT INTO t VALUES ($1::int, $2)", "2", "line one\nline two\ttab \\ slash"),
    ("INSERT INTO t VALUES ($1::int, $2)", "3", None),
    ("INSERT INTO t VALUES ($1::int, $2)", "4", ""),
    ("SELECT $1, $2, $3, $4", "a,b", 'c"d', "e'f", "$1 = 'g', $2 = NULL"),
    ("SELECT $1", "<none>, not"),
    ("SELECT * FROM t x JOIN t y ON x.a = y.a WHERE x.a = $1::int", "1"),
    ("UPDATE t SET b = $1", "ü"),
    "DELETE FROM t WHERE a = 99",
    "SELECT * FROM missing",
    ("SELECT * FROM missing WHERE a = $1", "1"),
    "SELEC 1",
    "SELECT 1/0",
    ("SELECT 1/$1::int", "0"),
    "DO $$ BEGIN INSERT INTO t VALUES (5, 'do'); END $$",
    "DO $$ BEGIN INSERT INTO t VALUES (6, 'do'); RAISE EXCEPTION 'no'; END $$",
    "CREATE FUNCTION f() RETURNS int AS 'INSERT INTO t VALUES (7, $$f$$); SELECT 1' LANGUAGE sql",
    "SELECT f()",
    ("SELECT f(), $1", "bound"),
    "SELECT f(), 1/(count(*) - count(*)) FROM t",
    "DROP FUNCTION f()",
    "PREPARE p (int) AS SELECT * FROM t WHERE a = $1",
    "EXECUTE p(1)",
    "DEALLOCATE p",
    "BEGIN",
    ("SELECT a FROM t WHERE a = $1::int", "1"),
    "SELEC 2",
    "SELECT 'in a failed transaction'",
    "ROLLBACK",
    "BEGIN",
    ("SELECT b FROM t WHERE a = $1::int", "2"),
    ("SELECT b FROM t WHERE a = $1::int", "2"),
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COMMIT",
    "EXPLAIN SELECT * FROM t",
    "CREATE TABLE t2 AS SELECT * FROM t",
    "DROP TABLE t2",
    "VACUUM t",
    "SHOW work_mem",
    "GRANT SELECT ON t TO PUBLIC",
    "CREATE EXTENSION nosuchthing",
]


def test_each_statement_is_in_exactly_one(watched, send):
    with watched.session() as connection:
        sent = send(connection, STATEMENTS)
    assert_each_once(watched, sent)
    ids = [entries[0].statement_id for entries in watched.statements()]
    assert ids == list(range(2, len(sent) + 2))


def test_each_statement_of_a_transaction_that_goes_on_is_in_exactly_one(watched, send):
    with watched.session(autocommit=False) as connection:
        sent = send(connection, [("SELECT $1", str(n)) for n in range(12)])
    assert_each_once(watched, [("BEGIN", []), *sent, ("COMMIT", [])])


def test_a_statement_that_is_prepared_on_the_way_is_logged_once_for_each_execution(watched, send):
    with watched.session() as connection:
        sent = send(connection, [("SELECT a FROM t WHERE b = $1", f"v{n}") for n in range(20)])
    assert_each_once(watched, sent)


def test_pipelined_statements_are_each_in_exactly_one(watched):
    with watched.session() as connection, connection.pipeline():
        for number in range(10):
            connection.execute("INSERT INTO t VALUES ($1::int, $2)", [str(number), "p"])
    inserts = [entry for entry in watched.entries if entry.command == "INSERT"]
    assert [entry.param_list for entry in inserts] == [[str(n), "p"] for n in range(10)]


def test_each_statement_of_a_query_string_has_an_entry_with_the_whole_string(watched):
    text = "INSERT INTO t VALUES (1, ';'); SELECT 2; DELETE FROM t; -- end"
    with watched.session() as connection:
        connection.execute(text)
    assert watched.commands()[1:-1] == [("INSERT", text), ("SELECT", text), ("DELETE", text)]
    assert len({entry.statement_id for entry in watched.entries}) == 5


def test_copy_and_cursors_are_statements(watched):
    with watched.session(autocommit=False, cursor_factory=psycopg.Cursor) as connection:
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write_row((1, "x"))
        with connection.cursor().copy("COPY t TO STDOUT") as copy:
            list(copy)
        with connection.cursor("c") as cursor:
            cursor.execute("SELECT * FROM t")
            cursor.fetchone()
    assert [(entry.command, entry.class_) for entry in watched.entries[2:-2]] == [
        ("COPY", "WRITE"),
        ("COPY", "READ"),
        ("DECLARE CURSOR", "READ"),
        ("FETCH", "MISC"),
        ("CLOSE CURSOR", "MISC"),
    ]


def test_empty_queries_and_comments_are_no_statements(watched):
    with watched.session() as connection:
        connection.execute("")
        connection.execute("-- nothing")
    assert watched.statements() == []


def test_a_large_statement_and_a_large_value_come_whole(watched, send):
    with watched.session() as connection:
        sent = send(
            connection,
            [f"SELECT '{'x' * 1_500_000}'", ("SELECT length($1)", "naïve\n" * 200_000)],
        )
    assert_each_once(watched, sent)


def test_a_text_in_another_encoding_is_no_loss(watched):
    with watched.session(client_encoding="latin1") as connection:
        connection.execute("SELECT 'é'")
    assert watched.one("SELECT 'é'")


def test_the_shape_is_that_of_aurora(watched):
    with watched.session(application_name="the app") as connection:
        connection.execute("SELECT $1", ["x"])
    connect, select, disconnect = (msgspec.json.decode(encode(one)) for one in watched.entries)
    assert list(connect) == list(select) == list(disconnect) == MEMBERS
    assert connect | {
        "startTime": 0,
        "logTime": 0,
        "sessionId": "",
        "pid": 0,
        "remotePort": "",
    } == {
        "startTime": 0,
        "logTime": 0,
        "statementId": 1,
        "substatementId": 1,
        "objectType": None,
        "command": "CONNECT",
        "objectName": None,
        "databaseName": "postgres",
        "dbUserName": "postgres",
        "remoteHost": "127.0.0.1",
        "remotePort": "",
        "sessionId": "",
        "rowCount": None,
        "commandText": None,
        "paramList": [],
        "pid": 0,
        "clientApplication": "the app",
        "exitCode": None,
        "class": "MISC",
        "serverVersion": watched.server.version,
        "serverType": "PostgreSQL",
        "serviceName": "PostgreSQL",
        "serverHost": "127.0.0.1",
        "netProtocol": "TCP",
        "dbProtocol": "Postgres 3.0",
        "type": "record",
        "errorMessage": None,
    }
    assert isinstance(connect["remotePort"], str)
    assert re.fullmatch(r"[0-9a-f]{8}\.[0-9a-f]+", connect["sessionId"])
    assert int(connect["sessionId"].partition(".")[2], 16) == connect["pid"]
    assert select["paramList"] == ["x"]
    assert disconnect["commandText"] is None
    assert disconnect["statementId"] == 3


def test_times_are_in_utc_and_hold_the_duration(watched):
    with watched.session() as connection:
        connection.execute("SELECT pg_sleep(0.25)")
        connection.execute("SELECT pg_sleep($1::float)", ["0.25"])
    for entry in watched.entries[1:-1]:
        start, end = (datetime.fromisoformat(t) for t in (entry.start_time, entry.log_time))
        assert 0.25 <= (end - start).total_seconds() < 5
        assert start.utcoffset().total_seconds() == 0
        assert len(entry.start_time) == len("2019-05-24 00:39:49.940668+00")


def test_row_counts_and_objects_are_there_with_pgaudit_and_null_without(watched):
    with watched.session() as connection:
        connection.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 7) n")
        connection.execute("SELECT a FROM t WHERE a < $1::int", ["4"])
        connection.execute("CREATE VIEW v AS SELECT 1")
        connection.execute("SELECT * FROM t x, t y, v")
        connection.execute("DROP VIEW v")
    insert, select, create, join, _ = (
        [(e.object_type, e.object_name, e.row_count) for e in entries]
        for entries in watched.statements()
    )
    nothing = [(None, None, None)]
    assert create == nothing
    if watched.server.mode == "pgaudit":
        assert insert == [("TABLE", "public.t", 7)]
        assert select == [("TABLE", "public.t", 3)]
        assert join == [("TABLE", "public.t", 49), ("VIEW", "public.v", 49)]
    else:
        assert insert == select == join == nothing


def test_a_failed_statement_has_its_error_and_values(watched, send):
    with watched.session() as connection:
        send(connection, [("SELECT 1/$1::int", "0"), "SELEC 1", "DROP TABLE missing"])
    division, syntax, drop = (entries[0] for entries in watched.statements())
    assert (division.command, division.class_) == ("SELECT", "READ")
    assert (division.error_message, division.exit_code) == ("division by zero", "22012")
    assert division.param_list == ["0"]
    assert (syntax.exit_code, syntax.command_text) == ("42601", "SELEC 1")
    assert (drop.command, drop.class_, drop.exit_code) == ("DROP TABLE", "DDL", "42P01")


def test_a_failed_login_is_an_entry_and_no_session(watched):
    for user, password in (("postgres", "wrong"), ("nobody-there", "wrong")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(watched.server.dsn(user=user, password=password))
    watched.read_until(lambda entry: entry.db_user_name == "nobody-there")
    assert [(e.command, e.class_, e.exit_code, e.statement_id) for e in watched.entries] == [
        ("AUTH FAILURE", "MISC", "28P01", 1)
    ] * 2
    assert "password authentication failed" in watched.entries[0].error_message


def test_a_login_to_a_database_that_is_not_there_says_so(watched):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(watched.server.dsn(dbname="nowhere"))
    watched.read_until(lambda entry: entry.exit_code == "3D000")
    assert watched.entries[-1].command == "CONNECT"
    assert watched.entries[-1].database_name == "nowhere"


def test_a_session_that_the_server_ends_says_why(watched):
    victim = psycopg.connect(watched.server.dsn(), autocommit=True)
    with watched.session() as connection:
        connection.execute("SELECT pg_terminate_backend($1::int)", [str(victim.info.backend_pid)])
        with contextlib.suppress(psycopg.Error):
            victim.execute("SELECT 1")
    victim.close()
    ended = [entry for entry in watched.entries if entry.command == "DISCONNECT"]
    assert {entry.exit_code for entry in ended} == {"57P01", None}


def test_a_client_cannot_forge_rows(watched):
    forged = [
        "AUDIT: SESSION,9,1,READ,SELECT,,,forged,<none>,1",
        "duration: 0.1 ms  statement: forged",
        "connection authorized: user=forged",
        "disconnection: forged",
    ]
    raises = "".join(f"RAISE LOG '{line}'; " for line in forged)
    with watched.session() as connection:
        connection.execute(f"DO $$ BEGIN {raises} END $$")
        connection.execute("SELECT 1")
    assert [entry.command for entry in watched.entries] == ["CONNECT", "DO", "SELECT", "DISCONNECT"]


def test_the_name_of_a_statement_hides_nothing(watched):
    with watched.session() as connection:
        for name in (b"fetch from x", b"a: b", b"c/d"):
            connection.pgconn.prepare(name, b"SELECT 'hidden'")
            connection.pgconn.exec_prepared(name, [])
    statements = watched.statements()
    assert len(statements) == 3
    assert all("SELECT 'hidden'" in entries[0].command_text for entries in statements)


def test_rows_of_one_session_do_not_wait_for_another(watched):
    with watched.session() as first, psycopg.connect(watched.server.dsn()) as second:
        first.execute("SELECT 'first'")
        second.execute("SELECT 'second'")
        first.execute("SELECT 'third'")
    texts = [e.command_text for e in watched.entries if e.command == "SELECT"]
    assert [text for text in texts if text != "SELECT 'second'"] == [
        "SELECT 'first'",
        "SELECT 'third'",
    ]


def test_a_loop_in_a_function_does_not_fill_memory(watched):
    with watched.session() as connection:
        connection.execute(
            "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO t VALUES (n, 'x'); END LOOP; END $$"
        )
    (statement,) = watched.statements()
    inside = [entry for entry in statement if entry.command == "INSERT"]
    assert len(inside) == (3000 if watched.server.mode == "pgaudit" else 0)


def test_statements_are_counted(watched, send):
    with watched.session() as connection:
        send(connection, STATEMENTS)
    # The session that has made the table counts too.
    assert len(STATEMENTS) <= watched.reader.statements <= len(STATEMENTS) + 1


def test_lines_that_are_no_rows_are_counted():
    reader = LogReader(Server("", ""), mode="statements")
    assert list(reader.read([b"no JSON", b"[]", b'{"timestamp":1}'])) == []
    assert reader.malformed == 3


def test_an_entry_is_decoded_again():
    entry = Entry(
        start_time="",
        log_time="",
        statement_id=1,
        command="SELECT",
        database_name=None,
        db_user_name=None,
        remote_host=None,
        remote_port=None,
        session_id="",
        pid=1,
        client_application=None,
        class_="READ",
        server_version="",
        server_host="",
        net_protocol="TCP",
    )
    assert msgspec.json.decode(encode(entry), type=Entry) == entry
