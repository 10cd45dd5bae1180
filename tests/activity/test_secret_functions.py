"""What sets a credential by its arguments alone is known by how it was made."""

from __future__ import annotations

import pytest

from dastream.activity import redact as redact_module
from dastream.activity.redact import SecretFunctions


def test_a_function_that_sets_a_credential_is_known_by_its_calls():
    functions = SecretFunctions()
    assert not functions.are_called("SELECT app.grant_login('hunter2')")
    functions.learn('CREATE OR REPLACE FUNCTION "app"."Grant_Login"(p text) RETURNS void')
    assert functions.are_called("SELECT app.grant_login('hunter2')")
    assert functions.are_called("SELECT \"Grant_Login\" ('hunter2')")
    assert functions.are_called("SELECT app . grant_login/* x */('hunter2')")
    assert not functions.are_called("SELECT * FROM grant_login")


@pytest.mark.parametrize(
    ("made", "call"),
    [
        ("/* c */ CREATE /* c */ FUNCTION f(p text)", "SELECT f('x')"),
        ("BEGIN; CREATE FUNCTION f(p text); COMMIT", "SELECT f('x')"),
        ("CREATE FUNCTION public . f (p text)", "SELECT public\n.\nf('x')"),
        ('CREATE FUNCTION "my func"(p text)', "SELECT public.\"my func\" ('x')"),
        ('CREATE FUNCTION "my ""func"(p text)', 'CALL "my ""func"($1)'),
        ("CREATE FUNCTION f€$(p text)", "SELECT f€$('x')"),
        ("CREATE FUNCTION f(p text)", "SELECT f /* c */ -- c\n ('x')"),
        ("CREATE FUNCTION f(p text)", "SELECT U&\"\\0066\"('x')"),
        ("CREATE FUNCTION f(p text)", "ALTER FUNCTION f RENAME TO g"),
        ("CREATE FUNCTION f(p text)", "DO $$ BEGIN EXECUTE 'SELECT f /**/ (''x'')'; END $$"),
        ("ALTER FUNCTION f(text) RENAME TO g", "SELECT g('x')"),
        ("DO $$ BEGIN EXECUTE 'CREATE FUNCTION f(p text)'; END $$", "SELECT f('x')"),
        ("PREPARE p AS SELECT f($1)", "EXECUTE p('x', 1)"),
        ("PREPARE p (text) AS SELECT f($1)", "EXPLAIN EXECUTE p ('x')"),
        ("CREATE TRIGGER t AFTER INSERT ON s.a EXECUTE FUNCTION f()", "INSERT INTO a VALUES ('x')"),
        ("CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()", 'COPY "a" FROM STDIN'),
    ],
)
def test_what_sets_a_credential_is_known_however_it_is_spelled(made, call):
    functions = SecretFunctions()
    functions.learn(made)
    assert functions.are_called(call)
    assert not functions.are_called("SELECT f, g, p FROM a WHERE h('x')")


def test_too_many_functions_make_every_call_a_secret(monkeypatch):
    monkeypatch.setattr(redact_module, "FUNCTIONS_MAX", 2)
    functions = SecretFunctions()
    functions.learn("CREATE FUNCTION a(p text)")
    assert not functions.are_called("SELECT c('x')")
    functions.learn("CREATE FUNCTION b(p text)")
    functions.learn("CREATE FUNCTION c(p text)")
    assert functions.are_called("SELECT c('x')")
    assert not functions.are_called("SELECT c FROM a")


def test_what_a_function_is_renamed_to_is_known_too():
    functions = SecretFunctions()
    functions.learn("BEGIN; CREATE/**/FUNCTION f(p text) RETURNS void AS 'x'; COMMIT")
    renaming = 'ALTER FUNCTION f RENAME TO "G g"'
    assert functions.are_called(renaming)
    functions.learn(renaming)
    assert functions.are_called("SELECT \"G g\"('hunter2')")


def test_a_prepared_statement_is_known_by_its_execution():
    functions = SecretFunctions()
    functions.learn("PREPARE p (text) AS SELECT set_config('app.password', $1, false)")
    assert functions.are_called("EXECUTE p('hunter2')")
    assert functions.are_called("EXPLAIN EXECUTE p('hunter2')")
    assert not functions.are_called("DEALLOCATE p")
