"""What a client can switch off for itself, as docs/own-postgresql.md says, on real servers."""

from __future__ import annotations

import contextlib

import psycopg

HIDDEN = "SELECT 'hidden'"


def commands_of(watched, *statements):
    """What is seen of a superuser's session, and of no other."""
    with psycopg.connect(watched.server.dsn(), autocommit=True) as connection:
        pid = connection.info.backend_pid
        for statement in statements:
            connection.execute(statement)
    with watched.session():
        pass  # whoever comes later is seen when all of the first has been
    return [(e.command, e.command_text) for e in watched.entries if e.pid == pid]


def test_a_log_that_says_nothing_hides_even_what_silenced_it(watched):
    seen = commands_of(watched, "SET log_min_messages = panic", HIDDEN, "SELECT 1 AS hidden")
    assert [command for command, _ in seen] == ["CONNECT"]


def test_without_durations_pgaudit_still_tells(watched):
    off = "SET log_min_duration_statement = -1"
    seen = commands_of(watched, off, HIDDEN)
    told = [("SET", off), ("SELECT", HIDDEN)] if watched.server.mode == "pgaudit" else []
    assert seen == [("CONNECT", None), *told, ("DISCONNECT", None)]


def test_without_pgaudit_the_server_still_tells(watched):
    off = "SET pgaudit.log = 'none'"
    seen = commands_of(watched, off, HIDDEN)
    assert seen == [("CONNECT", None), ("SET", off), ("SELECT", HIDDEN), ("DISCONNECT", None)]


def test_any_user_can_keep_back_the_values_of_statements_that_fail(watched):
    with watched.session() as connection:
        for length in ("-1", "0"):
            connection.execute(f"SET log_parameter_max_length_on_error = {length}")
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1 / $1::int", ["0"])
    failed = [e.param_list for e in watched.entries if e.error_message == "division by zero"]
    assert failed == [["0"], []]
    assert "SET log_parameter_max_length_on_error = 0" in [e.command_text for e in watched.entries]
