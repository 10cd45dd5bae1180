"""Credentials of the server do not leave it: passwords in SQL text, bind values and messages.

PostgreSQL logs a failed statement, a DO block or a function body as it was typed. The rule:

- A statement that sets a credential is cut after the keyword that says so, and the rest, to the
  end of the text, is `<REDACTED>`: `CREATE USER davide WITH PASSWORD <REDACTED>`. pgaudit cuts
  CREATE and ALTER ROLE the same way, so both kinds of log give the same text. Covered: roles,
  user mappings and other OPTIONS, subscriptions, settings and functions whose name says
  password, the catalogue of roles, password verifiers.
- Where the keyword stands in a literal or a comment, so that SQL or a connection string is
  being put together, the secret may stand before it: then the text is cut at its first literal,
  parenthesis, number or comment (`DO <REDACTED>`). The same if keyword or string are pieced
  together or spelled in escapes, or if the text cannot be read for certain.
- All bind values of a cut statement are `<REDACTED>`, and so is its error message, which may
  quote it.

So it fails closed: too much is cut rather than too little. What it does not touch are secrets
that the server does not know as such: `SELECT … WHERE password = $1` on a user's table is the
user's data, and masking that is a transform's job. Of a password in the arguments of a function
whose name does not speak of passwords, the text says nothing. pgaudit reports the statement
inside, and then the call is cut too; without pgaudit only the functions are known that were
made while the log was read.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dastream.activity.sql import Opaque, lowered, opaque, outline

__all__ = [
    "MASK",
    "Redacted",
    "SecretFunctions",
    "conceal",
    "is_suspicious",
    "redact",
    "redact_message",
    "redact_statement",
    "redact_values",
]

MASK = "<REDACTED>"

NESTING_MAX = 4
"""Literals within literals that are looked into; what lies deeper is taken for a secret."""

FUNCTIONS_MAX = 1000
"""Functions that set a credential that are remembered."""

_KEPT = (string.ascii_letters + string.digits + ":").encode()
_SQUEEZE = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_DROPPED = bytes(byte for byte in range(256) if byte not in _KEPT)
_HINTS = re.compile(
    rb"pass(?:w|phrase)|pwd|scramsha|md5|postgres(?:ql)?:|identifiedby|pgauthid|uescape"
    rb"|(?:create|alter)(?:role|user|group)"
)

_SECRET = re.compile(r"passw(?:or)?d|passphrase|pwd")
_ROLE = re.compile(r"\b(?:create|alter)\s+(?:role|user|group)\b(?!\s+mapping\b)")
_USER_MAPPING = re.compile(r"\b(?:create|alter)\s+user\s+mapping\b")
# Literals of a role's statement that are no secrets: `VALID UNTIL '…'` and `SET name = '…'`.
_LITERAL = re.compile(r"\b(?:until|set\s+[\w.]+\s*(?:=|\bto\b))\s*'|'")
_SETTING = re.compile(r"(?:\A|;)\s*(?:set|alter\s+(?:system|database))\b")
# A name with the keyword in it that a literal or `=>` follows, or that is called.
_OPERAND = re.compile(r"((?:passw(?:or)?d|passphrase|pwd)\w{0,64})(?:\s*(?:'|=>|:=)|\()")
_RELATION = re.compile(
    r"\b(?:copy|exists|from|into|join|on|references|table|update|view|with)\s+[\w.]*\Z"
)
_IDENTIFIED_BY = re.compile(r"\bidentified\s+by\b")
_ROLE_CATALOGUE = re.compile(r"\bpg_authid\b|rolpassword")
_CHANGE = re.compile(r"\b(?:insert|update|merge|copy)\b")
_VERIFIER = re.compile(r"scram-sha-256\$|\bmd5[0-9a-f]{32}\b")
_MADE_FUNCTION = re.compile(
    r'\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+(?:[\w"]+\.)?"?([^\s"(]+)'
)
_CODE_BODY = re.compile(r"\s*(?:do|create\s+(?:or\s+replace\s+)?(?:function|procedure))\b")

# In a literal: a member of a connection string, or the keyword before what becomes its operand.
_INNER = re.compile(r"(?:passw(?:or)?d|passphrase|pwd)(?:\s*=|\s+(?:['%$]|e'|u&|\Z))")
_URI = re.compile(r"postgres(?:ql)?://")
_CONNECTS = re.compile(r"dblink|conninfo|\bconnection\b|\bserver\b|\bset_config\b")
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-f]{1,2})|u([0-9a-f]{4})|u([0-9a-f]{8})|\+([0-9a-f]{6})|([0-9a-f]{4})"
    r"|([0-7]{1,3}))"
)
_ESCAPE_CHARACTER = re.compile(r"\buescape\s*'(.)'")
_FIRST_VALUE = re.compile(r"""['"$(]|--|/\*|\b\d""")


def is_suspicious(text: str) -> bool:
    """Whether the text needs a closer look. Cheap, because every statement is asked."""
    if "\\" in text:
        return True
    return _HINTS.search(_squeezed(text)) is not None


class Redacted(NamedTuple):
    """The text and the bind values of a statement, and whether a credential was cut out."""

    text: str
    values: list[str | None]
    is_cut: bool


def redact(sql: str) -> str:
    """The text of a statement or query string, cut before the first credential in it."""
    cut = _find_cut(sql)
    return sql if cut is None else _masked(sql, cut)


def redact_statement(sql: str, values: Sequence[str | None], *messages: str | None) -> Redacted:
    """A statement without credentials.

    `messages` are what the server says about the statement: they may quote SQL that ran inside
    it, and if that sets a credential, the statement holds it.
    """
    cut = _find_cut(sql)
    if any(message and redact_message(message) != message for message in messages):
        cut = min(_first_value(sql), len(sql) if cut is None else cut)
    if cut is not None:
        return Redacted(_masked(sql, cut), [MASK for _ in values], is_cut=True)
    return Redacted(sql, redact_values(sql, values) if values else [], is_cut=False)


class SecretFunctions:
    """Functions whose bodies set a credential, as far as the log has shown them being made.

    The arguments of a call are then the credential, though nothing in its text says so.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._call: re.Pattern[str] | None = None

    def learn(self, sql: str) -> None:
        """Remember the function that the statement makes, if it makes one."""
        made = _MADE_FUNCTION.match(lowered(sql))
        if made and made[1] not in self._names and len(self._names) < FUNCTIONS_MAX:
            self._names.add(made[1])
            names = "|".join(re.escape(name) for name in self._names)
            self._call = re.compile(rf'\b(?:{names})"?\s*\(')

    def are_called(self, sql: str) -> bool:
        """Whether the statement calls one of them, or makes a function that does."""
        return self._call is not None and self._call.search(lowered(sql)) is not None


def redact_values(sql: str, values: Sequence[str | None]) -> list[str | None]:
    """The bind values of a statement: all masked if they and it make a credential."""
    quoted = " ".join(_quoted(value) for value in values if value)
    is_secret = _find_cut(f"{sql}\n;{quoted}") is not None
    return [MASK for _ in values] if is_secret else list(values)


def redact_message(message: str) -> str:
    """A message of the server: masked if it quotes a credential."""
    # Messages quote with double quotes, which would pass for quoted identifiers.
    is_secret = _find_cut(_quoted(message.replace('"', " "))) is not None
    return MASK if is_secret else message


def conceal(sql: str, values: Sequence[str | None] = ()) -> Redacted:
    """A statement that is known to set a credential, up to its first value."""
    return Redacted(_masked(sql, _first_value(sql)), [MASK for _ in values], is_cut=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _masked(sql: str, cut: int) -> str:
    return f"{sql[:cut].rstrip()} {MASK}".lstrip()


def _squeezed(text: str) -> bytes:
    # Letters and digits alone, so that a keyword in pieces ('PASS' || 'WORD') comes together.
    return text.encode(errors="replace").translate(_SQUEEZE, _DROPPED)


def _first_value(sql: str) -> int:
    first = _FIRST_VALUE.search(sql)
    return first.start() if first else len(sql)


def _find_cut(sql: str) -> int | None:
    return _cut(sql) if is_suspicious(sql) else None


def _cut(sql: str, depth: int = 0) -> int | None:
    """Where the text is to end: before its first credential, None if it has none."""
    if depth > NESTING_MAX:
        return 0
    lower, code = lowered(sql), outline(sql)
    cuts = [*_direct_cuts(lower, code)]
    if _is_spelled_strangely(lower) or _is_put_together(sql, code, depth):
        cuts.append(_first_value(sql))
    return min(cuts, default=None)


def _direct_cuts(lower: str, code: str) -> Iterator[int]:
    """Where a credential is set by code, and not by a text that the code puts together."""
    if role := _ROLE.search(code):
        yield from _keyword_end("password", lower, role.end())
        yield from _literal_start(code, role.end())
    if mapping := _USER_MAPPING.search(code):
        yield from _keyword_end("options", code, mapping.end())
        yield from _literal_start(code, mapping.end())
    if _SECRET.search(lower) or "\\" in lower:
        yield from _keyword_end("options", code, 0)
        yield from _subscription_cut(code)
    if setting := _SETTING.search(code):
        yield from _setting_cuts(lower, setting.end())
    for operand in _OPERAND.finditer(code):
        if not _RELATION.search(code[max(operand.start() - 128, 0) : operand.start()]):
            yield operand.end(1)
    if identified := _IDENTIFIED_BY.search(code):
        yield identified.end()
    if (catalogue := _ROLE_CATALOGUE.search(lower)) and _CHANGE.search(code):
        yield catalogue.end()
    if verifier := _VERIFIER.search(lower):
        yield verifier.start()


def _keyword_end(keyword: str, text: str, start: int) -> Iterator[int]:
    at = text.find(keyword, start)
    if at >= 0:
        yield at + len(keyword)


def _literal_start(code: str, start: int) -> Iterator[int]:
    for literal in _LITERAL.finditer(code, start):
        if literal[0] == "'":
            yield literal.start()
            return


def _subscription_cut(code: str) -> Iterator[int]:
    at = code.find("subscription")
    if at >= 0:
        yield from _keyword_end("connection", code, at)


def _setting_cuts(lower: str, start: int) -> Iterator[int]:
    for name in _SECRET.finditer(lower, start):
        if not lower.startswith("password_encryption", name.start()):
            yield name.end()
            return


def _is_spelled_strangely(lower: str) -> bool:
    """Whether escapes hide a keyword, or leave open where a literal ends."""
    if "\\'" in lower and _SECRET.search(lower):
        return True
    texts = [lower, *(lower.replace(c, "\\") for c in _ESCAPE_CHARACTER.findall(lower)[:4])]
    plain = len(_SECRET.findall(lower))
    return any(len(_SECRET.findall(_unescaped(text))) > plain for text in texts if "\\" in text)


def _unescaped(lower: str) -> str:
    def character(escape: re.Match[str]) -> str:
        digits = escape[escape.lastindex or 0]
        code = int(digits, 8 if escape.lastindex == 6 else 16)
        return chr(code).lower() if code < 0x110000 else ""

    return _ESCAPE.sub(character, lower)


def _is_put_together(sql: str, code: str, depth: int) -> bool:
    """Whether literals or comments of the text hold a credential, or what makes one."""
    texts = [*opaque(sql)]
    if any(_holds_secret(one, _CODE_BODY.match(code) is not None, depth) for one in texts):
        return True
    inner = _squeezed("".join(one.content for one in texts if one.quote != '"'))
    if not _SECRET.search(inner.decode()):
        return False
    makes_roles = (b"create" in inner or b"alter" in inner) and (
        b"role" in inner or b"user" in inner or b"group" in inner
    )
    return makes_roles or _CONNECTS.search(code) is not None


def _holds_secret(text: Opaque, in_code_body: bool, depth: int) -> bool:
    content = text.content.replace("''", "'") if text.quote in ("'", "e'") else text.content
    if not is_suspicious(content):
        return False
    is_body = in_code_body and text.quote.startswith("$")
    if not is_body and (_INNER.search(lowered(content)) or _URI.search(lowered(content))):
        return True
    return _cut(content, depth + 1) is not None
