"""Entries of a session's statements, from what the server itself logs about them.

With `log_min_duration_statement = 0` the server writes one row when a simple query has
succeeded, and one row each for parse, bind and execute in the extended protocol; execute is the
statement. A statement that fails has a row of severity ERROR instead.
"""

from __future__ import annotations

import hashlib
from collections import deque

from dastream.activity.command import Command, commands, failed_command, tag_of
from dastream.activity.entry import Entry
from dastream.activity.log_row import Completed, Row, bound_values, parse_completed, times
from dastream.activity.redact import (
    MASK,
    Redacted,
    SecretFunctions,
    conceal,
    redact_message,
    redact_statement,
    redact_unparsed,
)
from dastream.activity.remembered import remembered
from dastream.activity.session import Session

__all__ = ["PORTALS_MAX", "StatementTrail"]

PORTALS_MAX = 16
"""Portals of a session that are remembered."""

_SYNTAX_ERROR = "42601"
_FETCH = "execute fetch from "
_FASTPATH = Command("EXECUTE", "FUNCTION")


class StatementTrail:
    """The statements of one session: one entry each, and one each for those in a query string."""

    def __init__(self, session: Session, functions: SecretFunctions) -> None:
        self.session = session
        self._functions = functions
        self.portals: deque[bytes] = deque(session.portals, maxlen=PORTALS_MAX)
        """Digests of the last portals, without which a fetch would pass for a statement."""

    @property
    def is_settled(self) -> bool:
        """Whether all that was read is in entries, so that nothing of it is needed again."""
        return True

    def audited(self, row: Row) -> list[Entry]:  # noqa: ARG002 - the interface of both trails
        """Entries for a row of pgaudit: none, its lines are not expected here."""
        return []

    def completed(self, row: Row) -> list[Entry]:
        """Entries for a row that tells of a statement that has succeeded."""
        done = self._parse(row)
        return [] if done is None else self._succeeded(row, done)

    def failed(self, row: Row) -> list[Entry]:
        """Entries for a row of severity ERROR or above."""
        return [self._failure(row, self._redact_failed(row), self.session.next_statement())]

    def replicated(self, row: Row) -> list[Entry]:
        """An entry for a row that tells of a command in the replication protocol."""
        sql = row.statement or ""
        command = Command(sql.split(None, 1)[0].upper().rstrip(";"), "MISC")
        redacted = self._redact(sql, [])
        statement_id = self.session.next_statement()
        return [
            self.session.entry(
                row, command, times(row.timestamp), statement_id, command_text=redacted.text
            )
        ]

    def flush(self) -> list[Entry]:
        """Entries that have waited for another row of the log, when none is to come."""
        return []

    def _redact(self, sql: str, values: list[str | None], *messages: str | None) -> Redacted:
        redacted = redact_statement(sql, values, *messages)
        if self._functions.names and not redacted.is_cut:
            texts = (sql, *messages)
            if any(one and self._functions.are_called(one) for one in texts):
                redacted = conceal(sql, values)
        if redacted.is_cut:
            self._functions.learn(sql)
        return redacted

    def _parse(self, row: Row) -> Completed | None:
        done = parse_completed(row)
        if done is None or not done.kind.startswith("execute "):
            return done
        # A client that fetches in parts executes its portal again. A statement may be *named*
        # "fetch from …", so only what has been executed before is passed over.
        if done.kind.startswith(_FETCH) and _key(done.kind[len(_FETCH) :], done) in self.portals:
            return None
        self.portals.append(_key(done.kind.removeprefix("execute "), done))
        return done

    def _succeeded(
        self, row: Row, done: Completed, ids: tuple[int, int] | None = None
    ) -> list[Entry]:
        """Entries for each statement of a row; `ids` are the first's numbers, if it has any."""
        found = [_FASTPATH]
        if done.kind != "fastpath function call":
            found = commands(done.text, tag_of(row.ps))
        # The detail of EXECUTE is what was prepared.
        prepared = None if done.values else row.detail
        redacted = self._redact(done.text, done.values, prepared)
        entries = []
        for command in found:
            statement_id, substatement_id = ids or (self.session.next_statement(), 1)
            ids = None
            entry = self.session.entry(
                row,
                command,
                (done.start, done.end),
                statement_id,
                substatement_id=substatement_id,
                command_text=redacted.text,
                param_list=redacted.values,
            )
            entries.append(entry)
        return entries

    def _failure(
        self, row: Row, redacted: Redacted, statement_id: int, substatement_id: int = 1
    ) -> Entry:
        sql = row.statement or ""
        return self.session.entry(
            row,
            failed_command(sql, tag_of(row.ps)),
            times(row.timestamp),
            statement_id,
            substatement_id=substatement_id,
            command_text=redacted.text or None,
            param_list=redacted.values,
            error_message=MASK if redacted.is_cut else redact_message(row.message),
            exit_code=row.state_code,
        )

    def _redact_failed(self, row: Row) -> Redacted:
        sql, values = row.statement or "", bound_values(row.context)
        if row.state_code == _SYNTAX_ERROR and (unparsed := redact_unparsed(sql, values)):
            return unparsed
        return self._redact(sql, values, row.internal_query, row.context, row.message)


def _key(name: str, done: Completed) -> bytes:
    return _digest(f"{name}\0{done.text}")


@remembered
def _digest(text: str) -> bytes:
    # Nobody can make another statement with the same digest and so have it passed over.
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()
