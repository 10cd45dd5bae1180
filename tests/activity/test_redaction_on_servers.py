"""Ways of getting a password into the log of a real server, and none of them into an entry."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from leaks import LEAKS, SECRET

from dastream.activity.entry import encode
from dastream.activity.redact import MASK
from dastream.local.postgres import PostgresServer
from servers import SERVERS, find_server


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
    read = [encode(entry).decode() for entry in watched.entries]
    # The beginning of the password is too much as well, and so is what it is read backwards.
    known = SECRET.partition("-")[0]
    assert [text for text in read if known in text or known[::-1] in text] == []
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
