"""Entries of a session's statements, from pgaudit's rows and the server's own together.

pgaudit knows objects, row counts and the statements inside functions. It is silent about a
statement that fails, about ROLLBACK after that, and about a SELECT of the extended protocol
whose transaction fails before its portal is closed. The server's own row, one for each
statement that has succeeded, says when a statement is complete and what pgaudit left out.

For that SELECT pgaudit's row comes late, when the portal is closed: at the next bind, or at the
end of the transaction. For all others it comes before the server's own.

pgaudit's numbers are not those of the client's statements: what a deferred trigger does has a
number of its own, and what runs while a portal is open has the portal's. So a statement is what
lies between two rows of the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from dastream.activity.command import Command
from dastream.activity.entry import Entry
from dastream.activity.log_row import Audit, Completed, Row, parse_audit, times
from dastream.activity.query_string import QueryString
from dastream.activity.redact import MASK, Redacted, SecretFunctions, conceal, redact_message
from dastream.activity.session import Session
from dastream.activity.statement_trail import PORTALS_MAX, StatementTrail

__all__ = ["PENDING_MAX", "AuditTrail"]

PENDING_MAX = 1000
"""Entries of one statement that wait for its end; a loop in a function can make any number."""

# A relation that is named again, or in passing, and of which nothing is asked.
_NO_COMMAND = "???"
_DML = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE")
_ENDS_OF_TRANSACTION = ("COMMIT", "ROLLBACK", "PREPARE TRANSACTION")


@dataclass(slots=True)
class _Pending:
    """An entry, its text as pgaudit wrote it, whether that has been cut, and pgaudit's number."""

    entry: Entry
    sql: str
    is_cut: bool
    audit_id: int

    def is_of(self, sent: QueryString) -> bool:
        """Whether this is about a statement of the client, and not a call or one inside it."""
        return not _is_call(self.entry.class_, self.entry.command) and sent.holds(self.sql)


