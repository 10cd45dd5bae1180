"""Where in SQL text a credential of the server begins: the rule of `redact`, in regexes.

Everything here takes time linear in the length of the text, and knows of SQL no more than what
is a literal, what a comment and what code.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence

from dastream.activity.sql import Opaque, lowered, opaque, outline, uncommented

__all__ = ["find_credential", "first_value", "is_suspicious", "secret_mention"]

NESTING_MAX = 4
"""Literals within literals that are looked into; what lies deeper is taken for a secret."""

_COMMENTS = ("--", "/*")
_KEPT = (string.ascii_letters + string.digits + ":").encode()
_SQUEEZE = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_DROPPED = bytes(byte for byte in range(256) if byte not in _KEPT)
# One alternative a letter, each with a literal to begin with: that is what a search is quick for.
_HINTS = re.compile(
    rb"p(?:ass(?:w|phrase)|wd|ostgres(?:ql)?:|g(?:authid|shadow|pass)|rogram)|scramsha|md5|uescape"
    rb"|identifiedby|create(?:role|user|group|server)|alter(?:role|user|group|server)|execute"
    rb"|foreigndatawrapper"
)

_SECRET = re.compile(r"passw(?:or)?d|passphrase|pwd")
_ROLE = re.compile(r"\b(?:create|alter)\s+(?:role|user|group)\b(?!\s+mapping\b)")
_USER_MAPPING = re.compile(r"\b(?:create|alter)\s+user\s+mapping\b")
# Literals of a role's statement that are no secrets (`VALID UNTIL '…'` and `SET name = '…'`),
# and quoted identifiers that stand where a name has to. What else is quoted may be a secret.
_LITERAL = re.compile(
    r"\b(?:until|set\s+[\w.]+\s*(?:=|\bto\b))\s*'"
    r"|(?:\b(?:admin|database|for|from|group|reset|role|server|set|to|user)\b|,)\s*\"|['\"]"
)
_SETTING = re.compile(r"(?:\A|;)\s*(?:set|alter\s+(?:system|database))\b")
# The clause of a function, not what its body does: that is a literal.
_FUNCTION = re.compile(
    r"\b(?:create\s+(?:or\s+replace\s+)?|alter\s+)(?:function|procedure|routine)\b"
)
_SET = re.compile(r"\bset\s+")
_SET_SECRET = re.compile(r'[\w."]*?(?:passw(?:or)?d|passphrase|pwd)\w*')
_SERVER = re.compile(r"\b(?:create|alter)\s+(?:server|foreign\s+data\s+wrapper)\b")
_SECRET_OPTION = re.compile(r"(?:pass|pw|secret|token|credential|key)[\w\"]{0,64}\s{0,64}'")
_REMARK = re.compile(
    r"\b(?:comment|label(?:\s+for\s+[\w\"' ]{1,64}?)?)\s+on\s+"
    r"(?:role|user|database|server|subscription|foreign)\b"
)
# A name with the keyword in it that a literal or `=>` follows, or that is called. The columns of
# a relation follow in parentheses too.
_OPERAND = re.compile(
    r"((?:passw(?:or)?d|passphrase|pwd)\w{0,64})(?:\s*(?:(?:[bnx]|u&)?'|=>|:=)|(\())"
)
_RELATION = re.compile(
    r"\b(?:copy|exists|from|into|join|on|references|table|update|view|with)\s+[\w.]*\Z"
)
# `WITH password …` where it does not name a query, as in a role's statement that is misspelled.
_OPTION = re.compile(
    r"\bwith\s++(?:(?:un)?encrypted\s++)?((?:passw(?:or)?d|passphrase|pwd)\w*+)"
    r"(?!\s*+(?:\(|as\b|\Z|[;)]))"
)
_IDENTIFIED_BY = re.compile(r"\bidentified\s+by\b")
_ROLE_CATALOGUE = re.compile(r"\bpg_(?:authid|shadow)\b|rolpassword")
_CHANGE = re.compile(r"\b(?:insert|update|merge|copy)\b")
_VERIFIER = re.compile(r"scram-sha-256\$|\bmd5[0-9a-f]{32}\b")
_CODE_BODY = re.compile(r"\s*(?:do|create\s+(?:or\s+replace\s+)?(?:function|procedure))\b")

# In a literal: a member of a connection string, or the keyword before what becomes its operand.
_INNER = re.compile(r"(?:passw(?:or)?d|passphrase|pwd)(?:\s*=|\s+(?:['%$]|e'|u&|\Z))")
_MADE_ROLE = re.compile(r"(?:create|alter)(?:role|user|group)")
_EXECUTE = re.compile(r"\bexecute\b")
_BODY = re.compile(r"\b(?:do|create\s+(?:or\s+replace\s+)?(?:function|procedure))\b")
# EXECUTE of what does not begin with a literal; triggers and grants have the word too.
_COMPUTED = re.compile(
    r"\bexecute\b\s*+(?:\(\s*+)*+(?!(?:u&)?'|format\s*+\(\s*+'|function\b|procedure\b|on\b)"
)
# Functions of PostgreSQL and pgcrypto that make a text of one that cannot be read as such.
_DECODING = re.compile(
    r"\b(?:array_to_string|chr|convert|convert_from|decode|left|overlay|regexp_replace|replace"
    r"|reverse|right|split_part|string_agg|substr|substring|translate|unistr|\w{0,64}decrypt\w*+)"
    r"\s*+\("
)
# A login for something else, in what COPY … PROGRAM runs.
_PROGRAM = re.compile(r"\bprogram\s++(?:u&)?'")
_LOGIN = re.compile(r"(?:^|\s)(?:-u|--(?:proxy-)?user)[\s=]*+[^\s:]++:\S|://[^\s/:@]*+:[^\s/@]++@")
_URI = re.compile(r"postgres(?:ql)?://")
_PASSWORD_FILE = re.compile(r"\.pgpass\b|pgpass\.conf")
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
    if _HINTS.search(_squeezed(text)) is not None:
        return True
    # A comment may part what the literals around it put together.
    has_comment = "--" in text or "/*" in text
    return has_comment and _HINTS.search(_squeezed(uncommented(text))) is not None


def find_credential(sql: str) -> int | None:
    """Where the text is to be cut so that no credential is left in it, None if it holds none."""
    return _cut(sql) if is_suspicious(sql) else None


def secret_mention(sql: str) -> int | None:
    """Where the first word of the text that means a password ends, whatever it stands for."""
    mention = _SECRET.search(lowered(sql))
    return mention.end() if mention else None


def first_value(sql: str) -> int:
    """Where the first literal, parenthesis, number or comment is, else the end."""
    first = _FIRST_VALUE.search(sql)
    return first.start() if first else len(sql)


def _squeezed(text: str) -> bytes:
    # Letters and digits alone, so that a keyword in pieces ('PASS' || 'WORD') comes together.
    return text.encode(errors="replace").translate(_SQUEEZE, _DROPPED)


def _cut(sql: str, depth: int = 0) -> int | None:
    if depth > NESTING_MAX:
        return 0
    lower, code, texts = lowered(sql), outline(sql), [*opaque(sql)]
    cuts = [*_direct_cuts(lower, code)]
    if (
        _is_spelled_strangely(lower)
        or _is_put_together(texts, code, depth)
        or (cuts and _is_spoken_of(texts, min(cuts)))
    ):
        cuts.append(first_value(sql))
    if cuts:
        cuts += (one.start for one in texts if one.quote in _COMMENTS)
    return min(cuts, default=None)


def _direct_cuts(lower: str, code: str) -> Iterator[int]:
    """Where a credential is set by code, and not by a text that the code puts together."""
    yield from _role_cuts(lower, code)
    yield from _setting_cuts(lower, code)
    if _SECRET.search(lower) or "\\" in lower:
        yield from _keyword_end("options", code, 0)
        yield from _subscription_cut(code)
        yield from _remark_cut(code)
    if server := _SERVER.search(code):
        yield from _option_cut(lower, code, server.end())
    yield from _operand_cuts(code)
    if identified := _IDENTIFIED_BY.search(code):
        yield identified.end()
    if verifier := _VERIFIER.search(lower):
        yield verifier.start()


def _role_cuts(lower: str, code: str) -> Iterator[int]:
    if role := _ROLE.search(code):
        yield from _keyword_end("password", lower, role.end())
        yield from _literal_cuts(code, _ROLE)
    if mapping := _USER_MAPPING.search(code):
        yield from _keyword_end("options", code, mapping.end())
        yield from _literal_cuts(code, _USER_MAPPING)
    if (catalogue := _ROLE_CATALOGUE.search(lower)) and _CHANGE.search(code):
        yield catalogue.end()


def _keyword_end(keyword: str, text: str, start: int) -> Iterator[int]:
    at = text.find(keyword, start)
    if at >= 0:
        yield at + len(keyword)


def _literal_cuts(code: str, beginning: re.Pattern[str]) -> Iterator[int]:
    """What is quoted in the statements of a kind in which no literal is to be expected."""
    start = 0
    for statement in code.split(";"):
        if begun := beginning.search(statement):
            literals = _LITERAL.finditer(statement, begun.start())
            yield from (start + one.start() for one in literals if one[0] in "'\"")
        start += len(statement) + 1


def _option_cut(lower: str, code: str, start: int) -> Iterator[int]:
    at = code.find("options", start)
    if at >= 0 and _SECRET_OPTION.search(lower, at):
        yield at + len("options")


def _remark_cut(code: str) -> Iterator[int]:
    if remark := _REMARK.search(code):
        yield from _keyword_end(" is", code, remark.end())


def _subscription_cut(code: str) -> Iterator[int]:
    at = code.find("subscription")
    if at >= 0:
        yield from _keyword_end("connection", code, at)


def _operand_cuts(code: str) -> Iterator[int]:
    for operand in _OPERAND.finditer(code):
        before = code[max(operand.start() - 128, 0) : operand.start()]
        if not (operand[2] and _RELATION.search(before)):
            yield operand.end(1)
    if option := _OPTION.search(code):
        yield option.end(1)


def _setting_cuts(lower: str, code: str) -> Iterator[int]:
    if setting := _SETTING.search(code):
        for name in _SECRET.finditer(lower, setting.end()):
            if not lower.startswith("password_encryption", name.start()):
                yield name.end()
                return
    if function := _FUNCTION.search(code):
        for clause in _SET.finditer(code, function.end()):
            if name_in_clause := _SET_SECRET.match(lower, clause.end()):
                yield name_in_clause.end()


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


def _is_spoken_of(texts: Sequence[Opaque], cut: int) -> bool:
    """Whether a literal before the cut has something to say about it."""
    before = (one for one in texts if one.start < cut and one.quote != '"')
    return any(_SECRET.search(lowered(one.content)) for one in before)


def _is_put_together(texts: Sequence[Opaque], code: str, depth: int) -> bool:
    """Whether literals or comments of the text hold a credential, or what makes one."""
    in_code_body = _CODE_BODY.match(code) is not None
    if any(_holds_secret(one, in_code_body, depth) for one in _joined(texts, code)):
        return True
    if _BODY.search(code) and any(_is_undecidable(one) for one in texts):
        return True
    if _PROGRAM.search(code) and any(_LOGIN.search(one.content) for one in texts):
        return True
    return _is_in_pieces(texts, code, in_code_body)


def _is_in_pieces(texts: Sequence[Opaque], code: str, in_code_body: bool) -> bool:
    """Whether the literals, one after the other, make a credential: `concat('pass', 'word=')`."""
    literals = [one for one in texts if one.quote not in ('"', *_COMMENTS)]
    outer = (one.content for one in literals if not (in_code_body and one.quote.startswith("$")))
    if _INNER.search(lowered("".join(outer))):
        return True
    inner = _squeezed("".join(one.content for one in literals)).decode()
    if _MADE_ROLE.search(inner) and _EXECUTE.search(code):
        # What else goes into the statement is not to be seen.
        return True
    if not _SECRET.search(inner):
        return False
    makes_role = any(verb in inner for verb in ("create", "alter")) and any(
        kind in inner for kind in ("role", "user", "group")
    )
    return makes_role or _CONNECTS.search(code) is not None


def _joined(texts: Sequence[Opaque], code: str) -> Iterator[Opaque]:
    """The texts, with literals as one that have nothing but white space between them.

    With a line break between them they are one to PostgreSQL, and else a syntax error.
    """
    parts: list[Opaque] = []
    for one in texts:
        if one.quote in _COMMENTS:
            yield one
            continue
        if parts and (one.quote != "'" or code[parts[-1].end : one.start].strip()):
            yield _as_one(parts)
            parts = []
        parts.append(one)
    if parts:
        yield _as_one(parts)


def _as_one(parts: Sequence[Opaque]) -> Opaque:
    content = "".join(one.content for one in parts)
    return parts[0]._replace(end=parts[-1].end, content=content)


def _is_undecidable(body: Opaque) -> bool:
    """Whether the literal is code that runs a text of which it cannot be told what it is."""
    if body.quote in _COMMENTS or "execute" not in lowered(body.content):
        return False
    code = outline(_value(body))
    if "'" not in code:
        return False
    return bool(_COMPUTED.search(code) or (_EXECUTE.search(code) and _DECODING.search(code)))


def _value(text: Opaque) -> str:
    return text.content.replace("''", "'") if text.quote in ("'", "e'") else text.content


def _holds_secret(text: Opaque, in_code_body: bool, depth: int) -> bool:
    content = _value(text)
    if not is_suspicious(content):
        return False
    is_body = in_code_body and text.quote.startswith("$")
    if not is_body and any(one.search(lowered(content)) for one in (_INNER, _URI, _PASSWORD_FILE)):
        return True
    return _cut(content, depth + 1) is not None
