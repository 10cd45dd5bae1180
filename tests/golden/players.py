"""The scenes of a recording that are more than a list of statements."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import asyncpg
import psycopg
from scenes import LISTS, SECRET, SETUP

from dastream.local.postgres import PostgresServer

ROTATION_SECONDS = 1.1
"""Names of log files hold the second, so that two files need two of them."""


class Stage(NamedTuple):
    """A scene's way to the server."""

    server: PostgresServer
    scene: str

    def connect(self, *, dsn: dict[str, str] | None = None, **options: Any) -> psycopg.Connection:
        options = {"autocommit": True, "cursor_factory": psycopg.RawCursor} | options
        return psycopg.connect(
            self.server.dsn(**(dsn or {})), application_name=self.scene, **options
        )

    def send(self, *statements: str | tuple[str | None, ...], **options: Any) -> None:
        with self.connect(**options) as connection:
            for statement in statements:
                send(connection, statement)


def send(connection: psycopg.Connection, statement: str | tuple[str | None, ...]) -> None:
    text, *values = statement if isinstance(statement, tuple) else (statement,)
    with contextlib.suppress(psycopg.Error):
        connection.execute(text, values or None)


def play(server: PostgresServer) -> None:
    """All scenes, one after another."""
    Stage(server, "setup").send(*SETUP)
    for name, statements in LISTS.items():
        Stage(server, name).send(*statements)
    for name, player in PLAYERS.items():
        player(Stage(server, name))


def copy(stage: Stage) -> None:
    with stage.connect(cursor_factory=psycopg.Cursor) as connection:
        cursor = connection.cursor()
        with cursor.copy("COPY t FROM STDIN") as rows:
            rows.write_row((1, "x"))
            rows.write_row((2, None))
        for text in ("COPY t TO STDOUT", "COPY (SELECT a FROM t JOIN parent ON id = a) TO STDOUT"):
            with cursor.copy(text) as rows:
                list(rows)
        with contextlib.suppress(psycopg.Error), cursor.copy("COPY t FROM STDIN") as rows:
            rows.write("no number\n")
        with contextlib.suppress(psycopg.Error):
            connection.execute("COPY t FROM '/nowhere'")
        connection.execute("COPY parent TO PROGRAM 'cat > /dev/null'")


def pipeline(stage: Stage) -> None:
    with stage.connect() as connection, connection.pipeline():
        for number in range(3):
            connection.execute("INSERT INTO t VALUES ($1::int, $2)", [str(number), "p"])
        connection.execute("SELECT count(*) FROM t WHERE b = $1", ["p"])


def binary(stage: Stage) -> None:
    with stage.connect(cursor_factory=psycopg.Cursor) as connection:
        for _ in range(7):  # psycopg prepares at the sixth
            connection.execute("SELECT %b::int + a FROM t WHERE b = %b", (40, "ü"))


def portals(stage: Stage) -> None:
    """A portal that is fetched in parts, as JDBC does, with other statements between."""
    asyncio.run(_portals(stage))


async def _portals(stage: Stage) -> None:
    connection = await asyncpg.connect(
        stage.server.dsn(), server_settings={"application_name": stage.scene}
    )
    async with connection.transaction():
        cursor = await connection.cursor("SELECT n FROM generate_series(1, $1::int) n", 7)
        await cursor.fetch(3)
        await connection.execute("INSERT INTO t VALUES (1, 'between')")
        await cursor.fetch(3)
        await cursor.fetch(3)
    await connection.close()


def databases(stage: Stage) -> None:
    for name in ("postgres", "Ünïcode, 'db'", "latin"):
        stage.send("SELECT current_database()", "CREATE TABLE ünï (a int)", dsn={"dbname": name})


def event_triggers(stage: Stage) -> None:
    """A database in which pgaudit is an extension too: DDL has objects there."""
    stage.send(
        "CREATE EXTENSION pgaudit",
        "CREATE TABLE e (id int PRIMARY KEY, a text)",
        "ALTER TABLE e ADD COLUMN b int",
        "CREATE VIEW ev AS SELECT a FROM e",
        "DROP TABLE e CASCADE",
        dsn={"dbname": "extended"},
    )


def encodings(stage: Stage) -> None:
    stage.send("SELECT 'é'", ("SELECT $1", "é"), client_encoding="latin1")
    with stage.connect() as connection:
        connection.pgconn.exec_(b"SELECT 'not UTF-8: \xff'")


def commits(stage: Stage) -> None:
    """Constraints that refuse a statement only when its transaction is to commit."""
    stage.send(
        "INSERT INTO child VALUES (99)",
        "START TRANSACTION",
        "INSERT INTO child VALUES (99)",
        "COMMIT",
        ("INSERT INTO child VALUES ($1)", "99"),
    )


def users(stage: Stage) -> None:
    """Someone who is no superuser, and who becomes another."""
    login = {"user": "reader", "password": SECRET}
    stage.send("SELECT a FROM t", "SET ROLE postgres", "SELECT * FROM parent", dsn=login)


def cancelled(stage: Stage) -> None:
    with stage.connect() as connection, _soon(connection.cancel):
        send(connection, "SELECT pg_sleep(30)")


