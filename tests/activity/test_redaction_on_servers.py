"""Ways of getting a password into the log of a real server, and none of them into an entry."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from dastream.activity.entry import encode
from dastream.activity.redact import MASK

SECRET = "tr0ub4dor-and-3"

LEAKS = [
    "CREATE USER leak WITH PASSWORD '{}'",
    "create\tuser leak2\npassword\n'{}'",
    "CREATE USER leak WITH PASSWORD '{}'",  # fails: it is there
    "ALTER ROLE leak PASSWORD '{}' NOSUCHOPTION",
    "ALTER ROLE leak WITH ENCRYPTED PASSWORD '{}' VALID UNTIL '2030-01-01'",
    "ALTER ROLE nobody_there PASSWORD '{}'",
    "ALTER ROLE leak PASSWORD {}",
    'ALTER ROLE leak PASSWORD "{}"',
    "ALTER ROLE leak PASSWORD $${}$$",
    "ALTER ROLE leak PASSWORD E'{}\\n'",
    "ALTER ROLE leak PASSWORD U&'{}\\0041'",
    "ALTER ROLE leak PASSWORD '{}",
    "ALTER ROLE leak/**/PASSWORD/**/'{}'",
    "CREATE USER leak3 WITH PASWORD '{}'",
    "CREATE USER leak3 IDENTIFIED BY '{}'",
    "CREAT USER leak3 PASSWORD '{}'",
    "SELECT 1; ALTER ROLE leak PASSWORD '{}'; SELECT 2",
    "SELECT 1/0; ALTER ROLE leak PASSWORD '{}'",
    "DO $$ BEGIN ALTER ROLE leak PASSWORD '{}'; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASSWORD ''{}'''; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASS' || 'WORD ''{}'''; END $$",
    "DO $$ DECLARE p text := '{}'; BEGIN EXECUTE format('ALTER ROLE leak PASSWORD %L', p); END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASS' || chr(87) || 'ORD ''{}'''; END $$",
    "-- the password is {}\nALTER ROLE leak PASSWORD '{}'",
    "DO $$ BEGIN EXECUTE U&'ALTER ROLE leak P\\0041SSWORD ''{}'''; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE nobody_there PASSWORD ''{}'''; END $$",
    "DO $$ BEGIN ALTER ROLE leak PASSWORD '{}'; RAISE EXCEPTION 'after %', '{}'; END $$",
    "DO $$ BEGIN RAISE LOG 'ALTER ROLE leak PASSWORD ''{}'''; END $$",
    (
        "CREATE FUNCTION leak_set(p text) RETURNS void AS "
        "$$ BEGIN EXECUTE format('ALTER ROLE leak PASSWORD %L', p); END $$ LANGUAGE plpgsql"
    ),
    "SELECT leak_set('{}')",
    ("SELECT leak_set($1)", "{}"),
    (
        "CREATE FUNCTION leak_outer(p text) RETURNS void AS "
        "$$ BEGIN PERFORM leak_set(p); END $$ LANGUAGE plpgsql"
    ),
    "SELECT leak_outer('{}')",
    "PREPARE leak_prepared AS SELECT leak_set($1)",
    "EXECUTE leak_prepared('{}')",
    (
        "CREATE FUNCTION leak_fixed() RETURNS void AS "
        "$$ BEGIN ALTER ROLE leak PASSWORD '{}'; END $$ LANGUAGE plpgsql"
    ),
    "SELECT leak_fixed()",
    (
        "CREATE FUNCTION leak_failing() RETURNS void AS "
        "$$ BEGIN ALTER ROLE nobody_there PASSWORD '{}'; END $$ LANGUAGE plpgsql"
    ),
    "SELECT leak_failing()",
    (
        "CREATE PROCEDURE leak_call(p text) AS "
        "$$ BEGIN EXECUTE 'ALTER ROLE leak PASSWORD ' || quote_literal(p); END $$ LANGUAGE plpgsql"
    ),
    "CALL leak_call('{}')",
    "CREATE EXTENSION IF NOT EXISTS dblink",
    "CREATE SERVER leak_server FOREIGN DATA WRAPPER dblink_fdw OPTIONS (host '127.0.0.1')",
    "CREATE USER MAPPING FOR leak SERVER leak_server OPTIONS (user 'u', password '{}')",
    "ALTER USER MAPPING FOR leak SERVER leak_server OPTIONS (SET password '{}')",
    "ALTER USER MAPPING FOR leak SERVER leak_server OPTIONS (SET U&\"p\\0061ssword\" '{}')",
    "CREATE USER MAPPING FOR leak SERVER nowhere OPTIONS (password '{}')",
    "SELECT dblink_connect('host=127.0.0.1 port=1 password={}')",
    "SELECT dblink_connect('postgresql://u:{}@127.0.0.1:1/d')",
    ("SELECT dblink_connect($1)", "host=127.0.0.1 port=1 password={}"),
    ("SELECT dblink_connect($1)", "nonsense password={}"),
    "SELECT dblink_exec('nowhere', 'ALTER ROLE leak PASSWORD ''{}''')",
    ("SELECT dblink_exec('nowhere', $1)", "ALTER ROLE leak PASSWORD '{}'"),
    (
        "CREATE SUBSCRIPTION leak_sub CONNECTION 'host=127.0.0.1 port=1 password={}' PUBLICATION p "
        "WITH (connect = false)"
    ),
    "ALTER SUBSCRIPTION leak_sub CONNECTION 'host=127.0.0.1 port=1 password={}'",
    "CREATE SUBSCRIPTION leak_sub CONNECTION 'nonsense password={}' PUBLICATION p",
    "ALTER SUBSCRIPTION leak_sub SET (slot_name = NONE)",
    "DROP SUBSCRIPTION leak_sub",
    "ALTER SYSTEM SET primary_conninfo = 'host=h password={}'",
    "ALTER SYSTEM RESET primary_conninfo",
    "SET leak.password = '{}'",
    ("SELECT set_config($1, $2, false)", "leak.password", "{}"),
    "UPDATE pg_authid SET rolpassword = '{}' WHERE rolname = 'nobody_there'",
    "SELECT 1 /* ALTER ROLE leak PASSWORD '{}' */",
    "-- password={}\nSELECT 1",
    "EXPLAIN SELECT dblink_connect('host=h password={}')",
    "ALTER ROLE leak PASSWORD 'it\\'{}'",
    "SELECT 'ALTER ROLE leak PASSWORD ''{}'''::int",
    "COPY nowhere FROM PROGRAM 'PGPASSWORD={} psql'",
    ("ALTER ROLE leak PASSWORD $1", "{}"),
    "BEGIN; ALTER ROLE leak PASSWORD '{}'; ROLLBACK",
    "ALTER ROLE leak SET leak.password = '{}'",
    "CREATE USR leak4 WITH PASSWORD '{}'",
    "CREAT USER leak4 WITH PASSWORD '{}'",
    "ALTR ROLE leak WITH PASSWORD '{}'",
    "ALTER leak WITH PASSWORD '{}'",
    "CREATE LOGIN leak WITH PASSWORD = '{}'",
    'CREATE USER leak4 WITH PASSWRD "{}"',
    "/* new pw {} */ ALTER USER leak PASSWORD '{}'",
    "SELECT dblink_connect($€$host=127.0.0.1 port=1 password={}$€$)",
    "SELECT dblink_connect('host=127.0.0.1 port=1 pass'\n'word={}')",
    "SELECT nothing_known('host=127.0.0.1 port=1 pass'\n'word={}')",
    "UPDATE pg_shadow SET passwd = '{}' WHERE usename = 'nobody_there'",
    "DO $$ BEGIN EXECUTE reverse('''3-dna-rod4bu0rt'' DROWSSAP kael ELOR RETLA'); END $$",
    "DO $$ BEGIN EXECUTE translate('4LTER ROLE leak P4SSWORD ''{}''', '4', 'A'); END $$",
    "COPY t FROM PROGRAM 'false # -u u:{}'",
    "COPY nowhere FROM PROGRAM 'false # -u u:{}'",
    (
        '/* c */ CREATE FUNCTION public . "leak again" (p text) RETURNS void AS '
        "$$ BEGIN EXECUTE format('ALTER ROLE leak PASSWORD %L', p); END $$ LANGUAGE plpgsql"
    ),
    "SELECT \"leak again\" /**/ ('{}')",
    'ALTER FUNCTION "leak again" RENAME TO leak_renamed',
    "SELECT leak_renamed('{}')",
    "SELECT leak_renamed('{}', 1)",
    "EXECUTE leak_prepared('{}', 1)",
    (
        "BEGIN; CREATE FUNCTION leak_trigger() RETURNS trigger AS $$ BEGIN "
        "EXECUTE format('ALTER ROLE leak PASSWORD %L', new.b); RETURN new; END $$ "
        "LANGUAGE plpgsql; COMMIT"
    ),
    "CREATE TRIGGER leak AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION leak_trigger()",
    "INSERT INTO t VALUES (1, '{}')",
    ("INSERT INTO t VALUES (1, $1)", "{}"),
]


def test_a_password_is_in_no_entry_however_it_is_set(watched):
    texts = [one if isinstance(one, tuple) else (one,) for one in LEAKS]
    with watched.session() as connection:
        for text, *values in texts:
            sql = text.replace("{}", SECRET)
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql, [v.replace("{}", SECRET) for v in values] or None)
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
    read = [encode(entry).decode() for entry in watched.entries]
    leaking = [text for text in read if SECRET in text or SECRET[::-1] in text]
    assert leaking == []
    assert SECRET in "".join(
        path.read_text() for path in watched.server.log_directory.glob("*.json")
    ), "the log does hold it"
    statements = [s for s in watched.statements() if s[-1].command_text != "ROLLBACK"]
    assert len(statements) >= len(LEAKS)


def test_the_text_is_the_same_with_and_without_pgaudit(watched):
    with watched.session() as connection:
        connection.execute("CREATE USER davide WITH PASSWORD 'secret'")
        connection.execute("ALTER ROLE davide  PASSWORD   'secret' CREATEDB")
        connection.execute("DROP USER davide")
    assert [entry.command_text for entry in watched.entries[1:-1]] == [
        f"CREATE USER davide WITH PASSWORD {MASK}",
        f"ALTER ROLE davide  PASSWORD {MASK}",
        "DROP USER davide",
    ]


def test_the_error_of_a_statement_with_a_password_keeps_its_code(watched):
    with watched.session() as connection, pytest.raises(psycopg.Error):
        connection.execute(f"ALTER ROLE x PASSWORD {SECRET}")
    (entry,) = watched.entries[1:-1]
    assert (entry.error_message, entry.exit_code) == (MASK, "42601")
