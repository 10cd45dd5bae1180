"""Rows of PostgreSQL's log to entries in the shape of Aurora PostgreSQL.

What a client does is in the rows of its own process. A client can have the server log any text
(`RAISE LOG`), but then the row names the statement that did it; the rows read here never do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Literal

from dastream.activity.audit_trail import AuditTrail
from dastream.activity.command import Command
from dastream.activity.entry import Entry, Server
from dastream.activity.line_numbers import started_at
from dastream.activity.log_files import LogFile, Place
from dastream.activity.log_row import Row, times
from dastream.activity.log_time import LogClock
from dastream.activity.progress import Progress
from dastream.activity.redact import SecretFunctions, redact_message
from dastream.activity.row_decoding import decode_csv_row, decode_row, recover_row
from dastream.activity.session import Kept, Session
from dastream.activity.sessions import Client, Sessions
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
_AUTHORIZED = ("connection authorized: ", "replication connection authorized: ")
_ALL_SESSIONS_LOST = "; reinitializing"  # postmaster.c, after one process has crashed
_FOREVER = 2**63
_NO_FILE = LogFile("", "")
_NO_OFFSETS = repeat(0)


class LogReader:
    """Turns the rows of one server's log into entries; rows of no interest give none.

    `clock` reads the times of the log. `progress` is what an earlier reader has left: then what
    is before its `through` gives no entries, and is read for sessions that were in a statement.
    `malformed` counts lines that are not rows.
    """

    def __init__(
        self,
        server: Server,
        *,
        mode: Mode,
        clock: LogClock | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.malformed = 0
        self._server = server
        self._clock = clock or LogClock()
        self._trail = AuditTrail if mode == "pgaudit" else StatementTrail
        progress = progress or Progress()
        self._through = progress.through
        self._postmaster = progress.postmaster
        self._functions = SecretFunctions(progress.functions)
        self._sessions = Sessions(self._open_client, progress)

    @property
    def statements(self) -> int:
        """Statements of clients so far, those that failed among them."""
        return self._sessions.statements

    @property
    def missing(self) -> int:
        """Rows that the server must have written, by their numbers, and that were not read."""
        return self._sessions.numbers.missing

    def read(
        self,
        rows: Iterable[bytes],
        file: LogFile = _NO_FILE,
        offsets: Iterable[int] = _NO_OFFSETS,
    ) -> Iterator[Entry]:
        """The entries that the rows complete. `file` and `offsets` tell where they stand."""
        is_csv = file.name.endswith(".csv")
        decode = decode_csv_row if is_csv else decode_row
        take_number = self._sessions.numbers.take
        for line, offset in zip(rows, offsets, strict=False):
            try:
                row = decode(line)
                if not row.timestamp.endswith(" UTC"):
                    row.timestamp = self._clock.utc(row.timestamp)
            except PayloadError:
                self.malformed += 1
                recovered = recover_row(line, self._clock, is_csv=is_csv)
                if recovered is None:
                    continue
                row = recovered
            if self._through is not None and self._is_read_again(row, Place(*file, offset)):
                continue
            take_number(row.session_id, row.line_num)
            if row.backend_type in _CLIENTS:
                yield from self._entries(row, file, offset)
            elif row.backend_type == "postmaster":
                yield from self._lost_sessions(row)

    def flush(self) -> Iterator[Entry]:
        """The entries that wait for rows that will not come."""
        return self._sessions.flush()

    def take_progress(self, place: Place) -> Progress | None:
        """What another reader needs to go on at a place, as it has changed since the last call.

        `place` is where the next row begins. None if that was read before.
        """
        if self._through is not None and place < self._through:
            return None
        begin, processes = self._sessions.take_changes(place)
        functions = sorted(self._functions.names)
        since = self._sessions.numbers.since
        return Progress(place, begin, since, self._postmaster, functions, processes)

    def _is_read_again(self, row: Row, place: Place) -> bool:
        """Whether a row has given its entries before, to an earlier reader."""
        assert self._through is not None, "asked only of what an earlier reader has left"
        if place >= self._through:
            self._through = None
            return False
        client = self._sessions.clients.get(row.session_id)
        if client is not None and client.kept.place <= place:
            self._entries(row, place.file, place.offset)
        return True

    def _lost_sessions(self, row: Row) -> Iterator[Entry]:
        """The entries of sessions of which the server has lost the processes."""
        lost: list[str] = []
        if row.message.endswith(_ALL_SESSIONS_LOST):
            lost = self._sessions.started_until(_FOREVER)
        elif row.session_id != self._postmaster:
            # A new server logs before its first session does, so those of the same second are
            # of the old one, unless this is the server that was there all the time.
            is_new = self._postmaster != ""
            self._postmaster = row.session_id
            lost = self._sessions.started_until(started_at(row.session_id) - (not is_new))
        for session_id in lost:
            yield from self._sessions.end(session_id).trail.flush()

    def _open_client(self, kept: Kept) -> Client:
        session = Session(self._server, kept)
        return Client(session, self._trail(session, self._functions), kept)

    def _entries(self, row: Row, file: LogFile, offset: int) -> list[Entry]:
        client = self._sessions.clients.get(row.session_id)
        if client is None:
            return self._begin(row, Place(*file, offset)) + self._entries(row, file, offset)
        client.is_in_audit = False
        if row.error_severity in _FAILURES:
            return self._failed(row, client)
        if row.error_severity != "LOG" or row.context is not None:
            return []
        if row.statement is None:
            return self._logged(row, client)
        is_replication = row.message == _REPLICATION_COMMAND + row.statement
        return client.trail.replicated(row) if is_replication else []

    def _begin(self, row: Row, place: Place) -> list[Entry]:
        """Begin a session; the entries of one that had to make room for it."""
        entries: list[Entry] = []
        if len(self._sessions.clients) >= SESSIONS_MAX:
            entries = self._sessions.end(self._sessions.oldest()).trail.flush()
        self._sessions.begin(row.session_id, Kept(place, row.timestamp))
        return entries

    def _logged(self, row: Row, client: Client) -> list[Entry]:
        message = row.message
        if message.startswith("duration: "):
            return client.trail.completed(row)
        if message.startswith("AUDIT: "):
            client.is_in_audit = True
            return client.trail.audited(row)
        if message.startswith(_AUTHORIZED):
            row.application_name = _application_name(message)
            return [_login(row, client, _CONNECT)]
        return self._disconnected(row, client) if message.startswith("disconnection: ") else []

    def _failed(self, row: Row, client: Client) -> list[Entry]:
        if row.error_severity == "ERROR":
            return client.trail.failed(row)
        message = redact_message(row.message)
        if row.statement is None and row.ps in _LOGGING_IN:
            self._sessions.end(row.session_id)
            is_refused = (row.state_code or "").startswith("28")
            command = _AUTH_FAILURE if is_refused else _CONNECT
            return [_login(row, client, command, row.state_code, message)]
        # The server ends the session: that is how it disconnects, in a statement or between two.
        client.session.exit_code, client.session.exit_message = row.state_code, message
        return [] if row.statement is None else client.trail.failed(row)

    def _disconnected(self, row: Row, client: Client) -> list[Entry]:
        session = client.session
        entries = client.trail.flush()
        self._sessions.end(row.session_id)
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
    client: Client,
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