def terminated(stage: Stage) -> None:
    """Ended by the server: in a statement, and while idle."""
    for text in ("SELECT pg_sleep(30)", None):
        with stage.connect() as killer:
            victim = stage.connect()
            kill = f"SELECT pg_terminate_backend({victim.info.backend_pid})"
            with _soon(lambda kill=kill: send(killer, kill)):
                send(victim, text or "SELECT 'idle'")
                time.sleep(0 if text else 0.4)
            victim.close()


def vanished(stage: Stage) -> None:
    """A client that is gone in the middle of its statement."""
    with stage.connect() as connection:
        connection.pgconn.send_query(
            b"SELECT repeat('x', 9000), pg_sleep(0.02) FROM generate_series(1, 100)"
        )
        connection.pgconn.finish()
    time.sleep(0.5)


def idle(stage: Stage) -> None:
    for setting, text in (
        ("idle_session_timeout", None),
        ("idle_in_transaction_session_timeout", "BEGIN"),
    ):
        connection = stage.connect()
        send(connection, f"SET {setting} = '20ms'")
        if text:
            send(connection, text)
        time.sleep(0.15)
        connection.close()


def locks(stage: Stage) -> None:
    """A lock that is not given in time, and a deadlock."""
    with stage.connect() as one, stage.connect() as other:
        for connection, key in ((one, 1), (other, 2)):
            send(connection, "BEGIN")
            send(connection, f"UPDATE parent SET name = 'locked' WHERE id = {key}")
        crossing = threading.Thread(
            target=send, args=(one, "UPDATE parent SET name = 'deadlock' WHERE id = 2")
        )
        crossing.start()
        time.sleep(0.05)
        send(other, "UPDATE parent SET name = 'deadlock' WHERE id = 1")
        crossing.join()
        for connection in (one, other):
            send(connection, "ROLLBACK")
        send(one, "BEGIN")
        send(one, "LOCK TABLE parent")
        send(other, "SET lock_timeout = '20ms'")
        send(other, "SELECT * FROM parent")


def serializable(stage: Stage) -> None:
    with stage.connect() as one, stage.connect() as other:
        for connection in (one, other):
            send(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ")
            send(connection, "SELECT count(*) FROM parent")
        send(one, "UPDATE parent SET name = 'first' WHERE id = 1")
        send(one, "COMMIT")
        send(other, "UPDATE parent SET name = 'second' WHERE id = 1")


def logins(stage: Stage) -> None:
    """A login that fails, in each way that there is."""
    stage.send(
        f"CREATE ROLE locked NOLOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE expired LOGIN PASSWORD '{SECRET}' VALID UNTIL '2020-01-01'",
        f"CREATE ROLE crowded LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 0",
        "CREATE ROLE bare LOGIN",
        "CREATE DATABASE closed CONNECTION LIMIT 0",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    )
    for login, options in LOGINS:
        with contextlib.suppress(psycopg.OperationalError):
            stage.connect(dsn={"password": SECRET} | login, **options).close()


LOGINS: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"user": "postgres", "password": f"wrong {SECRET}"}, {}),
    ({"user": "nobody, there"}, {}),
    ({"user": "bare"}, {}),
    ({"user": "locked"}, {}),
    ({"user": "expired"}, {}),
    ({"user": "crowded"}, {}),
    ({"user": "reader", "dbname": "closed"}, {}),
    ({"user": "reader", "dbname": "nowhere"}, {}),
    ({"user": "reader", "dbname": "template0"}, {}),
    ({"user": "reader"}, {"options": "-c nosuchsetting=1"}),
    ({"user": "reader"}, {"options": f"-c password={SECRET}"}),
    ({"user": "reader"}, {"client_encoding": "nosuchencoding"}),
]


def malformed(stage: Stage) -> None:
    """Clients that speak another protocol, or none."""
    address = (stage.server.host, stage.server.port)
    for data in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">ii", 8, 80877103), b""):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(data)
            with contextlib.suppress(OSError):
                connection.settimeout(0.2)
                connection.recv(64)


def replication(stage: Stage) -> None:
    with contextlib.suppress(psycopg.Error):
        stage.send("IDENTIFY_SYSTEM", "SELECT 1", "SHOW server_version", replication="database")


def rotation(stage: Stage) -> None:
    with stage.connect() as connection:
        send(connection, "SELECT 'before the rotation'")
        time.sleep(ROTATION_SECONDS)
        send(connection, "SELECT pg_rotate_logfile()")
        time.sleep(0.1)
        send(connection, "SELECT 'after the rotation'")


@contextlib.contextmanager
def _soon(act: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(0.2, act)
    timer.start()
    yield
    timer.join()


PLAYERS: dict[str, Callable[[Stage], None]] = {
    "copy": copy,
    "pipeline": pipeline,
    "binary values": binary,
    "portals": portals,
    "databases": databases,
    "event triggers": event_triggers,
    "encodings": encodings,
    "commits": commits,
    "users": users,
    "cancelled": cancelled,
    "terminated": terminated,
    "vanished": vanished,
    "idle": idle,
    "locks": locks,
    "serializable": serializable,
    "logins": logins,
    "malformed": malformed,
    "replication": replication,
    "rotation": rotation,
    "end": lambda stage: stage.send("SELECT 'end'"),
}
