"""The demo's clients: what they send, and their own list of it.

The list is what delivery is checked against, so it is kept where the statements leave, not where
they are logged. A statement that sets a password is listed as it must arrive: redacted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import psycopg

from dastream.local.postgres import PostgresServer

__all__ = ["PASSWORD", "SCRIPT", "WORKLOAD", "Sent", "Statement", "run_script", "run_workload"]

SCRIPT, WORKLOAD = "demo script", "demo workload"
"""What the clients call themselves: their events are told from all others by it."""

USER, PASSWORD = "davide", "secret"
_REDACTED = f"CREATE USER {USER} WITH PASSWORD <REDACTED>"


class Statement(NamedTuple):
    """One statement as it must arrive: text, and bind values in text form."""

    text: str
    params: tuple[str, ...]


@dataclass
class Sent:
    """What the clients sent: statements, how many of them failed, and logins that failed."""

    statements: list[Statement] = field(default_factory=list)
    failed: int = 0
    failed_logins: int = 0


class Client:
    """A session that lists what it sends. Used as a context manager."""

    def __init__(
        self, server: PostgresServer, sent: Sent, name: str, *, user: str, password: str
    ) -> None:
        self._sent = sent
        self._connection = psycopg.connect(
            server.dsn(user=user, password=password),
            application_name=name,
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def run(self, text: str, *params: object, arrives_as: str | None = None) -> None:
        """Send a statement, with `$1`, `$2`, … for bind values; errors are the server's."""
        texts = tuple(str(value) for value in params)
        self._sent.statements.append(Statement(arrives_as or text, texts))
        self._connection.execute(text.encode(), params or None)

    def fail(self, text: str, *params: object, arrives_as: str | None = None) -> None:
        """Send a statement that the server refuses."""
        self._sent.failed += 1
        try:
            self.run(text, *params, arrives_as=arrives_as)
        except psycopg.Error:
            return
        raise AssertionError("the server took a statement that it should refuse")


def run_script(server: PostgresServer, sent: Sent) -> None:
    """A short story: a new user, their table, what they may do and what they may not."""
    with _administrator(server, sent) as admin:
        admin.run(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}'", arrives_as=_REDACTED)
        admin.run("CREATE TABLE customers (id int PRIMARY KEY, name text, card text)")
        admin.run("CREATE TABLE salaries (name text, amount numeric)")
        for number, name in enumerate(("Ada", "Grace", "Edsger"), start=1):
            card = f"4000 0000 0000 000{number}"
            admin.run("INSERT INTO customers VALUES ($1, $2, $3)", number, name, card)
        admin.run(f"GRANT SELECT, INSERT, UPDATE ON customers TO {USER}")
        admin.fail(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}'", arrives_as=_REDACTED)
    _fail_to_log_in(server, sent)
    with Client(server, sent, SCRIPT, user=USER, password=PASSWORD) as davide:
        davide.run("SELECT name, card FROM customers WHERE id = $1", 1)
        davide.run("SELECT count(*) FROM customers")
        davide.run("UPDATE customers SET name = $1 WHERE id = $2", "Ada, Countess", 1)
        davide.fail("SELECT * FROM salaries")
        davide.fail("SELECT * FROM custmers")


def run_workload(server: PostgresServer, sent: Sent, *, statements: int, clients: int = 2) -> None:
    """`statements` more of them, from several clients at once, each with its own bind values."""
    shares = [range(first, statements, clients) for first in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(lambda share: _work(server, share), shares))
    sent.statements += [statement for part in parts for statement in part.statements]


def _work(server: PostgresServer, share: range) -> Sent:
    sent = Sent()
    with Client(server, sent, WORKLOAD, user=USER, password=PASSWORD) as client:
        for number in share:
            _order(client, number)
    return sent


def _order(client: Client, number: int) -> None:
    """One statement: in turn a new customer, a look at one, and a change."""
    customer = 1000 + number
    if number % 3 == 0:
        name = f"customer {number}"
        client.run("INSERT INTO customers VALUES ($1, $2, $3)", customer, name, "none")
    elif number % 3 == 1:
        client.run("SELECT name FROM customers WHERE id = $1", customer)
    else:
        client.run("UPDATE customers SET card = $1 WHERE id = $2", f"card {number}", customer)


def _administrator(server: PostgresServer, sent: Sent) -> Client:
    return Client(server, sent, SCRIPT, user=server.superuser, password=server.password)


def _fail_to_log_in(server: PostgresServer, sent: Sent) -> None:
    sent.failed_logins += 1
    try:
        Client(server, sent, SCRIPT, user=USER, password="a guess")  # noqa: S106 - it is meant to be wrong
    except psycopg.OperationalError:
        return
    raise AssertionError("the server let in who gave a wrong password")
