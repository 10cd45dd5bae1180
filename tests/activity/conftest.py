"""Real servers of both kinds, and sessions of clients that are watched through the log."""

from __future__ import annotations

import contextlib
import os
import time

import psycopg
import pytest

from dastream.activity.entry import Server
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader
from dastream.errors import ConfigError
from dastream.local.postgres import PostgresServer
from servers import wait_until_logged


@pytest.fixture(scope="module", params=["pgaudit", "embedded"])
def server(request):
    try:
        server = PostgresServer(flavour=request.param)
    except ConfigError as error:
        if os.environ.get("DASTREAM_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{error}")
    with server:
        yield server


class Watched:
    """The entries of the sessions that a test has had, in the order of the log."""

    def __init__(self, server, unwatched_pid=0, **options):
        self.server = server
        self._unwatched_pid = unwatched_pid
        self.entries = []
        self.reader = LogReader(Server(server.version, server.host), mode=server.mode)
        self._tail = LogTail(server.log_directory, **options)

    @contextlib.contextmanager
    def session(self, **options):
        """A connection of the superuser; its entries are there when the block has ended."""
        options = {"autocommit": True, "cursor_factory": psycopg.RawCursor} | options
        with psycopg.connect(self.server.dsn(), **options) as connection:
            pid = connection.info.backend_pid
            yield connection
        self.read_until(lambda entry: entry.command == "DISCONNECT" and entry.pid == pid)

    def read_until(self, is_last, seconds_max=10):
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            read = self.reader.read(*self._tail.read())
            new = [entry for entry in read if entry.pid != self._unwatched_pid]
            self.entries += new
            if any(is_last(entry) for entry in new):
                return
            time.sleep(0.01)
        raise AssertionError(f"not logged: {self.entries}")

    def close(self):
        self._tail.close()

    def commands(self):
        return [(entry.command, entry.command_text) for entry in self.entries]

    def statements(self):
        """Each statement of the client as a list of its entries, in order."""
        found = {}
        for entry in self.entries:
            if entry.command not in ("CONNECT", "DISCONNECT", "AUTH FAILURE"):
                found.setdefault((entry.session_id, entry.statement_id), []).append(entry)
        return list(found.values())

    def one(self, text):
        """The entries of the one statement with this text."""
        (found,) = [s for s in self.statements() if text in [e.command_text for e in s]]
        return found


@pytest.fixture
def schema(server):
    """A table for the test, `t(a int, b text)`, gone afterwards; the pid of who made it."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        pid = connection.info.backend_pid
        connection.execute("CREATE TABLE t (a int, b text)")
        yield pid
        connection.execute("DROP TABLE IF EXISTS t CASCADE")
    # Its end comes to the log when it may, and is not to come in the next test.
    wait_until_logged(server.log_directory, f'"pid":{pid},', "disconnection: ")


@pytest.fixture
def watched(server, schema):
    watched = Watched(server, unwatched_pid=schema)
    yield watched
    watched.close()


@pytest.fixture
def send():
    """Sends statements and keeps the list of them; what fails is kept too."""

    def send(connection, statements):
        sent = []
        for statement in statements:
            text, *values = statement if isinstance(statement, tuple) else (statement,)
            with contextlib.suppress(psycopg.Error):
                connection.execute(text, values or None)
            sent.append((text, values))
        return sent

    return send
