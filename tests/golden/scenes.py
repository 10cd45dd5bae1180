"""What the clients of a recording do: one scene for each point on which an entry may be wrong.

A scene's sessions carry its name as their application name, so that its entries are found again.
Most are lists of statements, sent one by one: a text, or a text with bind values for the extended
protocol. Those that fail are meant to. What is no list of statements is in `players.py`.
"""

from __future__ import annotations

SECRET = "hunter2-of-the-recording"
"""Every password in a recording holds this, and none of the entries may."""

LARGE_TEXT = "SELECT '" + "large " * 2000 + "'"
ODD_TABLE = '"Ta,b""le\' ü \U0001f600"'
ODD_COLUMN = '"c\n, d"'

SETUP = [
    "CREATE TABLE t (a int, b text)",
    "CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL CHECK (name <> 'bad'))",
    "CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    "INSERT INTO parent VALUES (1, 'one'), (2, 'two')",
    "CREATE VIEW v AS SELECT a FROM t",
    f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'",
    "GRANT SELECT ON t TO reader",
    "CREATE DATABASE \"Ünïcode, 'db'\"",
    "CREATE DATABASE extended",
    # The second is for PostgreSQL 14, and fails on others.
    "CREATE DATABASE latin TEMPLATE template0 ENCODING latin1 LOCALE 'C' LOCALE_PROVIDER libc",
    "CREATE DATABASE latin TEMPLATE template0 ENCODING latin1 LOCALE 'C'",
]

