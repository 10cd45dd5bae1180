"""What is cut of a text, what is kept, and how long that takes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.activity.credentials import is_suspicious
from dastream.activity.log_row import bound_values
from dastream.activity.redact import (
    MASK,
    SecretFunctions,
    conceal,
    redact,
    redact_message,
    redact_statement,
    redact_unparsed,
    redact_values,
)

SET_DIRECTLY = {
    "CREATE USER davide WITH PASSWORD 'hunter2'": "CREATE USER davide WITH PASSWORD",
    "create role x login password 'hunter2' valid until '2030-01-01'": (
        "create role x login password"
    ),
    "ALTER ROLE x ENCRYPTED PASSWORD 'hunter2'": "ALTER ROLE x ENCRYPTED PASSWORD",
    "ALTER USER x\n\tPassword\n\t'hunter2'": "ALTER USER x\n\tPassword",
    "ALTER USER x PASSWORD/* comment */'hunter2'": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD E'hun\\x74er2 hunter2'": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD U&'hun\\0074er2 hunter2'": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD $$hunter2$$": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD $a$hunter2$a$": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD 'hun''ter2 hunter2'": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD 'hunter2": "ALTER USER x PASSWORD",
    "ALTER USER x PASSWORD hunter2": "ALTER USER x PASSWORD",
    'ALTER USER x PASSWORD "hunter2"': "ALTER USER x PASSWORD",
    "SELECT 1; ALTER USER x PASSWORD 'hunter2'; SELECT 2": "SELECT 1; ALTER USER x PASSWORD",
    "CREATE USER x IDENTIFIED BY 'hunter2'": "CREATE USER x IDENTIFIED BY",
    "CREATE USER x WITH PASWORD 'hunter2'": "CREATE USER x WITH PASWORD",
    "CREATE ROLE y; ALTER ROLE y PASWORD 'hunter2'": "CREATE ROLE y; ALTER ROLE y PASWORD",
    "CREAT USER x PASSWORD 'hunter2'": "CREAT USER x PASSWORD",
    "CREATE USER x VALID UNTIL '2030-01-01' PASSWORD 'hunter2'": (
        "CREATE USER x VALID UNTIL '2030-01-01' PASSWORD"
    ),
    "CREATE USER MAPPING FOR x SERVER s OPTIONS (user 'u', password 'hunter2')": (
        "CREATE USER MAPPING FOR x SERVER s OPTIONS"
    ),
    "ALTER USER MAPPING FOR x SERVER s OPTIONS (SET U&\"p\\0061ssword\" 'hunter2')": (
        "ALTER USER MAPPING FOR x SERVER s OPTIONS"
    ),
    "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (passwd 'hunter2')": (
        "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS"
    ),
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p": (
        "CREATE SUBSCRIPTION s CONNECTION"
    ),
    "SET app.password = 'hunter2'": "SET app.password",
    "ALTER SYSTEM SET ssl_passphrase_command = 'echo hunter2'": "ALTER SYSTEM SET ssl_passphrase",
    "SELECT set_password('davide', 'hunter2')": "SELECT set_password",
    "SELECT f(name => 'x', password => 'hunter2')": "SELECT f(name => 'x', password",
    "UPDATE pg_authid SET rolpassword = 'hunter2'": "UPDATE pg_authid",
    "SELECT 'SCRAM-SHA-256$4096:hunter2'": "SELECT",
    "ALTER FUNCTION f() SET app.password = 'hunter2'": "ALTER FUNCTION f() SET app.password",
    "COMMENT ON ROLE x IS 'the password is hunter2'": "COMMENT ON ROLE x IS",
    "SECURITY LABEL FOR p ON ROLE x IS 'pwd hunter2'": "SECURITY LABEL FOR p ON ROLE x IS",
    "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'h', secret_key 'hunter2')": (
        "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS"
    ),
    f"ALTER TABLE t SET (x = md5{'0a' * 16})": "ALTER TABLE t SET (x =",
    "CREATE USR d WITH PASSWORD 'hunter2'": "CREATE USR d WITH PASSWORD",
    "CREAT USER d WITH PASSWORD 'hunter2'": "CREAT USER d WITH PASSWORD",
    "ALTR ROLE d WITH ENCRYPTED PASSWORD U&'hunter2'": "ALTR ROLE d WITH ENCRYPTED PASSWORD",
    "ALTER d WITH PASSWORD 'hunter2'": "ALTER d WITH PASSWORD",
    'CREATE USR d WITH PASSWORD "hunter2"': "CREATE USR d WITH PASSWORD",
    "CREATE USR d WITH PASSWORD hunter2": "CREATE USR d WITH PASSWORD",
    "CREATE LOGIN d WITH PASSWORD = 'hunter2'": "CREATE LOGIN d WITH PASSWORD",
    "CREATE LOGIN d WITH PASSWORD = N'hunter2'": "CREATE LOGIN d WITH PASSWORD",
    "CREAT USER d PASSWORD U&'hunter2'": "CREAT USER d PASSWORD",
    'CREATE USER d WITH PASSWRD "hunter2"': "CREATE USER d WITH PASSWRD",
    'ALTER ROLE "d" WITH "hunter2"': 'ALTER ROLE "d" WITH',
    "UPDATE pg_shadow SET passwd = 'hunter2'": "UPDATE pg_shadow",
    "/* new pw hunter2 */ ALTER USER d PASSWORD 'hunter2'": "",
    "SELECT 1; -- hunter2\nALTER USER d PASSWORD 'hunter2'": "SELECT 1;",
    "ALTER USER d /* hunter2 */ PASSWORD 'hunter2'": "ALTER USER d",
}

PUT_TOGETHER = {
    "DO $$ BEGIN ALTER ROLE x PASSWORD 'hunter2'; END $$": "DO",
    "DO $$ DECLARE p text='hunter2'; BEGIN EXECUTE format('ALTER USER x PASSWORD %L', p); END $$": (
        "DO"
    ),
    "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASS' || 'WORD ''hunter2'''; END $$": "DO",
    "DO $$ BEGIN EXECUTE 'ALT' || 'ER RO' || 'LE x PASSWORD ' || quote('hunter2'); END $$": ("DO"),
    "DO 'BEGIN EXECUTE ''ALTER ROLE x PASSWORD ''''hunter2''''''; END'": "DO",
    "DO $a$ BEGIN EXECUTE $b$ALTER ROLE x PASSWORD 'hunter2'$b$; END $a$": "DO",
    "DO $$ BEGIN EXECUTE U&'ALTER ROLE x P\\0041SSWORD ''hunter2'''; END $$": "DO",
    "DO $$ BEGIN EXECUTE U&'ALTER ROLE x P!0041SSWORD ''hunter2''' UESCAPE '!'; END $$": "DO",
    "DO $$ BEGIN EXECUTE E'ALTER ROLE x P\\x41SSWORD ''hunter2'''; END $$": "DO",
    "CREATE FUNCTION f() RETURNS void AS $$ ALTER ROLE x PASSWORD 'hunter2' $$ LANGUAGE sql": (
        "CREATE FUNCTION f"
    ),
    "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASS' || chr(87) || 'ORD ''hunter2'''; END $$": "DO",
    "-- the password is hunter2\nALTER ROLE x PASSWORD 'hunter2'": "",
    "SELECT dblink_connect('host=h password=hunter2')": "SELECT dblink_connect",
    "SELECT dblink_connect('host=h password = hunter2')": "SELECT dblink_connect",
    "SELECT dblink_connect('postgresql://u:hunter2@h/d')": "SELECT dblink_connect",
    "SELECT dblink_connect(E'host=h p\\141ssword=hunter2')": "SELECT dblink_connect",
    "SELECT dblink_connect('host=h pass' || 'word=hunter2')": "SELECT dblink_connect",
    "SELECT dblink_connect(format('%2$s=%1$s', 'hunter2', 'password'))": "SELECT dblink_connect",
    "SELECT dblink_exec('c', 'ALTER ROLE x PASSWORD ''hunter2''')": "SELECT dblink_exec",
    "SELECT set_config('app.password', 'hunter2', false)": "SELECT set_config",
    "SELECT format('%s %s %s PASSWORD %L', 'ALTER', 'ROLE', 'x', 'hunter2')": "SELECT format",
    "SELECT f(concat('host=h pass', 'word=hunter2'))": "SELECT f",
    "COPY (SELECT 'h:*:*:u:hunter2') TO '/root/.pgpass'": "COPY",
    "COPY t FROM PROGRAM 'PGPASSWORD=hunter2 psql'": "COPY t FROM PROGRAM",
    "ALTER SYSTEM SET primary_conninfo = 'password=hunter2'": "ALTER SYSTEM SET primary_conninfo =",
    "/* ALTER ROLE x PASSWORD 'hunter2' */ SELECT 1": "",
    "-- password=hunter2\nSELECT 1": "",
    "INSERT INTO t (b) VALUES ('it\\'s a password', 'hunter2')": "INSERT INTO t",
    "SELECT dblink_connect($€$host=h password=hunter2$€$)": "SELECT dblink_connect",
    "SELECT f('host=h pass'\n'word=hunter2')": "SELECT f",
    "SELECT f('host=h pass' -- and\n 'word=' /* on */\n 'hunter2')": "SELECT f",
    "DO $$ BEGIN EXECUTE reverse('''2retnuh'' DROWSSAP x RESU RETLA'); END $$": "DO",
    "DO $$ BEGIN EXECUTE ( translate('4LT3R hunter2', '43', 'AE')); END $$": "DO",
    "DO $$ BEGIN EXECUTE convert_from(decode('QUxURVIg', 'base64'), 'UTF8'); END $$": "DO",
    "DO $$ BEGIN EXECUTE 'AL' || reverse('hunter2 RET'); END $$": "DO",
    "DO $$ DECLARE s text := reverse('hunter2'); BEGIN EXECUTE s; END $$": "DO",
    "BEGIN; DO 'BEGIN EXECUTE reverse(''hunter2''); END'": "BEGIN; DO",
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE chr(65)||''x''; END'": (
        "CREATE FUNCTION f"
    ),
    "COPY t FROM PROGRAM 'curl -u u:hunter2 https://h'": "COPY t FROM PROGRAM",
    "COPY t FROM PROGRAM 'curl https://u:hunter2@h/'": "COPY t FROM PROGRAM",
}

KEPT = [
    "SELECT * FROM users WHERE password = $1",
    "SELECT id FROM users WHERE name = 'x' AND password = 'theirs'",
    "UPDATE users SET password = 'theirs' WHERE id = 1",
    "INSERT INTO users (name, password, created_at) VALUES ('a', 'b', now())",
    "CREATE TABLE accounts (\"user\" text, password text DEFAULT 'password')",
    "CREATE TABLE password_resets (id int)",
    "CREATE INDEX ON password_resets (id)",
    "INSERT INTO password_resets (id) VALUES (1)",
    "CREATE FUNCTION f(p text) RETURNS bool AS $$ SELECT password = p FROM u $$ LANGUAGE sql",
    "SELECT rolname, rolpassword FROM pg_authid",
    "SET password_encryption = 'scram-sha-256'",
    "ALTER SYSTEM SET password_encryption = 'md5'",
    "CREATE ROLE x LOGIN VALID UNTIL '2030-01-01'",
    "ALTER ROLE x SET search_path = 'a'",
    "ALTER ROLE x RENAME TO y",
    "GRANT SELECT ON passwords TO x",
    "DO $$ BEGIN IF NOT FOUND THEN CREATE ROLE x; END IF; RAISE NOTICE 'made'; END $$",
    "DO $$ BEGIN EXECUTE format('CREATE TABLE %I (password text)', 'accounts'); END $$",
    "CREATE ROLE x; SELECT 'y'",
    "SELECT md5('x'), '\\x6162', E'a\\nb', 'it\\'s'",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h' PUBLICATION p",
    "SELECT 'postgres: a database'",
    "WITH password AS (SELECT 1) SELECT * FROM password",
    "WITH passwords (id) AS (SELECT 1) SELECT 'x' FROM passwords",
    "INSERT INTO passwords(id) VALUES ('x')",
    'CREATE ROLE "a b" IN ROLE "r", "s" ADMIN "t"',
    'ALTER ROLE "a b" IN DATABASE "d" SET search_path TO "x"',
    'ALTER USER "a" RENAME TO "b"',
    'CREATE USER MAPPING FOR "a" SERVER "s"',
    "SELECT * FROM pg_shadow WHERE usename = 'x'",
    "/* a comment */ CREATE ROLE x LOGIN",
    "SELECT 'a', 'b' -- host=h pass\n, 'word'",
    "DO $$ BEGIN EXECUTE 'CREATE TABLE ' || quote_ident('x'); END $$",
    "DO $$ BEGIN EXECUTE s; END $$",
    "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION f('x')",
    "GRANT EXECUTE ON FUNCTION f TO x",
    "EXECUTE p('x')",
    "COPY t FROM PROGRAM 'curl https://h/a:b'",
    "COMMENT ON COLUMN users.password IS 'bcrypt of the password'",
    "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'h', dbname 'd')",
    "CREATE FUNCTION f(password text) RETURNS text SET search_path = a AS 'x' LANGUAGE sql",
]


@pytest.mark.parametrize(("sql", "kept"), SET_DIRECTLY.items(), ids=SET_DIRECTLY)
def test_a_statement_that_sets_a_credential_is_cut_after_what_says_so(sql, kept):
    assert redact(sql) == f"{kept} {MASK}".strip()


@pytest.mark.parametrize(("sql", "kept"), PUT_TOGETHER.items(), ids=PUT_TOGETHER)
def test_a_text_that_puts_one_together_is_cut_at_its_first_value(sql, kept):
    assert redact(sql) == f"{kept} {MASK}".strip()


@pytest.mark.parametrize("sql", KEPT)
def test_other_texts_stay_as_they_are(sql):
    assert redact(sql) == sql


@pytest.mark.parametrize("sql", [*SET_DIRECTLY, *PUT_TOGETHER])
def test_what_has_been_cut_stays_as_it_is(sql):
    assert redact(redact(sql)) == redact(sql)


SPACES = st.text(" \t\n", min_size=1, max_size=3) | st.just("/* c */") | st.just(" -- c\n")
QUOTES = st.sampled_from(["'{}'", "E'{}'", "U&'{}'", "$${}$$", "$q${}$q$", "'{}", '"{}"', "{}"])


STATEMENTS = st.builds(
    "{verb}{s[0]}{kind}{s[1]}x{s[2]}{words}{s[3]}{password}{s[4]}".format,
    verb=st.sampled_from(["CREATE", "alter"]),
    kind=st.sampled_from(["ROLE", "User", "GROUP"]),
    words=st.sampled_from(["", "WITH", "LOGIN ENCRYPTED", "IN ROLE r", "VALID UNTIL '2030-01-01'"]),
    password=st.sampled_from(["PASSWORD", "password", "Password"]),
    s=st.lists(SPACES, min_size=5, max_size=5),
)
WRAPPINGS = st.sampled_from(["{}", "SELECT 1; {}", "DO $do$ BEGIN {}; END $do$", "/* {} */"])
SECRETS = st.text("abcdefgh0123456789!", min_size=12, max_size=20)


@given(STATEMENTS, QUOTES, SECRETS, WRAPPINGS)
def test_no_spelling_of_a_role_statement_lets_the_password_out(head, quote, secret, wrapping):
    cut = redact(wrapping.format(head + quote.format(secret)))
    assert secret not in cut
    assert cut.endswith(MASK)


@given(st.text("'\"$-/*\\;aePpUu& \n", max_size=60), st.text("xyz", min_size=8, max_size=8))
def test_what_comes_before_cannot_hide_a_password(before, secret):
    # Inside a literal or not: after anything at all, the keyword and its operand are found.
    sql = f"{before} ALTER ROLE r PASSWORD '{secret}'"
    assert secret not in redact(sql)


def test_bind_values_are_masked_with_their_statement():
    assert redact_statement("ALTER ROLE x PASSWORD $1", ["hunter2"]).values == [MASK]
    assert redact_statement("SELECT set_password($1, $2)", ["x", None]).values == [MASK, MASK]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT dblink_connect($1)", ["host=h password=hunter2"]),
        ("SELECT dblink_exec($1, $2)", ["c", "ALTER ROLE x PASSWORD 'hunter2'"]),
        ("SELECT set_config($1, $2, false)", ["app.password", "hunter2"]),
        ("SELECT run($1)", ["DO $$ BEGIN ALTER ROLE x PASSWORD 'hunter2'; END $$"]),
    ],
)
def test_bind_values_that_make_a_credential_are_masked(sql, values):
    assert redact_values(sql, values) == [MASK for _ in values]


@pytest.mark.parametrize("ending", ["", " -- ;", ")))"])
def test_a_keyword_may_begin_in_the_text_and_end_in_a_bind_value(ending):
    sql = f"SELECT dblink_connect(x || $1) FROM t WHERE x = 'host=h pass'{ending}"
    assert redact_statement(sql, ["word=hunter2"]).values == [MASK]


def test_bind_values_of_a_users_table_are_kept():
    values = ["theirs", None, "", "password"]
    assert redact_values("INSERT INTO users (password) VALUES ($1)", values) == values


def test_a_message_is_masked_if_it_quotes_a_credential():
    assert redact_message("syntax error at or near \"PASSWORD 'hunter2'\"") == MASK
    assert redact_message("SQL statement \"ALTER ROLE x PASSWORD 'hunter2'\"") == MASK
    assert redact_message('invalid connection option "password=hunter2"') == MASK
    login = 'password authentication failed for user "davide"'
    assert redact_message(login) == login


@pytest.mark.parametrize(
    "message", ['program "curl -u u:x h" failed', 'could not execute command "x": No such file']
)
def test_a_message_that_quotes_a_program_is_masked_but_not_its_statement(message):
    assert redact_message(message) == MASK
    sql = "COPY t FROM PROGRAM 'x'"
    assert redact_statement(sql, [], message).text == sql


def test_a_statement_is_cut_for_what_runs_inside_it():
    inside = "SQL statement \"ALTER ROLE x PASSWORD 'hunter2'\""
    redacted = redact_statement("SELECT f($1, 'hunter2')", ["hunter2"], None, inside)
    assert redacted == (f"SELECT f {MASK}", [MASK], True)


@pytest.mark.parametrize(
    ("sql", "kept"),
    {
        "ALTER USR x PASSWORD = 'hunter2'": "ALTER USR x PASSWORD",
        "ALTER USR x PASSWORD hunter-2": "ALTER USR x PASSWORD",
        "ALTER USR 'hunter2' PASSWORD": "ALTER USR",
        "ALTER USR x IDENTIFIED BY hunter2 -- the password": "ALTER USR x IDENTIFIED BY",
    }.items(),
)
def test_what_the_server_cannot_parse_is_cut_if_it_mentions_a_password(sql, kept):
    assert redact_unparsed(sql, ["x"]) == (f"{kept} {MASK}", [MASK], True)
    assert redact_unparsed("SELEC 'x'", ["x"]) is None


def test_a_mask_in_the_text_of_a_client_hides_nothing():
    sql = f"SELECT f('hunter2') -- {MASK}"
    assert redact(sql) == sql
    assert conceal(sql, ["x"]) == (f"SELECT f {MASK}", [MASK], True)


def test_ordinary_statements_are_passed_over_at_once():
    assert not is_suspicious("SELECT abalance FROM pgbench_accounts WHERE aid = 1")


@pytest.mark.parametrize(
    "piece",
    [
        "password",
        "create ",
        "$a$ $b$",
        "'",
        "/*",
        "subscription ",
        "until '",
        "e'\\",
        "((",
        "create user ",
        "password ",
        "do $$ ",
        "''",
        "uescape 'a'",
        "options ",
        "\\x41",
        "md5",
        'portal "',
        '\nportal "',
        "\nunnamed portal with parameters",
        "'pass'\n",
        "with password ",
        "with encrypted ",
        "execute (",
        "program 'x -u ",
        "://",
        "create function ",
        "a",
        "a.",
        'a"."',
        "prepare ",
        "comment on role ",
        "label for x ",
        "create server options ",
        "key",
        "create function set ",
        "pass",
        "rename to x ",
        "execute ",
        "x ",
    ],
)
def test_time_grows_with_the_length_and_no_faster(piece):
    functions = SecretFunctions()
    functions.learn("create function f()")

    def seconds(repeats):
        text = "create role password " + piece * repeats + " password"
        began = time.process_time()
        redact(text)
        redact_values(text[21:], [text])
        functions.are_called(text)
        functions.learn(text)
        SecretFunctions().learn(text)
        bound_values(text)
        return time.process_time() - began

    repeats = 40_000 // len(piece)
    assert seconds(4 * repeats) < 12 * seconds(repeats) + 0.05
