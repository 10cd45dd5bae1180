"""Entries of a session's statements, from pgaudit's rows and the server's own together.

pgaudit knows objects, row counts and the statements inside functions. It is silent about a
statement that fails, about ROLLBACK after that, and about a SELECT of the extended protocol
whose transaction fails before its portal is closed. The server's own row, one for each
statement that has succeeded, says when a statement is complete and what pgaudit left out.

For that SELECT pgaudit's row comes late, when the portal is closed: at the next bind, or at the
end of the transaction. For all others it comes before the server's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dastream.activity.command import Command
from dastream.activity.entry import Entry
from dastream.activity.log_row import Audit, Completed, Row, parse_audit, times
from dastream.activity.redact import MASK, SecretFunctions, conceal
from dastream.activity.session import Session
from dastream.activity.statement_trail import PORTALS_MAX, StatementTrail

__all__ = ["PENDING_MAX", "AuditTrail"]

PENDING_MAX = 1000
"""Entries of one statement that wait for its end; a loop in a function can make any number."""

# pgaudit writes these before it runs them, so they have a row even if they fail.
_WRITTEN_FIRST = ("DO", "CREATE EXTENSION", "ALTER EXTENSION")
# A relation that is named again, or in passing, and of which nothing is asked.
_NO_COMMAND = "???"
_DML = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")
_ENDS_OF_TRANSACTION = ("COMMIT", "ROLLBACK", "PREPARE TRANSACTION")
_CUT_BY_PGAUDIT = f" {MASK}"


class _Pending(NamedTuple):
    """An entry, its text as pgaudit wrote it, and whether that has been cut."""

    entry: Entry
    sql: str
    is_cut: bool

    def is_of(self, sql: str | None) -> bool:
        """Whether this is about the client's statement itself, and not one inside it."""
        if sql is None or sql == self.sql:
            return sql is not None
        if self.sql.endswith(_CUT_BY_PGAUDIT):
            return sql.startswith(self.sql.removesuffix(_CUT_BY_PGAUDIT))
        # The server's row has the name of a prepared statement before the text, and a name may
        # hold the ": " that ends it.
        return sql.endswith(f": {self.sql}")

    @property
    def is_call(self) -> bool:
        return self.entry.class_ == "FUNCTION" and self.entry.command == "EXECUTE"


@dataclass
class _Awaited:
    """A SELECT that has completed, its row, and what pgaudit wrote about it before."""

    row: Row
    done: Completed
    pending: list[_Pending]
    is_audited: bool = False

    @property
    def has_named_portal(self) -> bool:
        """Whether its portal may stay open while other statements run."""
        return "/" in self.done.kind


