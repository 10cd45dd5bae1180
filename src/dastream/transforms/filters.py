"""The built-in filters: what is no activity of the database's own users."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import product
from typing import Any

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON
from dastream.event import Event

__all__ = ["Filter", "activity", "no_service_users"]

_SERVICE_USERS = frozenset({"rdsadmin", "rdsproxyadmin"})
_SERVICE_USERS_ANY_CASE = frozenset(
    "".join(letters)
    for name in ("rdsadmin", "rdssec")
    for letters in product(*zip(name, name.upper(), strict=True))
)
_SERVICE_USERS_OF_ANY_ENGINE = _SERVICE_USERS | _SERVICE_USERS_ANY_CASE
_ENGINES_ANY_CASE = frozenset({"oracle", "sqlserver"})

_ENGINES_WITH_CLASSES = frozenset({"aurora-postgresql", "postgresql"})
"""Where `class` alone tells a role change; elsewhere the statement has to be looked at."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "", None})
"""Where the service's own user of MySQL comes from; no client on the network has such a host."""

_LOGINS = frozenset({"connect", "changeuser", "logon"})
_FAILED_LOGINS = frozenset(
    {"auth failure", "failed_connect", "login failed", "database authentication failed"}
)

# Atomic groups: without them, comments in a row would be tried in every combination. What stands
# in `/*! … */` is no comment to MySQL, so only its beginning and its end are skipped.
_BLANK = r"(?>\s|(?:--|#)[^\n]*(?:\n|\Z)|/\*M?!\d*|/\*.*?\*/|\*/)"
_ROLE_CHANGES = (
    "GRANT|REVOKE|DENY|SET PASSWORD|SET DEFAULT ROLE|REASSIGN OWNED"
    "|(?:ADD|DROP) MEMBER|(?:CHANGE|RESET) (?:OWN )?PASSWORD"
    "|(?:CREATE|ALTER|DROP|RENAME) (?:USER|(?:(?:SERVER|APPLICATION) )?ROLE|LOGIN|GROUP|PROFILE)"
)
_ROLE_CHANGE = re.compile(
    rf"{_BLANK}*+(?:{_ROLE_CHANGES.replace(' ', f'{_BLANK}++')})\b",
    re.IGNORECASE | re.DOTALL,
)


class Filter:
    """A transform that drops events or keeps them as they are.

    It looks at all events of a record at once: `keep` gives those that stay.
    """

    def __init__(self, keep: Callable[[Sequence[Event]], list[Event]]) -> None:
        self.keep = keep

    def __call__(self, event: Event) -> Event | None:
        return event if self.keep((event,)) else None


def activity(events: Sequence[Event]) -> list[Event]:
    """What a database did, without the stream's signs of life."""
    return [event for event in events if (event.plain or event.members).type != "heartbeat"]


def no_service_users(events: Sequence[Event]) -> list[Event]:
    """What someone should see, without the service's own users, who are mostly noise.

    Those are `rdsadmin` and `rdsproxyadmin` (Aurora), `RDSADMIN` and `RDSSEC` in any case
    (Oracle, SQL Server). Their failed logins and role changes are kept: that is how it looks
    when somebody tries to be one of them. So is what `rdsadmin` of MySQL does from another host:
    there a user is a name at a host, and whoever may create users may create that one.
    """
    try:
        return [
            event
            for event in events
            if (user := (event.plain or event.members).dbUserName)
            not in _SERVICE_USERS_OF_ANY_ENGINE
            or not _is_noise(event, user)
        ]
    except TypeError:  # a list or an object, which is nobody's name
        return [event for event in events if not _is_noise(event, event.members.dbUserName)]


def _is_noise(event: Event, user: object) -> bool:
    return (
        isinstance(user, str)
        and user in _service_users(event.origin.engine.name)
        and not _is_worth_seeing(event)
    )


def _service_users(engine: str) -> Collection[str]:
    if engine == "postgresql":
        return ()  # on a server of one's own nobody keeps others from taking such a name
    return _SERVICE_USERS_ANY_CASE if engine in _ENGINES_ANY_CASE else _SERVICE_USERS


def _is_worth_seeing(event: Event) -> bool:
    details = _details(event.entry)
    return (
        _is_role_change(event, details)
        or _is_failed_login(details)
        or _is_another_account(event, details)
    )


class _Details(msgspec.Struct):
    """What else of a service user's entry is looked at, of whatever type."""

    command: Any = None
    dbUserName: Any = None  # noqa: N815 - the engine's spelling
    remoteHost: Any = None  # noqa: N815 - the engine's spelling
    class_: Any = msgspec.field(default=None, name="class")
    exitCode: Any = None  # noqa: N815 - the engine's spelling
    errorMessage: Any = None  # noqa: N815 - the engine's spelling


_decode_details = msgspec.json.Decoder(_Details).decode


def _details(entry: bytes) -> _Details:
    try:
        return surrogates.decode(_decode_details, entry)
    except NOT_JSON:
        return _Details()


def _is_another_account(event: Event, details: _Details) -> bool:
    """Whether it is not the service's user of MySQL, but one of its name."""
    if event.origin.engine.name != "aurora-mysql" or details.dbUserName != "rdsadmin":
        return False
    host = details.remoteHost
    return not (host is None or isinstance(host, str)) or host not in _LOCAL_HOSTS


def _is_failed_login(details: _Details) -> bool:
    command = str(details.command).casefold()
    if command not in _LOGINS:
        return command in _FAILED_LOGINS
    return bool(details.errorMessage) or details.exitCode not in (None, "", 0, "0")


def _is_role_change(event: Event, details: _Details) -> bool:
    if details.class_ == "ROLE":
        return True
    if event.origin.engine.name in _ENGINES_WITH_CLASSES:
        return False
    texts = (details.command, event.columns.statement)
    return any(isinstance(text, str) and _ROLE_CHANGE.match(text) for text in texts)
