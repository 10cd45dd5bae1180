r"""The shape of a statement: its text without literals, numbers and comments.

Each engine has rules of its own for what is a literal, and they are followed here. Where the text
alone does not tell, because it depends on a setting of the server or because something has no
end, everything to the end of the text is masked. So a shape may say too little, and never shows a
value:

- PostgreSQL: `'…'`, `E'…\'…'`, `$tag$…$tag$`; `"x"` is a name.
- MySQL: `'…'` and `"…"`; `--` is a comment before white space only; `/*! … */` may be code.
- Oracle: `'…'`, `q'[…]'`; a password after IDENTIFIED BY needs no quotes.
- SQL Server: `'…'`, `"…"` (a name or not, by a setting), `[x]`.
- Masked to the end: from a literal in which a setting decides whether a backslash hides a quote;
  from a comment that holds another one, or in MySQL code with a quote; from a line comment with a
  lone carriage return; and for an engine that is not known, from the first quote or comment.

Sources: "Lexical Structure" in PostgreSQL's manual; "Literal Values", "Comments" and "Schema Object
Names" in MySQL's; "Literals" and "Comments" in Oracle's SQL Language Reference; "Constants",
"Database Identifiers" and "Comment" in Transact-SQL's. Time is linear in the length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["CHARS_MAX", "shape"]

CHARS_MAX = 16_384
"""How much of a statement is looked at; what comes after is left out."""

_MASK, _CUT = "?", "? …"

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_WORD = rf"{_LETTER}0-9$"
_DIGITS = r"\.?[0-9](?:[eE][+-][0-9]|[\w.])*+"
"""A number, with all that hangs on it. Where a quote does, one cannot tell what it opens."""

_NEVER = r"(?!)"
_SINGLE = r"'(?:[^']|'')*+'"
_DOUBLE = r'"(?:[^"]|"")*+"'
_SINGLE_ESCAPED, _DOUBLE_ESCAPED = (
    rf"{quote}(?:[^{quote}\\]|{quote}{quote}|\\\\|\\[^{quote}\\])*+{quote}" for quote in "'\""
)
"""With backslashes in pairs, or anywhere but before a quote: the same whatever they mean."""

_E_STRING = rf"(?<![{_WORD}])[eE]'(?:[^'\\]|''|\\.)*+'"
_TAG = rf"(?:[{_LETTER}][{_LETTER}0-9]*+)?+"
_DOLLAR = rf"(?<![{_WORD}])\$(?P<tag>{_TAG})\$.*?\$(?P=tag)\$"
_DOLLAR_UNCERTAIN = rf"(?<![{_LETTER}])\${_TAG}\$"
_Q_STRING = (
    rf"(?<![{_WORD}#])[nN]?[qQ]'"
    r"(?:\[.*?\]|\(.*?\)|\{.*?\}|<.*?>|(?P<q>[^\s\[({<]).*?(?P=q))'"
)

_BLOCK = r"/\*.*?\*/"
_BLOCK_ALONE = r"/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/"
_BLOCK_OF_MYSQL = r"/\*(?!M?!|\+).*?\*/|/\*(?:[^*'\"`#/-]|\*(?!/))*+\*/"
_LINE = r"--[^\r\n]*+"
_LINE_CERTAIN = rf"{_LINE}(?!\r(?!\n))"
_LINE_OF_MYSQL = r"(?:#|--(?=[\x00-\x20]|\Z))[^\n]*+"


def _pattern(
    *,
    leads: str,
    openings: Sequence[str],
    literals: Sequence[str] = (_NEVER,),
    names: Sequence[str] = (_NEVER,),
    comments: Sequence[str] = (_NEVER,),
    number: str = r"(?<![\w$])",
) -> re.Pattern[str]:
    """What is masked, kept and left out; then what opens a stretch that has no end.

    `leads` are the characters with which any of it begins, beside digits and those of all
    engines: a look at one character spares trying the rest at most places. `number` is what
    stands before digits that are a number: no letter. Beyond ASCII engines differ in what a letter
    is, so a space or the sign of a currency is none here.
    """
    number += _DIGITS
    return re.compile(
        rf"(?=[0-9./iI{leads}-])(?:"
        rf"(?P<literal>{'|'.join(literals)}|{number}(?!['\"$]))"
        rf"|(?P<name>{'|'.join(names)})"
        rf"|(?P<comment>{'|'.join(comments)})"
        rf"|(?P<rest>(?:(?i:\bidentified\b)|{'|'.join(openings)}|/\*|{number}).*+))",
        re.DOTALL,
    )


_POSTGRESQL = _pattern(
    leads="'\"$eE",
    literals=[_SINGLE_ESCAPED, _E_STRING, _DOLLAR],
    names=[_DOUBLE],
    comments=[_LINE, _BLOCK_ALONE],
    openings=["['\"]", "[eE]'", _DOLLAR_UNCERTAIN],
)
_MYSQL = _pattern(
    leads="'\"`#",
    literals=[_SINGLE_ESCAPED, _DOUBLE_ESCAPED],
    names=["`(?:[^`]|``)*+`"],
    comments=[_LINE_OF_MYSQL, _BLOCK_OF_MYSQL],
    openings=["['\"`]"],
)
_ORACLE = _pattern(
    leads="'\"nNqQ",
    literals=[_SINGLE, _Q_STRING],
    names=[_DOUBLE],
    comments=[_LINE_CERTAIN, _BLOCK],
    openings=["['\"]", "[qQ]'", "--"],
    number=r"(?<![\w$#])",
)
_SQLSERVER = _pattern(
    leads=r"'\"\[$",
    literals=[_SINGLE, _DOUBLE],
    names=[r"\[(?:[^\]]|\]\])*+\]"],
    comments=[_LINE_CERTAIN, _BLOCK_ALONE],
    openings=[r"['\"\[]", "--"],
    number=r"(?<![\w$@#])\$?",
)
_UNKNOWN = _pattern(leads=r"'\"`\[$#\\", openings=[r"['\"`\[$#\\]", "--"])

_PATTERNS = {
    "aurora-postgresql": _POSTGRESQL,
    "postgresql": _POSTGRESQL,
    "aurora-mysql": _MYSQL,
    "oracle": _ORACLE,
    "sqlserver": _SQLSERVER,
}

_VALUE = r"(?:[-+]\s?)?(?:\?|\$[0-9]++|(?i:null|default)\b)"
_LIST = re.compile(rf"\(\s?{_VALUE}(?:\s?,\s?{_VALUE})*+\s?\)")
_LISTS = re.compile(r"\(\?\)(?:\s?,\s?\(\?\))++")


def shape(statement: str, engine: str) -> str:
    """The text with `?` for each literal and number, on one line, and without comments.

    Lists of values become `(?)`, however many there are. `…` stands where the rest is masked.
    """
    pattern = _PATTERNS.get(engine, _UNKNOWN)
    masked = pattern.sub(_replacement, statement[:CHARS_MAX])
    if len(statement) > CHARS_MAX and not masked.endswith(_CUT):
        masked += " …"
    line = " ".join(masked.split())
    return _LISTS.sub("(?)", _LIST.sub("(?)", line))


def _replacement(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "name":
            return found[0]
        case "comment":
            return " "
        case "rest":
            return _CUT
    return _MASK
