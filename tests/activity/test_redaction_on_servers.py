"""Ways of getting a password into the log of a real server, and none of them into an entry."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from dastream.activity.entry import encode
from dastream.activity.redact import MASK
from dastream.local.postgres import PostgresServer
from servers import SERVERS, find_server

SECRET = "tr0ub4dor-and-3"
SET_IT = "$$ BEGIN EXECUTE format('ALTER ROLE leak PASSWORD %L', p); END $$ LANGUAGE plpgsql"

# A statement, or a statement with bind values; `{}` is the password. Many fail, and are meant to.
LEAKS = {
    "roles": [
        "CREATE USER leak WITH PASSWORD '{}'",
        "create\tuser leak2\npassword\n'{}'",
        "CREATE USER leak WITH PASSWORD '{}'",  # fails: it is there
        "CREATE ROLE leak5 PASSWORD '{}' VALID UNTIL 'infinity' CONNECTION LIMIT 3",
        "CREATE GROUP leak4 WITH PASSWORD '{}'",
        "ALTER GROUP leak4 PASSWORD '{}'",
        "ALTER ROLE leak PASSWORD '{}' NOSUCHOPTION",
        "ALTER ROLE leak WITH ENCRYPTED PASSWORD '{}' VALID UNTIL '2030-01-01'",
        "ALTER ROLE leak UNENCRYPTED PASSWORD '{}'",
        "ALTER ROLE leak PASSWORD '{}' PASSWORD '{}'",
        "ALTER ROLE nobody_there PASSWORD '{}'",
        "ALTER ROLE CURRENT_USER PASSWORD '{}' IN ROLE nobody_there",
        ("ALTER ROLE leak PASSWORD $1", "{}"),
        # psql's \password sends the verifier, from which the password can be guessed.
        "ALTER USER leak PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==${}:c2VydmVy'",
        "ALTER USER \"leak\" PASSWORD 'md50123456789abcdef0123456789abcdef' -- {}",
    ],
    "other spellings": [
        "ALTER ROLE leak PASSWORD {}",
        'ALTER ROLE leak PASSWORD "{}"',
        "ALTER ROLE leak PASSWORD $${}$$",
        "ALTER ROLE leak PASSWORD $q$a{}b$q$",
        "ALTER ROLE leak PASSWORD E'{}\\n'",
        "ALTER ROLE leak PASSWORD U&'{}\\0041'",
        "ALTER ROLE leak PASSWORD U&'{}!0041' UESCAPE '!'",
        "ALTER ROLE leak PASSWORD '{}",
        "ALTER ROLE leak PASSWORD 'it\\'{}'",
        "ALTER ROLE leak PASSWORD 'a'\n'{}'",
        "ALTER ROLE leak/**/PASSWORD/**/'{}'",
        "ALTER/*x*/ROLE--y\nleak /* /* PASSWORD */ */ PASSWORD '{}'",
        "ALTER ROLE leak PASS/**/WORD '{}'",
        "-- the password is {}\nALTER ROLE leak PASSWORD '{}'",
    ],
    "misspelled, and other databases' dialects": [
        "CREATE USER leak3 WITH PASWORD '{}'",
        "CREAT USER leak3 PASSWORD '{}'",
        "ALTER USR leak PASSWORD = '{}'",
        "ALTER USR leak PASSWORD={}",
        "CREATE USER leak3 IDENTIFIED BY '{}'",
        "ALTER USER leak IDENTIFIED BY {} REPLACE {}",
        "GRANT ALL ON *.* TO leak IDENTIFIED BY '{}'",
        "SET PASSWORD FOR leak = '{}'",
        "SET PASSWORD = PASSWORD('{}')",
        "SET ROLE leak PASSWORD '{}'",
        "SET ROLE leak PASSWORD {}",
        "CREATE LOGIN leak WITH PASSWORD = '{}'",
        "ALTER LOGIN sa WITH PASSWORD = '{}' OLD_PASSWORD = '{}'",
    ],
    "query strings": [
        "SELECT 1; ALTER ROLE leak PASSWORD '{}'; SELECT 2",
        "SELECT 1/0; ALTER ROLE leak PASSWORD '{}'",
        "BEGIN; ALTER ROLE leak PASSWORD '{}'; ROLLBACK",
        "ALTER ROLE leak2 RENAME TO leak9; ALTER ROLE leak9 PASSWORD '{}'",
        "SELECT ';'; /* ; */ ALTER ROLE leak PASSWORD '{}';;",
    ],
    "code": [
        "DO $$ BEGIN ALTER ROLE leak PASSWORD '{}'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASSWORD ''{}'''; END $$",
        "DO 'BEGIN EXECUTE ''ALTER ROLE leak PASSWORD ''''{}''''''; END'",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASS' || 'WORD ''{}'''; END $$",
        (
            "DO $$ DECLARE p text := '{}'; BEGIN "
            "EXECUTE format('ALTER ROLE leak PASSWORD %L', p); END $$"
        ),
        "DO $$ BEGIN EXECUTE 'ALTER ROLE leak PASS' || chr(87) || 'ORD ''{}'''; END $$",
        "DO $$ BEGIN EXECUTE U&'ALTER ROLE leak P\\0041SSWORD ''{}'''; END $$",
        "DO $$ BEGIN EXECUTE U&'ALTER ROLE leak P!0041SSWORD ''{}''' UESCAPE '!'; END $$",
        "DO $$ BEGIN EXECUTE E'ALTER ROLE leak P\\x41SSWORD ''{}'''; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE nobody_there PASSWORD ''{}'''; END $$",
        (
            "DO $a$ BEGIN EXECUTE $b$DO $c$ BEGIN EXECUTE $d$DO $e$ BEGIN EXECUTE $f$"
            "ALTER ROLE leak PASSWORD '{}'$f$; END $e$$d$; END $c$$b$; END $a$"
        ),
        "DO $$ BEGIN ALTER ROLE leak PASSWORD '{}'; RAISE EXCEPTION 'after %', '{}'; END $$",
        "DO $$ BEGIN RAISE LOG 'ALTER ROLE leak PASSWORD ''{}'''; END $$",
        "DO $$ BEGIN RAISE NOTICE 'password={}'; RAISE WARNING 'password={}'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'password={}' USING DETAIL = '{}'; END $$",
        "DO $$ BEGIN PERFORM set_config('app.password', '{}', false); END $$",
    ],
    "functions and prepared statements": [
        f"CREATE FUNCTION leak_set(p text) RETURNS void AS {SET_IT}",
        "SELECT leak_set('{}')",
        ("SELECT leak_set($1)", "{}"),
        "SELECT leak_set(p) FROM (VALUES ('{}')) v (p)",
        "SELECT public . \"leak_set\"/* x */ ('{}')",
        "SELECT leak_set('{}'), 1/0",
        (
            "CREATE FUNCTION leak_outer(p text) RETURNS void AS "
            "$$ BEGIN PERFORM leak_set(p); END $$ LANGUAGE plpgsql"
        ),
        "SELECT leak_outer('{}')",
        "ALTER FUNCTION leak_outer(text) RENAME TO leak_renamed",
        "SELECT leak_renamed('{}')",
        f'BEGIN; CREATE/**/FUNCTION "leak in a string"(p text) RETURNS void AS {SET_IT}; COMMIT',
        "SELECT \"leak in a string\"('{}')",
        "PREPARE leak_prepared AS SELECT leak_set($1)",
        "EXECUTE leak_prepared('{}')",
        "PREPARE leak_setting AS SELECT set_config('app.password', $1, false)",
        "EXECUTE leak_setting('{}')",
        "EXECUTE leak_setting('{}', 'one too many')",
        "EXPLAIN EXECUTE leak_setting('{}')",
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
            "CREATE PROCEDURE leak_call(p text) AS $$ BEGIN EXECUTE "
            "'ALTER ROLE leak PASSWORD ' || quote_literal(p); END $$ LANGUAGE plpgsql"
        ),
        "CALL leak_call('{}')",
        "SELECT set_password('leak', '{}')",
        "SELECT make_login(name => 'leak', password => '{}')",
    ],
    "foreign data": [
        "CREATE EXTENSION IF NOT EXISTS dblink",
        "CREATE SERVER leak_server FOREIGN DATA WRAPPER dblink_fdw OPTIONS (host '127.0.0.1')",
        "CREATE USER MAPPING FOR leak SERVER leak_server OPTIONS (user 'u', password '{}')",
        "CREATE USER MAPPING FOR PUBLIC SERVER leak_server OPTIONS (\"user\" 'u', \"pin\" '{}')",
        "ALTER USER MAPPING FOR leak SERVER leak_server OPTIONS (SET password '{}')",
        "ALTER USER MAPPING FOR leak SERVER leak_server OPTIONS (SET U&\"p\\0061ssword\" '{}')",
        "CREATE USER MAPPING FOR leak SERVER nowhere OPTIONS (password '{}')",
        "CREATE SERVER leak_2 FOREIGN DATA WRAPPER dblink_fdw OPTIONS (password '{}')",
        "CREATE SERVER leak_2 FOREIGN DATA WRAPPER dblink_fdw OPTIONS (aws_secret_access_key '{}')",
        "ALTER SERVER leak_server OPTIONS (ADD \"token\" '{}')",
        "CREATE FOREIGN DATA WRAPPER leak_wrapper OPTIONS (secret '{}')",
        "ALTER FOREIGN DATA WRAPPER leak_wrapper OPTIONS (ADD passphrase '{}')",
        "CREATE FOREIGN TABLE leak_table (a int) SERVER leak_server OPTIONS (password '{}')",
        "IMPORT FOREIGN SCHEMA s FROM SERVER leak_server INTO public OPTIONS (password '{}')",
    ],
    "connection strings": [
        "SELECT dblink_connect('host=127.0.0.1 port=1 password={}')",
        "SELECT dblink_connect('host=127.0.0.1 port=1 password = ''a {}''')",
        "SELECT dblink_connect('postgresql://u:{}@127.0.0.1:1/d')",
        "SELECT dblink_connect('postgresql://127.0.0.1:1/d?user=u&password={}')",
        "SELECT dblink_connect_u('c', E'host=127.0.0.1 port=1 p\\141ssword={}')",
        "SELECT dblink_connect('port=1 pass'\n'word={}')",
        "SELECT nothing('port=1 pass'\n'word={}')",
        "SELECT dblink_connect(concat_ws('=', 'password', '{}'))",
        ("SELECT dblink_connect($1)", "host=127.0.0.1 port=1 password={}"),
        ("SELECT dblink_connect($1)", "nonsense password={}"),
        "SELECT dblink_exec('nowhere', 'ALTER ROLE leak PASSWORD ''{}''')",
        ("SELECT dblink_exec('nowhere', $1)", "ALTER ROLE leak PASSWORD '{}'"),
        "CREATE VIEW leak_view AS SELECT * FROM dblink('port=1 password={}', 'q') AS t (a int)",
        "DECLARE leak_cursor CURSOR FOR SELECT dblink_connect('password={}')",
        "EXPLAIN SELECT dblink_connect('host=h password={}')",
        "CREATE RULE leak_rule AS ON INSERT TO t DO ALSO SELECT dblink_connect('password={}')",
        "CREATE EVENT TRIGGER leak_trigger ON ddl_command_start EXECUTE FUNCTION f('password={}')",
        (
            "CREATE SUBSCRIPTION leak_sub CONNECTION 'host=127.0.0.1 port=1 password={}' "
            "PUBLICATION p WITH (connect = false)"
        ),
        "ALTER SUBSCRIPTION leak_sub CONNECTION 'host=127.0.0.1 port=1 password={}'",
        "ALTER SUBSCRIPTION leak_sub CONNECTION 'host=127.0.0.1 port=1 sslpassword={}'",
        "CREATE SUBSCRIPTION leak_sub CONNECTION 'nonsense password={}' PUBLICATION p",
        "ALTER SUBSCRIPTION leak_sub SET (slot_name = NONE)",
        "DROP SUBSCRIPTION leak_sub",
        "NOTIFY channel, 'password={}'",
    ],
    "settings": [
        "ALTER SYSTEM SET primary_conninfo = 'host=h password={}'",
        "ALTER SYSTEM RESET primary_conninfo",
        "ALTER SYSTEM SET archive_command = 'PGPASSWORD={} pg_dump'",
        "ALTER SYSTEM RESET archive_command",
        "SET leak.password = '{}'",
        "SET SESSION \"leak.pwd\" TO '{}'",
        "SET LOCAL leak.passphrase = '{}'",
        ("SELECT set_config($1, $2, false)", "leak.password", "{}"),
        "SELECT set_config('leak.' || 'pwd', '{}', true)",
        "ALTER ROLE leak SET leak.password = '{}'",
        "ALTER ROLE ALL IN DATABASE postgres SET leak.password TO '{}'",
        "ALTER ROLE ALL IN DATABASE postgres RESET ALL",
        "ALTER DATABASE postgres SET leak.password = '{}'",
        "ALTER DATABASE postgres RESET ALL",
        "ALTER FUNCTION leak_fixed() SET leak.password = '{}'",
        "CREATE FUNCTION leak_f() RETURNS int SET leak.pwd = '{}' AS 'SELECT 1' LANGUAGE sql",
    ],
    "catalogues and files": [
        "UPDATE pg_authid SET rolpassword = '{}' WHERE rolname = 'nobody_there'",
        "INSERT INTO pg_authid (oid, rolname, rolpassword) VALUES (1, 'nobody_there', '{}')",
        "UPDATE pg_user_mapping SET umoptions = '{password={}}' WHERE false",
        "UPDATE pg_subscription SET subconninfo = 'host=h password={}' WHERE false",
        "COPY nowhere FROM PROGRAM 'PGPASSWORD={} psql'",
        "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null # --password={}'",
        "COPY (SELECT 'h:5432:*:u:{}') TO '/nowhere/.pgpass'",
    ],
    "remarks": [
        "COMMENT ON ROLE leak IS 'password: {}'",
        "COMMENT ON DATABASE postgres IS 'the pwd is {}'",
        "SECURITY LABEL FOR selinux ON ROLE leak IS 'password {}'",
        "SELECT 1 /* ALTER ROLE leak PASSWORD '{}' */",
        "-- password={}\nSELECT 1",
    ],
    "texts that quote one": [
        "SELECT 'ALTER ROLE leak PASSWORD ''{}'''::int",
        "SELECT query FROM pg_stat_statements WHERE query LIKE 'ALTER ROLE % PASSWORD ''{}'''",
        "SELECT 'SCRAM-SHA-256$4096:c2FsdA==${}:c2VydmVy'",
        ("SELECT $1::text", "ALTER ROLE leak PASSWORD '{}'"),
        ("SELECT $1::int", "ALTER ROLE leak PASSWORD '{}'"),
    ],
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    with PostgresServer(programs=find_server(request.param)) as server:
        yield server


def test_the_corpus_is_large():
    assert sum(len(statements) for statements in LEAKS.values()) >= 150


@pytest.mark.parametrize("kind", LEAKS)
def test_a_password_is_in_no_entry_however_it_is_set(watched, kind):
    texts = [one if isinstance(one, tuple) else (one,) for one in LEAKS[kind]]
    with watched.session() as connection:
        for text, *values in texts:
            sql = text.replace("{}", SECRET)
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql, [v.replace("{}", SECRET) for v in values] or None)
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
    leaking = [
        encode(entry).decode() for entry in watched.entries if SECRET in encode(entry).decode()
    ]
    assert leaking == []
    assert SECRET in "".join(
        path.read_text() for path in watched.server.log_directory.glob("*.json")
    ), "the log does hold it"
    statements = [s for s in watched.statements() if s[-1].command_text != "ROLLBACK"]
    assert len(statements) >= len(LEAKS[kind])


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
