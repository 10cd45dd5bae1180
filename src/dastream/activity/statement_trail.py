"""Entries of a session's statements, from what the server itself logs about them.

With `log_min_duration_statement = 0` the server writes one row when a simple query has
succeeded, and one row each for parse, bind and execute in the extended protocol; execute is the
statement. A statement that fails has a row of severity ERROR instead.
"""

from __future__ import annotations

from collections import deque

from dastream.activity.command import Command, commands, failed_command, tag_of
from dastream.activity.entry import Entry
from dastream.activity.log_row import Completed, Row, bound_values, parse_completed, times
from dastream.activity.redact import (
    MASK,
    SecretFunctions,
    conceal,
    is_cut,
    redact_message,
    redact_statement,
)
from dastream.activity.session import Session

__all__ = ["PORTALS_MAX", "StatementTrail"]

PORTALS_MAX = 16
"""Portals of a session that are remembered."""

_FETCH = "execute fetch from "
_FASTPATH = Command("EXECUTE", "FUNCTION")


class StatementTrail:
    """The statements of one session: one entry each, and one each for those in a query string."""

    def __init__(self, session: Session, functions: SecretFunctions) -> None:
        self.session = session
        self._functions = functions
        self._portals: deque[int] = deque(maxlen=PORTALS_MAX)

    def audited(self, row: Row) -> list[Entry]:  # noqa: ARG002 - the interface of both trails
        """Entries for a row of pgaudit: none, its lines are not expected here."""
        return []

    def completed(self, row: Row) -> list[Entry]:
        """Entries for a row that tells of a statement that has succeeded."""
        done = self._parse(row)
        return [] if done is None else self._succeeded(row, done)

    def failed(self, row: Row) -> list[Entry]:
        """Entries for a row of severity ERROR or above."""
        return [self._failure(row, self.session.next_statement())]

    def flush(self) -> list[Entry]:
        """Entries that have waited for another row of the log, when none is to come."""
        return []

    def _redact(
        self, sql: str, values: list[str | None], *messages: str | None
    ) -> tuple[str, list[str | None]]:
        text, values = redact_statement(sql, values, *messages)
        if any(one and self._functions.are_called(one) for one in (sql, *messages)):
            text, values = conceal(text), [MASK for _ in values]
        if is_cut(text):
            self._functions.learn(sql)
        return text, values

    def _parse(self, row: Row) -> Completed | None:
        done = parse_completed(row)
        if done is None or not done.kind.startswith("execute "):
            return done
        # A client that fetches in parts executes its portal again. A statement may be *named*
        # "fetch from …", so only what has been executed before is passed over.
        if done.kind.startswith(_FETCH) and _key(done.kind[len(_FETCH) :], done) in self._portals:
            return None
        self._portals.append(_key(done.kind.removeprefix("execute "), done))
        return done

    def _succeeded(self, row: Row, done: Completed) -> list[Entry]:
        found = [_FASTPATH]
        if done.kind != "fastpath function call":
            found = commands(done.text, tag_of(row.ps))
        # The detail of EXECUTE is what was prepared.
        prepared = None if done.values else row.detail
        text, values = self._redact(done.text, done.values, prepared)
        return [
            self.session.entry(
                row,
                command,
                (done.start, done.end),
                self.session.next_statement(),
                command_text=text,
                param_list=values,
            )
            for command in found
        ]

    def _failure(self, row: Row, statement_id: int, substatement_id: int = 1) -> Entry:
        sql = row.statement
        inside = (row.internal_query, row.context, row.message)
        text, values = self._redact(sql or "", bound_values(row.context), *inside)
        return self.session.entry(
            row,
            failed_command(sql or "", tag_of(row.ps) or (None if sql else row.ps)),
            times(row.timestamp),
            statement_id,
            substatement_id=substatement_id,
            command_text=text if sql is not None else None,
            param_list=values,
            error_message=MASK if is_cut(text) else redact_message(row.message),
            exit_code=row.state_code,
        )


def _key(name: str, done: Completed) -> int:
    return hash((name, done.text))
