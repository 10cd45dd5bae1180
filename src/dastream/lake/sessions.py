"""Sessions: what was found of one id, parted where another session begins.

PostgreSQL's ids do not come again. Those of the other engines do: on another instance, after a
restart, or as soon as the session before has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dastream.event import Columns
from dastream.lake.order import Match

__all__ = ["Session", "part"]

_LOGINS = frozenset({"CONNECT", "LOGON", "LOGIN", "LOGIN SUCCEEDED"})
_LOGOUTS = frozenset({"DISCONNECT", "LOGOFF", "LOGOFF BY CLEANUP", "LOGOUT"})
"""What the engines call the begin and the end of a session."""


@dataclass(slots=True)
class Session:
    """One session, in the order in which its database logged it; it has at least one match."""

    cluster_id: str | None
    instance_id: str | None
    matches: list[Match] = field(default_factory=list)

    @property
    def has_begin(self) -> bool:
        """Whether the login is there."""
        return _command(self.matches[0].event.columns) in _LOGINS

    @property
    def has_end(self) -> bool:
        """Whether the logout is there."""
        return _command(self.matches[-1].event.columns) in _LOGOUTS

    @property
    def statements(self) -> list[Columns]:
        """What ran between them."""
        columns = (match.event.columns for match in self.matches)
        return [one for one in columns if _command(one) not in _LOGINS | _LOGOUTS]

    def known(self, column: str) -> str | None:
        """The first value of a column that is the session's, such as its user."""
        values = (getattr(match.event.columns, column) for match in self.matches)
        return next(filter(None, values), None)

    def goes_on_with(self, columns: Columns) -> bool:
        """Whether an event may belong to it: no login, nothing after its end, the same client."""
        if self.has_end or _command(columns) in _LOGINS:
            return False
        client = self.known("remote_host"), self.known("remote_port")
        theirs = columns.remote_host, columns.remote_port
        return all(None in pair or pair[0] == pair[1] for pair in zip(client, theirs, strict=True))


def part(matches: Iterable[Match]) -> list[Session]:
    """The sessions among matches that share an id, by their first events."""
    sessions: list[Session] = []
    latest: dict[tuple[str | None, str | None], Session] = {}
    for match in matches:
        place = match.event.origin.cluster_id, match.event.origin.instance_id
        session = latest.get(place)
        if session is None or not session.goes_on_with(match.event.columns):
            session = latest[place] = Session(*place)
            sessions.append(session)
        session.matches.append(match)
    return sessions


def _command(columns: Columns) -> str:
    return (columns.command or "").upper()
