"""Credentials of the server do not leave it: passwords in SQL text, bind values and messages.

PostgreSQL logs a failed statement, a DO block or a function body as it was typed. The rule:

- A statement that sets a credential is cut after the keyword that says so, and the rest, to the
  end of the text, is `<REDACTED>`: `CREATE USER davide WITH PASSWORD <REDACTED>`. pgaudit cuts
  CREATE and ALTER ROLE the same way, so both kinds of log give the same text. Covered: roles,
  user mappings and other OPTIONS, subscriptions, settings and functions whose name says
  password, the catalogue of roles, password verifiers, what is remarked about roles.
- Where the keyword stands in a literal or a comment, so that SQL or a connection string is
  being put together, the secret may stand before it: then the text is cut at its first literal,
  parenthesis, number or comment (`DO <REDACTED>`). The same if keyword or string are pieced
  together or spelled in escapes, if a comment before speaks of it, if a code body executes a
  text about a role, or if the text cannot be read for certain: a statement that the server
  itself cannot parse is cut there as soon as it mentions a password at all.
- All bind values of a cut statement are `<REDACTED>`, and so is its error message, which may
  quote it.

So it fails closed: too much is cut rather than too little. What it does not touch are secrets
that the server does not know as such: `SELECT … WHERE password = $1` on a user's table, or
`crypt('…', gen_salt('bf'))`, is the user's data, and masking that is a transform's job. So is a
password that somebody typed as a user name. Of a password in the arguments of a function whose
name does not speak of passwords, the text says nothing. pgaudit reports the statement inside,
and then the call is cut too; without pgaudit only the functions and prepared statements are
known that were made while the log was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from dastream.activity.credentials import find_credential, first_value, is_suspicious
from dastream.activity.sql import lowered, uncommented

__all__ = [
    "MASK",
    "Redacted",
    "SecretFunctions",
    "conceal",
    "redact",
    "redact_message",
    "redact_statement",
    "redact_values",
]

MASK = "<REDACTED>"

TEXTS_MAX = 256
"""Texts of statements with values that are remembered."""

FUNCTIONS_MAX = 1000
"""Functions that set a credential that are remembered."""

_NAME = r'(?:(?:\w+|"[^"]*")\s*\.\s*)?(?:"([^"]+)"|(\w+))'
_MADE = re.compile(
    rf"\b(?:create\s+(?:or\s+replace\s+)?(?:function|procedure)|rename\s+to|prepare)\s+{_NAME}"
)
_CALL = re.compile(
    rf'(?:"([^"]+)"|\b(\w++))\s*+\(|\b(?:execute|function|procedure|routine)\s+{_NAME}'
)


class Redacted(NamedTuple):
    """The text and the bind values of a statement, and whether a credential was cut out."""

    text: str
    values: list[str | None]
    is_cut: bool


def redact(sql: str) -> str:
    """The text of a statement or query string, cut before the first credential in it."""
    cut = find_credential(sql)
    return sql if cut is None else _masked(sql, cut)


def redact_statement(sql: str, values: Sequence[str | None], *messages: str | None) -> Redacted:
    """A statement without credentials.

    `messages` are what the server says about the statement: they may quote SQL that ran inside
    it, and if that sets a credential, the statement holds it.
    """
    # A text with values comes again and again, as that of a prepared statement.
    is_clean = not (_recalls_suspicion(sql) if values else is_suspicious(sql))
    if is_clean and values:
        is_clean = not is_suspicious(" ".join([value for value in values if value]))
    cut = None if is_clean else find_credential(sql)
    if messages and any(message and redact_message(message) != message for message in messages):
        cut = min(first_value(sql), len(sql) if cut is None else cut)
    if cut is not None:
        return Redacted(_masked(sql, cut), [MASK for _ in values], is_cut=True)
    kept = list(values) if is_clean else redact_values(sql, values)
    return Redacted(sql, kept, is_cut=False)


class SecretFunctions:
    """Functions whose bodies set a credential, as far as the log has shown them being made.

    The arguments of a call are then the credential, though nothing in its text says so. It is the
    same with prepared statements.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = set(names)

    def learn(self, sql: str) -> None:
        """Remember what the statement makes or renames, if it does."""
        for made in _MADE.finditer(uncommented(lowered(sql))):
            if len(self.names) < FUNCTIONS_MAX:
                self.names.add(made[1] or made[2])

    def are_called(self, sql: str) -> bool:
        """Whether the statement calls one of them, changes it, or makes one that calls it."""
        if not self.names:
            return False
        calls = _CALL.finditer(uncommented(lowered(sql)))
        return any(name in self.names for call in calls for name in call.groups() if name)


def redact_values(sql: str, values: Sequence[str | None]) -> list[str | None]:
    """The bind values of a statement: all masked if they and it make a credential."""
    is_secret = find_credential(_with_values(sql, values)) is not None
    return [MASK for _ in values] if is_secret else list(values)


def redact_message(message: str) -> str:
    """A message of the server: masked if it quotes a credential."""
    # Messages quote with double quotes, which would pass for quoted identifiers.
    is_secret = find_credential(_quoted(message.replace('"', " "))) is not None
    return MASK if is_secret else message


def conceal(sql: str, values: Sequence[str | None] = ()) -> Redacted:
    """A statement that is known to set a credential, up to its first value."""
    return Redacted(_masked(sql, first_value(sql)), [MASK for _ in values], is_cut=True)


@lru_cache(maxsize=TEXTS_MAX)
def _recalls_suspicion(sql: str) -> bool:
    return is_suspicious(sql)


def _with_values(sql: str, values: Sequence[str | None]) -> str:
    quoted = " ".join([_quoted(value) for value in values if value])
    return f"{sql}\n;{quoted}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _masked(sql: str, cut: int) -> str:
    return f"{sql[:cut].rstrip()} {MASK}".lstrip()
