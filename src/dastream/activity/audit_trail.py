"""Entries of a session's statements, from pgaudit's rows and the server's own together.

pgaudit knows objects, row counts and the statements inside functions. It is silent about a
statement that fails, about ROLLBACK after that, and about a SELECT of the extended protocol
whose transaction fails before its portal is closed. The server's own row, one for each
statement that has succeeded, says when a statement is complete and what pgaudit left out.

For that SELECT pgaudit's row comes late, when the portal is closed: at the next bind, or at the
end of the transaction. For all others it comes before the server's own.
"""

from __future__ import annotations

from typing import NamedTuple

from dastream.activity.command import Command
from dastream.activity.entry import Entry
from dastream.activity.log_row import Audit, Completed, Row, parse_audit, times
from dastream.activity.redact import MASK, conceal, is_cut, redact_statement
from dastream.activity.session import Session
from dastream.activity.statement_trail import StatementTrail

__all__ = ["PENDING_MAX", "AuditTrail"]

PENDING_MAX = 1000
"""Entries of one statement that wait for its end; a loop in a function can make any number."""

# pgaudit writes these before it runs them, so they have a row even if they fail.
_WRITTEN_FIRST = ("DO", "CREATE EXTENSION", "ALTER EXTENSION")
_DML = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")
_CUT_BY_PGAUDIT = f" {MASK}"


class _Pending(NamedTuple):
    """An entry, with its text as pgaudit wrote it."""

    entry: Entry
    sql: str

    def is_of(self, sql: str | None) -> bool:
        """Whether this is about the client's statement itself, and not one inside it."""
        return sql is not None and sql.startswith(self.sql.removesuffix(_CUT_BY_PGAUDIT))

    @property
    def is_call(self) -> bool:
        return self.entry.class_ == "FUNCTION" and self.entry.command == "EXECUTE"


class _Awaited(NamedTuple):
    """A SELECT that has completed, its row, and what pgaudit has written about it so far."""

    row: Row
    done: Completed
    pending: list[_Pending]


class AuditTrail(StatementTrail):
    """The statements of one session, with an entry for each object of a statement."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._pending: list[_Pending] = []
        self._awaited: _Awaited | None = None
        self._audit_id = 0
        self._seen: set[Audit] = set()
        self._concealed_id = 0

    def audited(self, row: Row) -> list[Entry]:
        """Entries for a row of pgaudit: none before its statement has completed."""
        line = parse_audit(row.message)
        if line is None or self._is_repeated(line):
            return []
        one = _Pending(self._entry(row, line), line.text)
        awaited = self._awaited
        if awaited is not None and one.is_of(awaited.done.text) and not one.is_call:
            self._awaited = awaited._replace(pending=[])
            return self._finish([*awaited.pending, one], awaited.done)
        self._pending.append(one)
        return self._finish_pending() if len(self._pending) >= PENDING_MAX else []

    def completed(self, row: Row) -> list[Entry]:
        """Entries for a row that tells of a statement that has succeeded."""
        done = self._parse(row)
        if done is None:
            return []
        earlier = self._give_up_waiting()
        is_audited = any(one.is_of(done.text) and not one.is_call for one in self._pending)
        if is_audited:
            return earlier + self._finish_pending(done)
        if row.ps == "SELECT" and done.kind.startswith("execute "):
            self._awaited = _Awaited(row, done, self._pending)
            self._pending = []
            return earlier
        return earlier + self._finish_pending(done) + self._succeeded(row, done)
