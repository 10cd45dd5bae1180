"""The built-in filters: what is no activity of the database's own users."""

from __future__ import annotations

import re

from dastream.event import Event

__all__ = ["is_activity", "is_no_service_user"]

_SERVICE_USERS = frozenset({"rdsadmin", "rdsproxyadmin"})
_SERVICE_USERS_ANY_CASE = frozenset({"rdsadmin", "rdssec"})
_ENGINES_ANY_CASE = frozenset({"oracle", "sqlserver"})

_ENGINES_WITH_CLASSES = frozenset({"aurora-postgresql", "postgresql"})
"""Where `class` alone tells a role change; elsewhere the statement has to be looked at."""

_LOGINS = frozenset({"connect", "changeuser", "logon"})
_FAILED_LOGINS = frozenset(
    {"auth failure", "failed_connect", "login failed", "database authentication failed"}
)

# Atomic groups: without them, comments in a row would be tried in every combination. What stands
# in `/*! … */` is no comment to MySQL, so only its beginning is skipped.
_ROLE_CHANGE = re.compile(
    r"(?>\s|(?:--|#)[^\n]*(?:\n|\Z)|/\*M?!\d*|/\*.*?\*/)*+"
    r"(?:GRANT|REVOKE|DENY|SET\s+PASSWORD|SET\s+DEFAULT\s+ROLE|REASSIGN\s+OWNED"
    r"|(?:ADD|DROP)\s+MEMBER|(?:CHANGE|RESET)\s+(?:OWN\s+)?PASSWORD"
    r"|(?:CREATE|ALTER|DROP|RENAME)\s+"
    r"(?:USER|(?:(?:SERVER|APPLICATION)\s+)?ROLE|LOGIN|GROUP|PROFILE))\b",
    re.IGNORECASE | re.DOTALL,
)


def is_activity(event: Event) -> bool:
    """Whether this is something a database did, and not the stream's sign of life."""
    return event.kind == "activity"


def is_no_service_user(event: Event) -> bool:
    """Whether someone should see this, although the service's own users are mostly noise.

    The service's users are `rdsadmin` and `rdsproxyadmin` (Aurora), `RDSADMIN` and
    `RDSSEC` in any case (Oracle, SQL Server). Their failed logins and role changes are kept:
    that is how it looks when somebody tries to be one of them.
    """
    return not _is_service_user(event) or _is_failed_login(event) or _is_role_change(event)


def _is_service_user(event: Event) -> bool:
    user = event.members.dbUserName
    if not isinstance(user, str) or event.origin.engine.name == "postgresql":
        return False  # on a server of one's own nobody keeps others from taking such a name
    if event.origin.engine.name in _ENGINES_ANY_CASE:
        return user.casefold() in _SERVICE_USERS_ANY_CASE
    return user in _SERVICE_USERS


def _is_failed_login(event: Event) -> bool:
    members = event.members
    command = str(members.command).casefold()
    if command in _FAILED_LOGINS:
        return True
    failed = bool(members.errorMessage) or members.exitCode not in (None, "", 0, "0")
    return command in _LOGINS and failed


def _is_role_change(event: Event) -> bool:
    if event.members.class_ == "ROLE":
        return True
    if event.origin.engine.name in _ENGINES_WITH_CLASSES:
        return False
    texts = (event.members.command, event.columns.statement)
    return any(isinstance(text, str) and _ROLE_CHANGE.match(text) for text in texts)