class AuditTrail(StatementTrail):
    """The statements of one session, with an entry for each object of a statement."""

    def __init__(self, session: Session, functions: SecretFunctions) -> None:
        super().__init__(session, functions)
        self._pending: list[_Pending] = []
        self._awaited: list[_Awaited] = []
        self._audit_id = 0
        self._statement_id = 0
        self._seen: set[tuple[object, ...]] = set()
        self._concealed_id = 0

    @property
    def is_settled(self) -> bool:
        return not self._pending and all(
            awaited.is_audited and not awaited.pending for awaited in self._awaited
        )

    def audited(self, row: Row) -> list[Entry]:
        """Entries for a row of pgaudit: none, as a rule, before its statement has completed."""
        line = parse_audit(row.message)
        if line is None or line.command == _NO_COMMAND or self._is_repeated(line):
            return []
        one = self._begin(row, line)
        for awaited in self._awaited:
            if one.is_of(awaited.done.text) and not one.is_call:
                awaited.is_audited = True
                pending, awaited.pending = [*awaited.pending, one], []
                return self._finish(pending, awaited.done)
        self._pending.append(one)
        return self._make_room() if len(self._pending) >= PENDING_MAX else []

    def completed(self, row: Row) -> list[Entry]:
        """Entries for a row that tells of a statement that has succeeded."""
        done = self._parse(row)
        if done is None:
            return []
        earlier = self._give_up(keep_named=row.ps not in _ENDS_OF_TRANSACTION)
        if any(one.is_of(done.text) and not one.is_call for one in self._pending):
            return earlier + self._finish_pending(done)
        if row.ps == "SELECT" and done.kind.startswith("execute "):
            self._awaited.append(_Awaited(row, done, self._pending))
            self._pending = []
            return earlier
        return earlier + self._finish_pending(done) + self._succeeded(row, done)

    def failed(self, row: Row) -> list[Entry]:
        """Entries for a row of severity ERROR or above."""
        earlier = self._give_up()
        statement_id, substatement_id = self._failed_ids(row)
        redacted = self._redact_failed(row)
        entry = self._failure(row, redacted, statement_id, substatement_id)
        self._pending.append(_Pending(entry, row.statement or "", redacted.is_cut))
        return earlier + self._finish_pending()

    def flush(self) -> list[Entry]:
        """Entries that have waited for another row of the log, when none is to come."""
        return self._give_up() + self._finish_pending()

    def _is_repeated(self, line: Audit) -> bool:
        # A self join has a row for each time the relation is named.
        if line.statement_id != self._audit_id:
            self._audit_id = line.statement_id
            self._statement_id = self.session.next_statement()
            self._seen.clear()
        key = line[1:6]
        is_repeated = key in self._seen
        self._seen.add(key)
        return is_repeated

    def _begin(self, row: Row, line: Audit) -> _Pending:
        redacted = self._redact(line.text, line.values)
        is_dml = line.command in _DML and line.category in ("READ", "WRITE")
        entry = self.session.entry(
            row,
            Command(line.command, line.category),
            times(row.timestamp),
            self._statement_id,
            substatement_id=line.substatement_id,
            object_type=line.object_type or None,
            object_name=line.object_name or None,
            row_count=line.rows if is_dml else None,
            command_text=redacted.text,
            param_list=redacted.values,
        )
        return _Pending(entry, line.text, redacted.is_cut)

    def _give_up(self, *, keep_named: bool = False) -> list[Entry]:
        """Entries for completed statements that pgaudit has left out for good."""
        entries: list[Entry] = []
        kept = []
        for awaited in self._awaited:
            if keep_named and awaited.has_named_portal and not awaited.is_audited:
                kept.append(awaited)
                continue
            entries += self._finish(awaited.pending, awaited.done)
            if not awaited.is_audited:
                entries += self._succeeded(awaited.row, awaited.done)
        self._awaited = kept[-PORTALS_MAX:]
        return entries

    def _failed_ids(self, row: Row) -> tuple[int, int]:
        """The numbers of a statement that has failed, in place of a row that tells its start."""
        for one in reversed(self._pending):
            if one.entry.command in _WRITTEN_FIRST and one.is_of(row.statement):
                if one.entry.command != row.ps:
                    break
                self._pending.remove(one)
                return one.entry.statement_id, 1
        last = self._pending[-1] if self._pending else None
        if last is not None and (last.is_call or not last.is_of(row.statement)):
            # What has been written is from inside the statement that failed.
            return last.entry.statement_id, last.entry.substatement_id + 1
        return self.session.next_statement(), 1

    def _finish_pending(self, done: Completed | None = None) -> list[Entry]:
        pending, self._pending = self._pending, []
        return self._finish(pending, done)

    def _make_room(self) -> list[Entry]:
        # The first row may be the statement's own, and then the only one.
        self._pending, inside = self._pending[:1], self._pending[1:]
        return self._finish(inside, None)

    def _finish(self, pending: list[_Pending], done: Completed | None) -> list[Entry]:
        for one in pending:
            if done is not None and one.is_of(done.text):
                one.entry.start_time, one.entry.log_time = done.start, done.end
                _restore_nulls(one.entry, done)
        return self._conceal(pending)

    def _conceal(self, pending: list[_Pending]) -> list[Entry]:
        """The entries, masked if their statement has set a credential inside, as a call can."""
        for one in pending:
            if one.is_cut:
                self._concealed_id = one.entry.statement_id
        for entry, sql, is_cut in pending:
            if entry.statement_id == self._concealed_id and not is_cut:
                entry.command_text, entry.param_list, _ = conceal(sql, entry.param_list)
                entry.error_message = entry.error_message and MASK
        return [one.entry for one in pending]


def _restore_nulls(entry: Entry, done: Completed) -> None:
    # To pgaudit NULL is the empty string; the server's own row tells them apart.
    if None in done.values and len(done.values) == len(entry.param_list):
        both = zip(entry.param_list, done.values, strict=True)
        entry.param_list = [None if exact is None else value for value, exact in both]
