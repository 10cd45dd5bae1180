"""The outline of SQL text, the statements in it, and their commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream.activity.command import commands, failed_command, tag_of
from dastream.activity.sql import opaque, outline, statements


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 'A''B', X", "select '     , x"),
        ("SELECT E'\\'X'", "select '     "),
        ("SELECT e'x' AS n", "select '    as n"),
        ("namE'x'", "name'  "),
        ('SELECT "A""B"', 'select "     '),
        ("SELECT 1 -- C\n+ 2", "select 1      + 2"),
        ("/* a /* b */ c */X", "                 x"),
        ("$$A$$ $t$ $$ $t$B", "'     '         b"),
        ("a$b$c", "a$b$c"),
        ("$€$A$€$B", "'      b"),
        ("€$b$c", "€$b$c"),
        ("€e'\\'X", "€e'  x"),
        ("-- c\rX", "     x"),
        ("SELECT $1", "select $1"),
        ("SELECT 'open", "select '    "),
        ("/* open", "       "),
        ("ÄÖ İ", "ÄÖ İ"),
    ],
)
def test_the_outline_holds_the_code_alone(sql, code):
    assert outline(sql) == code


@given(st.text("aE'\"$-/*\\;() \nq", max_size=80))
def test_the_outline_is_as_long_as_the_text_and_holds_no_literal(sql):
    assert len(outline(sql)) == len(sql)
    for one in opaque(sql):
        assert outline(sql)[one.start + 1 : one.end].strip() == ""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("select 1", ["select 1"]),
        ("select 1;", ["select 1"]),
        ("select 1; ; select 2 ;", ["select 1", "select 2"]),
        ("create rule r as on x do (a; b)", ["create rule r as on x do (a; b)"]),
        ("create function f() begin atomic a; b; end; c", None),
        ("begin; end; select case when a then b end; c", None),
        ("   ", []),
    ],
)
def test_statements_end_at_semicolons_outside_of_bodies(code, found):
    expected = {
        "create function f() begin atomic a; b; end; c": [
            "create function f() begin atomic a; b; end",
            "c",
        ],
        "begin; end; select case when a then b end; c": [
            "begin",
            "end",
            "select case when a then b end",
            "c",
        ],
    }
    assert statements(code) == (expected[code] if found is None else found)


# What pgaudit 1.7 and PostgreSQL 15 say of these.
COMMANDS = {
    "create table t (a int)": ("CREATE TABLE", "DDL"),
    "CREATE UNLOGGED TABLE t (a int)": ("CREATE TABLE", "DDL"),
    "create unique index i on t (a)": ("CREATE INDEX", "DDL"),
    "create or replace view v as select 1": ("CREATE VIEW", "DDL"),
    "create materialized view v as select 1": ("CREATE MATERIALIZED VIEW", "DDL"),
    "create user u": ("CREATE ROLE", "ROLE"),
    "drop group g": ("DROP ROLE", "ROLE"),
    "create user mapping for u server s": ("CREATE USER MAPPING", "DDL"),
    "create foreign data wrapper w": ("CREATE FOREIGN DATA WRAPPER", "DDL"),
    "create text search configuration c (copy=english)": (
        "CREATE TEXT SEARCH CONFIGURATION",
        "DDL",
    ),
    "alter default privileges grant select on tables to r": ("ALTER DEFAULT PRIVILEGES", "ROLE"),
    "grant select on t to r": ("GRANT", "ROLE"),
    "reassign owned by r to s": ("REASSIGN OWNED", "DDL"),
    "comment on table t is 'x'": ("COMMENT", "DDL"),
    "truncate t": ("TRUNCATE TABLE", "WRITE"),
    "insert into t values (1)": ("INSERT", "WRITE"),
    "with x as (select 1) update t set a = 1": ("UPDATE", "WRITE"),
    "with x as (insert into t values (1) returning a) select * from x": ("SELECT", "WRITE"),
    "with x as (select 1) select * from x": ("SELECT", "READ"),
    "values (1)": ("SELECT", "READ"),
    "table t": ("SELECT", "READ"),
    "select * into u from t": ("SELECT INTO", "DDL"),
    "copy t to stdout": ("COPY", "READ"),
    "copy t (a, b) from stdin": ("COPY", "WRITE"),
    "copy (select * from t) to stdout": ("COPY", "READ"),
    "prepare p as insert into t values (1)": ("PREPARE", "WRITE"),
    "prepare p as select 1": ("PREPARE", "READ"),
    "declare c cursor for select 1": ("DECLARE CURSOR", "READ"),
    "do $$ begin end $$": ("DO", "FUNCTION"),
    "call p()": ("CALL", "MISC"),
    "begin": ("BEGIN", "MISC"),
    "end": ("COMMIT", "MISC"),
    "abort": ("ROLLBACK", "MISC"),
    "start transaction": ("START TRANSACTION", "MISC"),
    "lock t": ("LOCK TABLE", "MISC"),
    "explain insert into t values (1)": ("EXPLAIN", "MISC"),
    "/* x */ -- y\n  Vacuum t": ("VACUUM", "MISC"),
    "selec 1": ("SELEC", "MISC"),
}


@pytest.mark.parametrize(("sql", "command"), COMMANDS.items(), ids=COMMANDS)
def test_the_command_is_told_from_the_text(sql, command):
    assert commands(sql) == [command]


def test_the_server_knows_the_command_better():
    assert commands("grant r to s", "GRANT ROLE") == [("GRANT ROLE", "ROLE")]
    assert commands("copy t from stdin;", "COPY") == [("COPY", "WRITE")]


def test_each_statement_of_a_string_has_its_command():
    assert commands("select 1; drop table t; -- x", "DROP TABLE") == [
        ("SELECT", "READ"),
        ("DROP TABLE", "DDL"),
    ]
    assert commands("-- nothing") == []


def test_the_command_that_failed_is_the_one_that_the_server_ran():
    assert failed_command("select 1; drop table t", "DROP TABLE") == ("DROP TABLE", "DDL")
    assert failed_command("select 1; drop table t") == ("SELECT", "READ")
    assert failed_command("", "INSERT") == ("INSERT", "WRITE")
    assert failed_command("") == ("", "MISC")


@pytest.mark.parametrize(
    ("title", "tag"),
    [
        ("CREATE TABLE", "CREATE TABLE"),
        ("INSERT waiting", "INSERT"),
        ("idle in transaction", None),
        ("BIND", None),
        ("", None),
    ],
)
def test_a_process_title_is_a_tag_while_a_command_runs(title, tag):
    assert tag_of(title) == tag
