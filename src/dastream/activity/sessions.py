"""The sessions that are open, and what is to be kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dastream.activity.entry import Entry
from dastream.activity.line_numbers import LineNumbers, started_at
from dastream.activity.log_files import Place
from dastream.activity.progress import Process, Progress
from dastream.activity.session import Kept, Session
from dastream.activity.statement_trail import StatementTrail

__all__ = ["Client", "Sessions"]


@dataclass(slots=True)
class Client:
    """A session, its trail, and what is kept of it: as it was when it was settled last.

    `is_in_audit` says that its last row is one of pgaudit, which may have more to say about the
    same statement.
    """

    session: Session
    trail: StatementTrail
    kept: Kept
    is_in_audit: bool = False

    def is_settled(self, *, has_new_rows: bool) -> bool:
        """Whether no row that has been read is needed again."""
        return self.trail.is_settled and not (self.is_in_audit and has_new_rows)

    def keep(self, place: Place) -> None:
        """Keep it as it is now, to go on at a place."""
        session = self.session
        self.kept = Kept(
            place,
            session.since,
            session.statement_id,
            session.exit_code,
            session.exit_message,
            [*self.trail.portals],
        )


class Sessions:
    """Sessions by their ids, in the order in which they were seen first.

    `clients` are those that are open; `open_client` makes one from what was kept. `numbers`
    watches over the rows of all processes, and counts those that are missing.
    """

    def __init__(self, open_client: Callable[[Kept], Client], progress: Progress) -> None:
        known = [(id, one) for id, one in progress.processes.items() if one is not None]
        self.numbers = LineNumbers(progress.since, ((id, one.line_num) for id, one in known))
        self._open_client = open_client
        self.clients = {id: open_client(one.kept) for id, one in known if one.kept is not None}
        self._ended: set[str] = set()
        self._unsettled = set(self.clients)
        self._ended_statements = -self._open_statements()

    @property
    def statements(self) -> int:
        """Statements of clients that have been read."""
        return self._ended_statements + self._open_statements()

    def oldest(self) -> str:
        """The session that was seen first."""
        return next(iter(self.clients))

    def started_until(self, second: int) -> list[str]:
        """The sessions that started until a second, counted from 1970."""
        return [id for id in self.clients if started_at(id) <= second]

    def begin(self, session_id: str, kept: Kept) -> Client:
        """A session that is new."""
        client = self.clients[session_id] = self._open_client(kept)
        return client

    def end(self, session_id: str) -> Client:
        """A session that is over."""
        client = self.clients.pop(session_id)
        self._ended_statements += client.session.statements
        self._ended.add(session_id)
        return client

    def flush(self) -> Iterator[Entry]:
        """The entries that wait for rows that will not come."""
        for client in self.clients.values():
            yield from client.trail.flush()

    def take_changes(self, place: Place) -> tuple[Place, dict[str, Process | None]]:
        """Where to begin to read again, and what has changed since the last call.

        `place` is where the next row begins.
        """
        changed = self._ended.union(self.numbers.take_new())
        self._ended = set()
        for session_id in self.numbers.excess():
            self.numbers.forget(session_id)
            changed.add(session_id)
        changed |= self._settle(changed, place)
        begin = min((self.clients[id].kept.place for id in self._unsettled), default=place)
        return begin, {id: self._process(id) for id in changed}

    def _settle(self, changed: set[str], place: Place) -> set[str]:
        """Keep the sessions as they are now, unless they are in a statement."""
        looked_at = {id for id in changed | self._unsettled if id in self.clients}
        self._unsettled = {
            id for id in looked_at if not self.clients[id].is_settled(has_new_rows=id in changed)
        }
        settled = looked_at - self._unsettled
        for session_id in settled:
            self.clients[session_id].keep(place)
        return settled

    def _process(self, session_id: str) -> Process | None:
        client = self.clients.get(session_id)
        line_num = self.numbers.last(session_id)
        if client is None and line_num is None:
            return None
        return Process(line_num or 0, client.kept if client else None)

    def _open_statements(self) -> int:
        # A copy: another thread may ask while a session begins.
        return sum(client.session.statements for client in list(self.clients.values()))
