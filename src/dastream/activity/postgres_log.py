"""Lines of PostgreSQL's JSON log to entries in the shape of Aurora PostgreSQL.

What a client does is in the rows of its own process. A client can have the server log any text
(`RAISE LOG`), but then the row names the statement that did it; the rows read here never do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from dastream.activity.audit_trail import AuditTrail
from dastream.activity.command import Command
from dastream.activity.entry import Entry, Server
from dastream.activity.log_row import Row, decode_row, times
from dastream.activity.redact import SecretFunctions, redact_message
from dastream.activity.session import Session
from dastream.activity.statement_trail import StatementTrail
from dastream.errors import PayloadError

__all__ = ["SESSIONS_MAX", "LogReader", "Mode"]

Mode = Literal["pgaudit", "statements"]
"""What writes the statements into the log: pgaudit, or `log_min_duration_statement` alone."""

SESSIONS_MAX = 10_000
"""Sessions that are remembered; a server has fewer open at a time."""

_CLIENTS = ("client backend", "walsender")
_FAILURES = ("ERROR", "FATAL", "PANIC")
_LOGGING_IN = ("", "authentication", "startup")
_CONNECT = Command("CONNECT", "MISC")
_DISCONNECT = Command("DISCONNECT", "MISC")
_AUTH_FAILURE = Command("AUTH FAILURE", "MISC")
_APPLICATION_NAME = re.compile(r" application_name=(.*?)(?: SSL enabled \(.*| GSS \(.*)?\Z")
_REPLICATION_COMMAND = "received replication command: "
_KIND_CHARS = 64  # more than the longest beginning that is looked for
# Two rows of a statement in the extended protocol that its third, execute, says again. Looked
# for where the message begins, so that no text of a client is taken for one.
_MESSAGE = b'"message":"'
_PREPARING = (b"parse ", b"bind ")


class _Client(NamedTuple):
    session: Session
    trail: StatementTrail


class LogReader:
    """Turns the rows of one server's log into entries; rows of no interest give none.

    `malformed` counts lines that are not rows.
    """

    def __init__(self, server: Server, *, mode: Mode) -> None:
        self.malformed = 0
        self._server = server
        self._trail = AuditTrail if mode == "pgaudit" else StatementTrail
        self._functions = SecretFunctions()
        self._clients: dict[str, _Client] = {}
        self._ended_statements = 0

    @property
    def statements(self) -> int:
        """Statements of clients so far, those that failed among them."""
        return self._ended_statements + sum(
            client.session.statements for client in list(self._clients.values())
        )

    def read(self, lines: Iterable[bytes]) -> Iterator[Entry]:
        """The entries that the lines complete."""
        for line in lines:
            if _is_preparing(line):
                continue
            try:
                row = decode_row(line)
            except PayloadError:
                self.malformed += 1
                continue
            if row.backend_type in _CLIENTS:
                yield from self._entries(row)

    def flush(self) -> Iterator[Entry]:
        """The entries that wait for rows that will not come."""
        for client in self._clients.values():
            yield from client.trail.flush()

    def _entries(self, row: Row) -> Iterator[Entry]:
        client = self._clients.get(row.session_id)
        if client is None:
            yield from self._make_room()
            session = Session(self._server, row.timestamp)
            client = self._clients[row.session_id] = _Client(
                session, self._trail(session, self._functions)
            )
        if row.error_severity in _FAILURES:
            yield from self._failed(row, client)
        elif row.error_severity == "LOG" and row.context is None:
            if row.statement is None:
                yield from self._logged(row, client)
            elif row.message == _REPLICATION_COMMAND + row.statement:
                yield from client.trail.replicated(row)

    def _logged(self, row: Row, client: _Client) -> list[Entry]:
        match row.message[:_KIND_CHARS].partition(":")[0]:
            case "AUDIT":
                return client.trail.audited(row)
            case "duration":
                return client.trail.completed(row)
            case "connection authorized" | "replication connection authorized":
                row.application_name = _application_name(row.message)
                return [_login(row, client, _CONNECT)]
            case "disconnection":
                return self._disconnected(row, client)
            case _:
                return []

    def _make_room(self) -> list[Entry]:
        if len(self._clients) < SESSIONS_MAX:
            return []
        return self._end(next(iter(self._clients))).trail.flush()

    def _end(self, session_id: str) -> _Client:
        client = self._clients.pop(session_id)
        self._ended_statements += client.session.statements
        return client

    def _failed(self, row: Row, client: _Client) -> list[Entry]:
        if row.error_severity == "ERROR":
            return client.trail.failed(row)
        message = redact_message(row.message)
        if row.statement is None and row.ps in _LOGGING_IN:
            self._end(row.session_id)
            is_refused = (row.state_code or "").startswith("28")
            command = _AUTH_FAILURE if is_refused else _CONNECT
            return [_login(row, client, command, row.state_code, message)]
        # The server ends the session: that is how it disconnects, in a statement or between two.
        client.session.exit_code, client.session.exit_message = row.state_code, message
        return [] if row.statement is None else client.trail.failed(row)

    def _disconnected(self, row: Row, client: _Client) -> list[Entry]:
        session = client.session
        entries = client.trail.flush()
        self._end(row.session_id)
        entry = session.entry(
            row,
            _DISCONNECT,
            times(row.timestamp),
            session.next_statement(),
            exit_code=session.exit_code,
            error_message=session.exit_message,
        )
        return [*entries, entry]


def _login(
    row: Row,
    client: _Client,
    command: Command,
    exit_code: str | None = None,
    error_message: str | None = None,
) -> Entry:
    session = client.session
    (start, _), (_, end) = times(session.since), times(row.timestamp)
    return session.entry(
        row, command, (start, end), 1, exit_code=exit_code, error_message=error_message
    )


def _application_name(message: str) -> str | None:
    # The row itself has no name yet. What may follow in the message is about encryption.
    found = _APPLICATION_NAME.search(message)
    return found[1] if found else None


def _is_preparing(line: bytes) -> bool:
    at = line.find(_MESSAGE) + len(_MESSAGE)
    if not line.startswith(b"duration: ", at):
        return False
    return line.startswith(_PREPARING, line.find(b"  ", at) + 2)