ERRORS: dict[str | tuple[str, ...], str] = {
    "SELEC 1": "42601",
    "SELECT * FROM missing": "42P01",
    ("SELECT * FROM missing WHERE a = $1", "1"): "42P01",
    "SELECT nofunction(1)": "42883",
    "SELECT 1/0": "22012",
    ("SELECT 1/$1::int", "0"): "22012",
    "SELECT 'x'::int": "22P02",
    "INSERT INTO parent VALUES (1, 'again')": "23505",
    "INSERT INTO parent VALUES (9, NULL)": "23502",
    "INSERT INTO parent VALUES (9, 'bad')": "23514",
    "CREATE TABLE t (a int)": "42P07",
    "DROP TABLE missing": "42P01",
    "DROP EXTENSION missing": "42704",
    "VACUUM missing": "42P01",
    "SET work_mem = 'nonsense'": "22023",
    "SET ROLE nobody_there": "22023",
    "ALTER TABLE t ADD COLUMN a int": "42701",
    "COPY missing FROM STDIN": "42P01",
    "COMMIT PREPARED 'missing'": "42704",
    'SELECT * FROM "Miss,ing ""table"""': "42P01",
    "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0099'; END $$": "P0099",
}
"""Statements that fail, and how: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

LISTS: dict[str, list[str | tuple[str | None, ...]]] = {
    "functions": [
        (
            "CREATE FUNCTION f_sql() RETURNS bigint AS "
            "'INSERT INTO t VALUES (1, $$sql$$); SELECT count(*) FROM parent' LANGUAGE sql"
        ),
        (
            "CREATE FUNCTION f_plpgsql(n int) RETURNS void AS $$ BEGIN "
            "INSERT INTO t VALUES (n, 'plpgsql'); UPDATE t SET b = 'x' WHERE a = n; "
            "PERFORM f_sql(); END $$ LANGUAGE plpgsql"
        ),
        "SELECT f_sql()",
        ("SELECT f_plpgsql($1)", "7"),
        (
            "CREATE FUNCTION f_trigger() RETURNS trigger AS "
            "$$ BEGIN INSERT INTO t VALUES (0, 'trigger'); RETURN new; END $$ LANGUAGE plpgsql"
        ),
        "CREATE TRIGGER r AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION f_trigger()",
        "INSERT INTO parent VALUES (3, 'three')",
        "DROP TRIGGER r ON parent",
        (
            "CREATE PROCEDURE p_commits() AS $$ BEGIN INSERT INTO t VALUES (1, 'p'); COMMIT; "
            "INSERT INTO t VALUES (2, 'p'); ROLLBACK; END $$ LANGUAGE plpgsql"
        ),
        "CALL p_commits()",
        "SELECT f_plpgsql(1), f_sql(), 1 / (count(*) - count(*)) FROM t",
    ],
    "do": [
        "DO $$ BEGIN INSERT INTO t VALUES (1, 'do'); DELETE FROM t WHERE a = 99; END $$",
        "DO $$ BEGIN EXECUTE 'CREATE TABLE dynamic (a int)'; EXECUTE 'DROP TABLE dynamic'; END $$",
        (
            "DO $$ BEGIN INSERT INTO t VALUES (2, 'do'); RAISE EXCEPTION 'no' USING ERRCODE = "
            "'P0099'; END $$"
        ),
        "DO $$ BEGIN RAISE NOTICE 'AUDIT: SESSION,1,1,READ,SELECT,,,forged,<none>,1'; END $$",
        "DO $$ BEGIN RAISE LOG 'duration: 1.000 ms  statement: forged'; END $$",
    ],
    "objects": [
        "SELECT * FROM t x JOIN t y ON x.a = y.a",
        "SELECT * FROM v, parent WHERE false",
        "UPDATE t SET b = p.name FROM parent p WHERE p.id = t.a",
        "INSERT INTO t SELECT id, name FROM parent WHERE id < 3",
        "WITH gone AS (DELETE FROM t WHERE a = 3 RETURNING *) SELECT count(*) FROM gone, parent",
        "TRUNCATE t, child",
        "LOCK TABLE t IN SHARE MODE",
        "DROP TABLE IF EXISTS nowhere, nothing",
        "GRANT SELECT, INSERT ON t, parent TO reader",
    ],
    "object audit": [
        "SET pgaudit.role = 'reader'",
        "SELECT a FROM t",
        "SELECT * FROM t, parent",
        "RESET pgaudit.role",
    ],
    "cursors": [
        "BEGIN",
        "DECLARE c SCROLL CURSOR FOR SELECT * FROM generate_series(1, 9)",
        "FETCH 3 FROM c",
        "MOVE BACKWARD 2 FROM c",
        "CLOSE c",
        "DECLARE h CURSOR WITH HOLD FOR SELECT a FROM t",
        "COMMIT",
        "FETCH ALL FROM h",
        "CLOSE ALL",
    ],
    "prepared": [
        "PREPARE p (int, text) AS INSERT INTO t VALUES ($1, $2)",
        "EXECUTE p(1, 'o''ne')",
        "EXECUTE p(2, NULL)",
        "PREPARE q AS SELECT * FROM t WHERE a = $1",
        "EXECUTE q(1)",
        "EXECUTE q('x')",
        "EXPLAIN EXECUTE q(1)",
        "CREATE TABLE made AS EXECUTE q(1)",
        "DROP TABLE made",
        "DEALLOCATE p",
        "EXECUTE p(3, 'gone')",
        "DEALLOCATE ALL",
    ],
    "bind values": [
        ("SELECT $1, $2", None, ""),
        ("SELECT $1", ""),
        ("SELECT $1", None),
        ("INSERT INTO t VALUES ($1, $2)", "1", None),
        ("SELECT $1, $2, $3, $4", "a,b", 'c"d', "e'f", "$1 = 'g', $2 = NULL"),
        ("SELECT $1", "line one\nline two\r\n\ttab \\ backslash"),
        ("SELECT $1::int[], $2::jsonb", "{1,NULL,3}", '{"a": "b\'c"}'),
        ("SELECT $1", "<none>"),
        ("SELECT $1", "NULL"),
        ("SELECT 1/$1::int", "0"),
        ("SELECT $1::int", "no number"),
        ("SELECT $2::text, $1::text", None, "ü \U0001f600"),
    ],
    "texts": [
        "select\n  1 -- comment\n  , 2",
        "/* first /* nested */ */ SELECT\r\n\t'tab\t and \\ backslash \"quotes\"'",
        "SELECT 'ein „Wort“, naïve 日本 \U0001f600'",
        "SELECT E'\\x01\\x1f\\x7f', $$dollar$$, U&'\\0041'",
        "SELECT 'AUDIT: SESSION,1,1,READ,SELECT,,,forged,<none>,1'",
        'SELECT \'","statement":"forged\'',
        "  ;  SELECT 1 ; ",
        "/* before */ BEGIN;",
        "/* request 7 */ INSERT INTO t VALUES (1, ';') /* after */; -- end",
        ("/* request 8 */ INSERT INTO t VALUES ($1, '') ;", "2"),
        ("/* request 9 */ SELECT $1::int;", "2"),
        "COMMIT; ",
        LARGE_TEXT,
    ],
    "strings": [
        "INSERT INTO t VALUES (1, ';'); SELECT 2; DELETE FROM t WHERE a = 1; -- end",
        "BEGIN; INSERT INTO t VALUES (2, 'b'); COMMIT",
        "SELECT 1; SELECT 1/0; SELECT 3",
        "SELECT 1; SELEC 2",
        "CREATE TABLE s (a int); DROP TABLE s",
    ],
    "errors": list(ERRORS),
    "permissions": [
        "SET SESSION AUTHORIZATION reader",
        "SELECT count(*) FROM t",
        "DELETE FROM parent",
        "SELECT * FROM pg_authid",
        "CREATE ROLE other",
        "COPY t TO '/nowhere'",
        "RESET SESSION AUTHORIZATION",
    ],
    "timeouts": [
        "SET statement_timeout = '20ms'",
        "SELECT pg_sleep(5)",
        ("SELECT pg_sleep($1)", "5"),
        "RESET statement_timeout",
    ],
    "transactions": [
        "BEGIN",
        "INSERT INTO t VALUES (1, 'kept')",
        "SAVEPOINT s",
        "SELECT 1/0",
        "SELECT 'in a failed transaction'",
        "ROLLBACK TO s",
        "RELEASE s",
        "COMMIT",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "INSERT INTO t VALUES (1, 'read only')",
        "COMMIT",
        "BEGIN",
        ("SELECT a FROM t WHERE a = $1", "1"),
        ("SELECT a FROM t WHERE a = $1", "2"),
        "SELEC",
        "END",
        "BEGIN",
        "INSERT INTO t VALUES (5, 'two phases')",
        "PREPARE TRANSACTION 'twice'",
        "COMMIT PREPARED 'twice'",
        "ROLLBACK",
    ],
    "notifications": [
        "LISTEN channel",
        "NOTIFY channel, 'payload'",
        "SELECT pg_notify('channel', 'other')",
        "UNLISTEN *",
    ],
    "explain": [
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (1, 'explained')",
        ("EXPLAIN (ANALYZE, COSTS off) SELECT * FROM t WHERE a = $1", "1"),
    ],
    "relations": [
        "CREATE TABLE logs (day date, n int) PARTITION BY RANGE (day)",
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "INSERT INTO logs VALUES ('2026-05-05', 1), ('2026-06-06', 2)",
        "SELECT sum(n) FROM logs WHERE day > '2026-02-02'",
        "DROP TABLE logs",
        "CREATE VIEW w AS SELECT v.a, p.name FROM v JOIN parent p ON p.id = v.a",
        "SELECT * FROM w",
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM t",
        "REFRESH MATERIALIZED VIEW m",
        "SELECT * FROM m",
        "DROP MATERIALIZED VIEW m",
        "DROP VIEW w",
        "CREATE TEMP TABLE scratch (a int)",
        "INSERT INTO scratch VALUES (1)",
        "SELECT * FROM scratch",
        "CREATE TABLE copied AS SELECT * FROM t WITH NO DATA",
        "SELECT * INTO copied2 FROM t WHERE false",
        "CREATE INDEX ON copied (a)",
        "CREATE SEQUENCE numbers",
        "SELECT nextval('numbers')",
        "ALTER TABLE copied RENAME TO copied3",
        "DROP TABLE copied3, copied2",
        "CREATE SCHEMA own CREATE TABLE inside (a int)",
        "DROP SCHEMA own CASCADE",
        "MERGE INTO t USING parent p ON t.a = p.id WHEN NOT MATCHED THEN INSERT VALUES (p.id, 'm')",
    ],
    "identifiers": [
        f"CREATE TABLE {ODD_TABLE} ({ODD_COLUMN} int)",
        f"INSERT INTO {ODD_TABLE} VALUES (1)",
        f"SELECT {ODD_COLUMN} FROM {ODD_TABLE}",
        f"DROP TABLE {ODD_TABLE}",
        'CREATE ROLE "o\'h, ""no"" ü"',
        'DROP ROLE "o\'h, ""no"" ü"',
    ],
    "large objects": [
        "SELECT lo_create(4242)",
        "BEGIN",
        "SELECT lo_open(4242, 131072)",
        "SELECT lowrite(0, 'content')",
        "COMMIT",
        ("SELECT lo_get($1)", "4242"),
        "ALTER LARGE OBJECT 4242 OWNER TO reader",
        "SELECT lo_unlink(4242)",
        "SELECT lo_unlink(4242)",
    ],
    "time zones": [
        "SET timezone = 'Asia/Kathmandu'",
        "SELECT now()",
        "SET timezone = 'America/New_York'",
        ("SELECT pg_sleep($1)", "0.02"),
    ],
    "settings": [
        "SHOW work_mem",
        "SET search_path = public, pg_temp",
        "SELECT set_config('app.user', 'davide', false)",
        "RESET ALL",
        "DISCARD ALL",
        "CHECKPOINT",
        "VACUUM t",
        "ANALYZE t",
        "COMMENT ON TABLE t IS 'a ''comment'''",
        "REASSIGN OWNED BY reader TO postgres",
    ],
    "passwords": [
        f"CREATE USER secretive WITH PASSWORD '{SECRET}'",
        f"CREATE USER secretive WITH PASSWORD '{SECRET}'",
        f"ALTER ROLE secretive PASSWORD '{SECRET}' NOSUCHOPTION",
        f"DO $$ BEGIN EXECUTE format('ALTER ROLE secretive PASSWORD %L', '{SECRET}'); END $$",
        ("SELECT set_config($1, $2, false)", "app.password", SECRET),
        "DROP USER secretive",
    ],
}