@dataclass(slots=True)
class _Awaited:
    """A SELECT that has completed, its row, and what pgaudit wrote about it before."""

    row: Row
    done: Completed
    sent: QueryString
    pending: list[_Pending]
    ids: tuple[int, int]
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
        self._statement_id = 0
        self._substatements_before = 0
        self._audit_id = 0
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
        for awaited in self._awaited:
            if awaited.sent.holds(line.text) and not _is_call(line.category, line.command):
                return self._audited_late(row, line, awaited)
        self._pending.append(self._begin(row, line, self._ids(line)))
        return self._make_room() if len(self._pending) >= PENDING_MAX else []

    def completed(self, row: Row) -> list[Entry]:
        """Entries for a row that tells of a statement that has succeeded."""
        done = self._parse(row)
        if done is None:
            return []
        earlier = self._give_up(keep_named=row.ps not in _ENDS_OF_TRANSACTION)
        sent = QueryString(done.text)
        pending = self._take(sent)
        if pending and any(one.is_of(sent) for one in pending):
            return earlier + self._finish(pending, sent, done)
        if row.ps == "SELECT" and done.kind.startswith("execute "):
            self._awaited.append(_Awaited(row, done, sent, pending, self._ids_after(pending)))
            return earlier
        ids = self._ids_after(pending) if pending else None
        return earlier + self._finish(pending, sent, done) + self._succeeded(row, done, ids)

    def failed(self, row: Row) -> list[Entry]:
        """Entries for a row of severity ERROR or above."""
        earlier = self._give_up()
        sent = QueryString(row.statement)
        pending = self._take(sent)
        redacted = self._redact_failed(row)
        if written := _written_before(pending, sent):
            self._fail(written, row, redacted)
        else:
            ids = self._ids_after_inside(pending, sent)
            entry = self._failure(row, redacted, *ids)
            pending.append(_Pending(entry, sent.text, redacted.is_cut, 0))
        return earlier + self._finish(pending, sent)

    def flush(self) -> list[Entry]:
        """Entries that have waited for another row of the log, when none is to come."""
        earlier = self._give_up()
        nothing = QueryString(None)
        return earlier + self._finish(self._take(nothing), nothing)

    def _is_repeated(self, line: Audit) -> bool:
        # A self join has a row for each time the relation is named.
        if line.statement_id != self._audit_id:
            self._audit_id = line.statement_id
            self._seen.clear()
            # Of a portal that has been closed pgaudit says everything at once.
            self._awaited = [awaited for awaited in self._awaited if not awaited.is_audited]
        names = line.category, line.command, line.object_type, line.object_name
        key = (line.substatement_id, *names)
        is_repeated = key in self._seen
        self._seen.add(key)
        return is_repeated

    def _begin(self, row: Row, line: Audit, ids: tuple[int, int]) -> _Pending:
        redacted = self._redact(line.text, line.values)
        is_dml = line.command in _DML and line.category in ("READ", "WRITE")
        entry = self.session.entry(
            row,
            Command(line.command, line.category),
            times(row.timestamp),
            ids[0],
            substatement_id=ids[1],
            object_type=line.object_type or None,
            object_name=line.object_name or None,
            row_count=line.rows if is_dml else None,
            command_text=redacted.text,
            param_list=redacted.values,
        )
        return _Pending(entry, line.text, redacted.is_cut, line.statement_id)

    def _ids(self, line: Audit) -> tuple[int, int]:
        if not self._pending or self._pending[-1].audit_id != line.statement_id:
            self._statement_id = self.session.next_statement()
            self._substatements_before = line.substatement_id - 1
        return self._statement_id, line.substatement_id - self._substatements_before

    def _ids_after(self, pending: list[_Pending]) -> tuple[int, int]:
        if not pending:
            return self.session.next_statement(), 1
        last = pending[-1].entry
        return last.statement_id, last.substatement_id + 1

    def _ids_after_inside(self, pending: list[_Pending], sent: QueryString) -> tuple[int, int]:
        """The numbers of a statement of which only what ran inside it has been written."""
        last = pending[-1].entry.statement_id if pending else 0
        is_over = any(one.entry.statement_id == last and one.is_of(sent) for one in pending)
        return self._ids_after([] if is_over else pending)

    def _audited_late(self, row: Row, line: Audit, awaited: _Awaited) -> list[Entry]:
        awaited.is_audited = True
        pending, awaited.pending = [*awaited.pending, self._begin(row, line, awaited.ids)], []
        return self._finish(pending, awaited.sent, awaited.done)

    def _give_up(self, *, keep_named: bool = False) -> list[Entry]:
        """Entries for completed statements that pgaudit has left out for good."""
        if not self._awaited:
            return []
        entries: list[Entry] = []
        kept = []
        for awaited in self._awaited:
            if keep_named and awaited.has_named_portal and not awaited.is_audited:
                kept.append(awaited)
                continue
            entries += self._finish(awaited.pending, awaited.sent, awaited.done)
            if not awaited.is_audited:
                entries += self._succeeded(awaited.row, awaited.done, awaited.ids)
        self._awaited = kept[-PORTALS_MAX:]
        return entries

    def _take(self, sent: QueryString) -> list[_Pending]:
        """What pgaudit has written since the server's last row, numbered as the client sent it."""
        pending, self._pending = self._pending, []
        if pending and pending[0].audit_id != pending[-1].audit_id:
            self.session.statement_id = _renumber(pending, sent)
        return pending

    def _make_room(self) -> list[Entry]:
        # The first row may be the statement's own, and then the only one.
        self._pending, inside = self._pending[:1], self._pending[1:]
        return self._conceal(inside)

    def _fail(self, written: list[_Pending], row: Row, redacted: Redacted) -> None:
        _, end = times(row.timestamp)
        for one in written:
            is_cut = redacted.is_cut or one.is_cut
            one.entry.log_time = end
            one.entry.exit_code = row.state_code
            one.entry.error_message = MASK if is_cut else redact_message(row.message)
            one.entry.param_list = one.entry.param_list or redacted.values
        if redacted.is_cut:
            self._concealed_id = written[0].entry.statement_id

    def _finish(
        self, pending: list[_Pending], sent: QueryString, done: Completed | None = None
    ) -> list[Entry]:
        for one in pending:
            if done is not None and sent.holds(one.sql):
                self._complete(one, sent, done)
        return self._conceal(pending)

    def _complete(self, one: _Pending, sent: QueryString, done: Completed) -> None:
        """Tell what the server's own row knows better than pgaudit's."""
        entry = one.entry
        entry.start_time, entry.log_time = done.start, done.end
        if one.is_cut:
            return
        text = sent.text if sent.is_only(one.sql) else one.sql
        if text != one.sql or (done.values and not entry.param_list):
            redacted = self._redact(text, done.values)
            entry.command_text, entry.param_list, one.is_cut = redacted
        elif None in done.values and len(done.values) == len(entry.param_list):
            # To pgaudit NULL is the empty string.
            both = zip(entry.param_list, done.values, strict=True)
            entry.param_list = [None if exact is None else value for value, exact in both]

    def _conceal(self, pending: list[_Pending]) -> list[Entry]:
        """The entries, masked if their statement has set a credential inside, as a call can."""
        for one in pending:
            if one.is_cut:
                self._concealed_id = one.entry.statement_id
        for one in pending if self._concealed_id else ():
            entry = one.entry
            if entry.statement_id == self._concealed_id and not one.is_cut:
                entry.command_text, entry.param_list, _ = conceal(one.sql, entry.param_list)
                entry.error_message = entry.error_message and MASK
        return [one.entry for one in pending]


def _is_call(category: str, command: str) -> bool:
    return category == "FUNCTION" and command == "EXECUTE"


def _renumber(pending: list[_Pending], sent: QueryString) -> int:
    """Give what is of no statement of the client the number of the statement before it.

    Returns the last number.
    """
    runs = [list(run) for _, run in groupby(pending, key=lambda one: one.entry.statement_id)]
    statement_id, substatements = runs[0][0].entry.statement_id, 0
    for run in runs:
        if run is not runs[0] and any(one.is_of(sent) for one in run):
            statement_id, substatements = statement_id + 1, 0
        for one in run:
            one.entry.statement_id = statement_id
            one.entry.substatement_id += substatements
        substatements = run[-1].entry.substatement_id
    return statement_id


def _written_before(pending: list[_Pending], sent: QueryString) -> list[_Pending]:
    """What pgaudit has written about the statement that failed, before it failed.

    It writes a DO block before it runs, and a statement that a deferred constraint refuses.
    """
    own = [one for one in pending if one.is_of(sent)]
    if not own or len({one.entry.statement_id for one in own}) < sent.count:
        return []
    last = own[-1].entry.statement_id
    return [one for one in own if one.entry.statement_id == last]
