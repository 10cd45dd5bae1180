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
  together or spelled in escapes, if a literal before speaks of it, if a code body executes a
  text about a role, or if the text cannot be read for certain. What the server itself cannot
  parse is cut there, or after the keyword, as soon as it mentions a password at all.
- A comment before a credential may hold it too: then the text is cut at that comment.
- A code body that executes a text of which it cannot be told what it is, is cut at its first
  literal: EXECUTE of a variable or of a function other than `format('…')`, or together with a
  function that decodes (`reverse`, `translate`, `chr`, …). This cuts many a harmless body that
  makes its DDL up from pieces, and the calls of such a function.
- The program of COPY … PROGRAM is kept, unless it holds a login (`-u user:secret` or
  `//user:secret@`), but a message that quotes one is masked.
- All bind values of a cut statement are `<REDACTED>`, and so is its error message, which may
  quote it.

So it fails closed: too much is cut rather than too little. What it does not touch are secrets
that the server does not know as such: `SELECT … WHERE password = $1` on a user's table, or
`crypt('…', gen_salt('bf'))`, is the user's data, and masking that is a transform's job. So is a
password that somebody typed as a user name. Of a password in the arguments of a function whose
name does not speak of passwords, the text says nothing. pgaudit reports the statement inside,
and then the call is cut too; without pgaudit only those functions, prepared statements and
triggers are known that were made, in a text that is cut, while the log was read. What the log
does not tell: those that were there before, or came with an extension or a restored dump;
operators, casts, views, rules, defaults and partitions through which a function is reached;
`(x).f` for `f(x)`; a call whose name the statement computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dastream.activity.credentials import (
    find_credential,
    first_value,
    is_suspicious,
    secret_mention,
)
from dastream.activity.remembered import remembered
from dastream.activity.sql import lowered, opaque, outline, uncommented

__all__ = [
    "MASK",
    "Redacted",
    "SecretFunctions",
    "conceal",
    "redact",
    "redact_message",
    "redact_statement",
    "redact_unparsed",
    "redact_values",
]

MASK = "<REDACTED>"

FUNCTIONS_MAX = 1000
"""Functions that set a credential that are remembered; with more, every call is taken for one."""

_NESTING_MAX = 4
_KEYWORD_CHARS_MAX = 20
_NO_WORD = re.compile(r"[^A-Za-z0-9:]+")
_NAME = r'(?:"(?:[^"]++|"")*+"?|[\w$\x80-\U0010ffff]++)'
_PATH = rf"(?:{_NAME}\s*+\.\s*+(?=[\"\w$\x80-\U0010ffff]))*+"
_MADE = re.compile(
    r"\b(?:create\s+(?:or\s+replace\s+)?(?:function|procedure)|prepare|rename\s+to)\s+"
    rf"{_PATH}(?P<name>{_NAME})"
)
_MADE_TRIGGER = re.compile(r"\bcreate\s+(?:or\s+replace\s+)?(?:constraint\s+)?trigger\b")
_TABLE = re.compile(rf"\bon\s+(?:only\s+)?{_PATH}(?P<name>{_NAME})")
_USED = re.compile(
    r"(?P<routine>\b(?:function|procedure|routine)\s++)?"
    rf"{_PATH}(?P<name>{_NAME})\s*+(?P<call>\()?"
)
_CHANGE = re.compile(r"\b(?:insert|update|delete|merge|copy|truncate|alter)\b")
_PROGRAM_MESSAGE = re.compile(r'(?:program|could not execute command) "')


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
    is_clean = not _is_suspicious(sql, values)
    cut = None if is_clean else find_credential(sql)
    if any(message and _quotes_credential(message) for message in messages):
        cut = min(first_value(sql), len(sql) if cut is None else cut)
    if cut is not None:
        return Redacted(_masked(sql, cut), [MASK for _ in values], is_cut=True)
    kept = list(values) if is_clean else redact_values(sql, values)
    return Redacted(sql, kept, is_cut=False)


