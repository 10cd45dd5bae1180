"""One session of the server, as far as its log has told.

Each statement gets the next number of its session and each part of it the next number below
that, beginning with the login, which is statement 1: so Aurora counts. pgaudit counts too, but
not logins, and not what fails.
"""

from __future__ import annotations

from collections import deque

from dastream.activity.entry import Entry, Server
from dastream.activity.log_row import Audit, Completed, Row
from dastream.activity.redact import redact

__all__ = ["Session"]

PORTALS_MAX = 16


class Session:
    """Counts the statements of a session and keeps what waits for a later row of the log.

    `pending` are entries made from pgaudit's lines whose statement has not completed. `awaited`
    is a completed SELECT whose pgaudit line comes when its portal is closed.
    """

    def __init__(self, row: Row, server: Server) -> None:
        self.received = row.timestamp
        self.pending: list[Entry] = []
        self.awaited: Completed | None = None
        self.is_awaited_audited = False
        self.awaited_entries: list[Entry] = []
        self.concealed_id = 0
        self.end: tuple[str | None, str | None] = (None, None)
        self.portals: deque[int] = deque(maxlen=PORTALS_MAX)
        self._server = server
        self._statement_id = 1
        self._substatement_id = 0
        self._audit_id = 0
        self._seen: set[tuple[object, ...]] = set()
