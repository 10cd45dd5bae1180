"""An event: one entry of an activity stream, with its id and where it came from.

There is one truth in an event: the entry's bytes. Columns are decoded from those bytes on first
use by the engine that wrote them, and a transform that changes something gets a new event with
new bytes (`Event.replace`), so nothing that was masked stays behind in a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from dastream import surrogates
from dastream.errors import NOT_JSON
from dastream.record import Position

__all__ = [
    "SCHEMA_VERSION",
    "Columns",
    "Engine",
    "Event",
    "Members",
    "Origin",
]

SCHEMA_VERSION = 1
"""Version of the columns and of the delivered line. Columns are added, never changed: each addition
makes a new version, and a column that is not in an older one is null there (docs/events.md)."""


class Columns(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The members of an entry under one name and one meaning for every engine.

    A member that is missing, null or blank, or whose value does not fit, is None; the names of
    those that did not fit are in `misfits`. Times are microseconds since 1970, UTC; whole numbers
    have 64 bits.
    """

    start_time_us: int | None = None
    """When execution began."""
    end_time_us: int | None = None
    """When execution ended."""
    log_time_us: int | None = None
    """When the engine wrote the entry."""
    user: str | None = None
    """The database user the session authenticated as."""
    database: str | None = None
    """The database connected to."""
    command: str | None = None
    """The SQL command or session action, such as `SELECT` or `CONNECT`."""
    command_class: str | None = None
    """The engine's category, such as `READ`, `WRITE`, `DDL` or `ROLE`."""
    is_auxiliary: bool = False
    """Whether this only adds an object to the event of a statement (Aurora MySQL's `AUX`)."""
    object_name: str | None = None
    """The object touched, as the engine qualifies it."""
    object_type: str | None = None
    """What kind of object it is, such as `TABLE`."""
    object_schema: str | None = None
    """The schema of the object, without quotes, where the engine tells it."""
    object_detail: str | None = None
    """What an auxiliary event says of its object, such as its name."""
    statement: str | None = None
    """The SQL text."""
    params: tuple[str | None, ...] = ()
    """Bind values in text form."""
    row_count: int | None = None
    """Rows returned or affected."""
    error: str | None = None
    """The error message of a failed statement or login."""
    exit_code: str | None = None
    """SQLSTATE, error number or exit code, as text; null for 0, which says that nothing failed."""
    succeeded: bool | None = None
    """Whether it worked, the engines' conventions undone; null where the engine does not say."""
    client_application: str | None = None
    """What the client calls itself; not to be trusted."""
    remote_host: str | None = None
    """Address or name of the client."""
    remote_port: str | None = None
    """Port of the client."""
    session_id: str | None = None
    """The session, as text; null where there was none yet."""
    statement_id: str | None = None
    """The statement within the engine's numbering, as text."""
    substatement_id: int | None = None
    """The number within the statement: of a sub-statement, or of one of several events."""
    statement_part: int | None = None
    """The number of this part of the SQL text, which is cut where it is long."""
    transaction_id: str | None = None
    """The transaction, as text; null where there was none."""
    pid: int | None = None
    """The server's process: of the session, or in MySQL of all sessions."""
    server_host: str | None = None
    """The server's address or name."""
    server_version: str | None = None
    """The server's version."""
    service_name: str | None = None
    """The service, such as `Amazon Aurora PostgreSQL-Compatible edition`."""
    net_protocol: str | None = None
    """Network protocol."""
    db_protocol: str | None = None
    """Database protocol."""
    misfits: tuple[str, ...] = ()
    """Members of the entry whose values had no place in their column."""

    @property
    def time_us(self) -> int | None:
        """The time to show and to search by: the start, else the log time."""
        return self.log_time_us if self.start_time_us is None else self.start_time_us

    @property
    def duration_us(self) -> int | None:
        """Microseconds of execution, where start and end (else log time) are known."""
        end = self.log_time_us if self.end_time_us is None else self.end_time_us
        if self.start_time_us is None or end is None or end < self.start_time_us:
            return None
        return end - self.start_time_us


class Engine(NamedTuple):
    """The database engine that wrote an entry: a name, and how its members become columns."""

    name: str
    columns: Callable[[bytes], Columns]


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where an entry came from. The events of one record share one origin.

    `cluster_id` and `instance_id` are what the payload says, None where it says nothing. `more`
    is a JSON object (bytes) with the unknown members of envelope and payload, or None.
    """

    engine: Engine
    cluster_id: str | None = None
    instance_id: str | None = None
    position: Position | None = None
    arrival_ms: int | None = None
    more: bytes | None = None


class Members(msgspec.Struct, frozen=True, gc=False):
    """The two members of an entry that records are filtered by, of whatever type."""

    type: Any = None
    dbUserName: Any = None  # noqa: N815 - the engine's spelling


_NO_MEMBERS = Members()
_decode_members = msgspec.json.Decoder(Members).decode
_decode_all_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Event(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One entry with its id and its origin.

    `id` is a pure function of the record's bytes: the message id of the authenticated header in
    hex, a dash, and the entry's index in `databaseActivityEventList` before any filter. `entry`
    is the JSON value exactly as the engine wrote it. `plain` are its `members` where it is known
    that a delivered line may take the entry over as it is (see `dastream.line`), else None.
    An event does not change: what is made of its entry would no longer be true.
    """

    id: str
    entry: bytes
    origin: Origin
    plain: Members | None = None
    _members: Members | None = None
    _columns: Columns | None = None

    @property
    def members(self) -> Members:
        """The members that built-in transforms read; all None if the entry is no JSON object."""
        if self.plain is not None:
            return self.plain
        members = self._members
        if members is None:
            members = _members_of(self.entry)
            force_setattr(self, "_members", members)  # it follows from what does not change
        return members

    @property
    def columns(self) -> Columns:
        """The entry's members, normalised. Decoded on first use."""
        columns = self._columns
        if columns is None:
            columns = self.origin.engine.columns(self.entry)
            force_setattr(self, "_columns", columns)
        return columns

    @property
    def kind(self) -> str:
        """`heartbeat` or `activity`. A missing type is activity: Oracle's entries have none."""
        return "heartbeat" if self.members.type == "heartbeat" else "activity"

    def replace(self, **members: object) -> Event:
        """This event with members of its entry set to other values, in their place.

        The bytes are written anew, so no other form of the old values remains. Raises TypeError
        for an entry that is not a JSON object.
        """
        try:
            old: dict[str, Any] = dict(surrogates.decode(_decode_all_members, self.entry))
        except NOT_JSON:
            raise TypeError("the entry is not a JSON object") from None
        return Event(self.id, msgspec.json.encode(old | members), self.origin)

    def __repr__(self) -> str:
        # An entry holds SQL text, so it must not show in a log or a traceback.
        return f"<Event {self.id}>"


def _members_of(entry: bytes) -> Members:
    try:
        return surrogates.decode(_decode_members, entry)
    except NOT_JSON:
        return _NO_MEMBERS