def redact_unparsed(sql: str, values: Sequence[str | None]) -> Redacted | None:
    """What not even the server can parse (`ALTER USR davide PASSWORD = …`), cut as early as can be.

    None if it does not mention a password.
    """
    mention = secret_mention(sql)
    if mention is None:
        return None
    cuts = (mention, first_value(sql), find_credential(sql))
    cut = min(one for one in cuts if one is not None)
    return Redacted(_masked(sql, cut), [MASK for _ in values], is_cut=True)


def _is_suspicious(sql: str, values: Sequence[str | None]) -> bool:
    if not values:
        return is_suspicious(sql)
    # A text with values comes again and again, as that of a prepared statement. A keyword may
    # begin in the text and end in the values.
    end = _clean_end(sql)
    return end is None or is_suspicious(" ".join([end, *filter(None, values)]))


@remembered
def _clean_end(sql: str) -> str | None:
    """The last letters and digits of the text, None if it is suspicious itself."""
    return None if is_suspicious(sql) else _NO_WORD.sub("", uncommented(sql))[-_KEYWORD_CHARS_MAX:]


class SecretFunctions:
    """Functions whose bodies set a credential, as far as the log has shown them being made.

    The arguments of a call are then the credential, though nothing in its text says so. The same
    holds of prepared statements, and of changes to a table with a trigger. Schemas and the case
    of letters make no difference here, so another function of the same name counts too.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = set(names)

    def learn(self, sql: str) -> None:
        """Remember what the statement, which has been cut, makes or renames."""
        for code in _codes(sql):
            made = [*_MADE.finditer(code)]
            if _MADE_TRIGGER.search(code):
                made += _TABLE.finditer(code)
            for one in made:
                if len(self.names) < FUNCTIONS_MAX:
                    self.names.add(_plain(one["name"]))

    def are_called(self, sql: str) -> bool:
        """Whether the statement calls one of them, or makes a function that does."""
        return bool(self.names) and any(self._is_used(code) for code in _codes(sql))

    def _is_used(self, code: str) -> bool:
        if 'u&"' in code:
            return True  # a name in escapes
        is_change = _CHANGE.search(code) is not None
        is_full = len(self.names) >= FUNCTIONS_MAX
        for used in _USED.finditer(code):
            is_use = is_change or used["routine"] or used["call"]
            if is_use and (is_full or _plain(used["name"]) in self.names):
                return True
        return False


def _codes(sql: str, depth: int = 0) -> Iterator[str]:
    """The code of the text, with its quoted identifiers, and that of the literals in it."""
    if depth > _NESTING_MAX:
        yield lowered(sql)
        return
    code, at = outline(sql), 0
    parts: list[str] = []
    for one in opaque(sql):
        if one.quote == '"':
            parts += (code[at : one.start], lowered(sql[one.start : one.end]))
            at = one.end
        elif one.quote not in ("--", "/*"):
            yield from _codes(one.content.replace("''", "'"), depth + 1)
    yield "".join((*parts, code[at:]))


def _plain(name: str) -> str:
    return name.strip('"').replace('""', '"')


def redact_values(sql: str, values: Sequence[str | None]) -> list[str | None]:
    """The bind values of a statement: all masked if they and it make a credential."""
    is_secret = find_credential(_with_values(sql, values)) is not None
    return [MASK for _ in values] if is_secret else list(values)


def redact_message(message: str) -> str:
    """A message of the server: masked if it quotes a credential, or a program of COPY."""
    is_secret = _PROGRAM_MESSAGE.match(message) or _quotes_credential(message)
    return MASK if is_secret else message


def _quotes_credential(message: str) -> bool:
    # Messages quote with double quotes, which would pass for quoted identifiers.
    return find_credential(_quoted(message.replace('"', " "))) is not None


def conceal(sql: str, values: Sequence[str | None] = ()) -> Redacted:
    """A statement that is known to set a credential, up to its first value."""
    return Redacted(_masked(sql, first_value(sql)), [MASK for _ in values], is_cut=True)


def _with_values(sql: str, values: Sequence[str | None]) -> str:
    quoted = " ".join([_quoted(value) for value in values if value])
    return f"{sql}\n;{quoted}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _masked(sql: str, cut: int) -> str:
    return f"{sql[:cut].rstrip()} {MASK}".lstrip()
