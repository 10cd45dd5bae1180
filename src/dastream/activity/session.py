"""One session of the server: who it is, and how its statements are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dastream.activity.command import Command
from dastream.activity.entry import Entry, Server
from dastream.activity.log_files import Place
from dastream.activity.log_row import Row
from dastream.activity.redact import redact_message

__all__ = ["Kept", "Session"]


class Kept(msgspec.Struct, omit_defaults=True):
    """What is to be known of a session between two statements. It holds no SQL and no values.

    `place` is where the log has to be read on for it. For the others see Session.
    """

    place: Place
    since: str
    statement_id: int = 1
    exit_code: str | None = None
    exit_message: str | None = None
    portals: list[bytes] = []


class Session:
    """Makes the entries of a session.

    The login is its statement 1 and each statement of the client has the next number, as Aurora
    counts. A log that is read from its middle begins a session that is already open with 2.
    """

    def __init__(self, server: Server, kept: Kept) -> None:
        self.since = kept.since
        """Time stamp of the session's first row."""
        self.exit_code = kept.exit_code
        self.exit_message = kept.exit_message
        self.statement_id = kept.statement_id
        self.portals: Sequence[bytes] = kept.portals
        """Those of the session's trail when it was kept."""
        self._server = server
        self._names: tuple[str | None, ...] = ()
        self._shown: list[str | None] = []

    @property
    def statements(self) -> int:
        """How many statements there have been, without the login."""
        return self.statement_id - 1

    def next_statement(self) -> int:
        """The number of another statement."""
        self.statement_id += 1
        return self.statement_id

    def entry(
        self, row: Row, command: Command, times: tuple[str, str], statement_id: int, **members: Any
    ) -> Entry:
        """An entry for what the row tells, by the client that the row names."""
        self._take_names(row)
        user, database, application = self._shown
        is_local = row.remote_host in (None, "[local]")
        return Entry(
            start_time=times[0],
            log_time=times[1],
            statement_id=statement_id,
            command=command.tag,
            class_=command.category,
            database_name=database,
            db_user_name=user,
            remote_host=row.remote_host,
            remote_port=None if row.remote_port is None else str(row.remote_port),
            session_id=row.session_id,
            pid=row.pid,
            client_application=application,
            server_version=self._server.version,
            server_host=self._server.host,
            net_protocol="Unix" if is_local else "TCP",
            **members,
        )

    def _take_names(self, row: Row) -> None:
        # What a client puts into the wrong place of a connection string comes here.
        names = (row.user, row.dbname, row.application_name)
        if names != self._names:
            self._names = names
            self._shown = [name and redact_message(name) for name in names]
