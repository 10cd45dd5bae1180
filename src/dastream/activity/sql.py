"""SQL text without its parse tree: the outline of its code, and the statements in it.

The lexical rules are those of
https://www.postgresql.org/docs/current/sql-syntax-lexical.html. Everything here takes time
linear in the length of the text.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Opaque", "lowered", "opaque", "outline", "statement_texts", "statements", "uncommented"]

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_OPENING = re.compile(r"""(?<![\w$])[eE]'|'|"|--|/\*|(?<![\w$])\$(?:[^\W\d]\w*)?\$""")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_REST = {
    "'": re.compile(r"[^']*+(?:''[^']*+)*+'"),
    '"': re.compile(r'[^"]*+(?:""[^"]*+)*+"'),
    "e'": re.compile(r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'", re.DOTALL),
    "--": re.compile(r"[^\n]*+\n?"),
}


class Opaque(NamedTuple):
    """A stretch of text that is no code: a literal, a quoted identifier or a comment.

    `quote` is how it opens: `'`, `e'`, `"`, `--`, `/*`, or a dollar quote.
    """

    start: int
    end: int
    quote: str
    content: str


def lowered(sql: str) -> str:
    """The text with A to Z in lower case, and so of the same length."""
    return sql.translate(_LOWER)


def outline(sql: str) -> str:
    """The text in lower case and of the same length, with the code alone.

    Of a literal a `'` remains, of a quoted identifier a `"`, and of a comment nothing; the rest
    of each is blank. What is not terminated goes to the end.
    """
    parts: list[str] = []
    at = 0
    for start, end, quote, _ in opaque(sql):
        mark = {'"': '"', "--": "", "/*": ""}.get(quote, "'")
        parts += (lowered(sql[at:start]), mark.ljust(end - start))
        at = end
    parts.append(lowered(sql[at:]))
    return "".join(parts)


def uncommented(sql: str) -> str:
    """The text with a blank in place of each comment."""
    if "--" not in sql and "/*" not in sql:
        return sql
    parts = []
    at = 0
    for start, end, quote, _ in opaque(sql):
        if quote in ("--", "/*"):
            parts.append(sql[at:start])
            at = end
    return " ".join([*parts, sql[at:]])


def opaque(sql: str) -> Iterator[Opaque]:
    """All literals, quoted identifiers and comments in the text, in their order."""
    end = 0
    while opening := _OPENING.search(sql, end):
        quote = opening[0].lower()
        end = _end(sql, quote, opening)
        content = sql[opening.end() : end].removesuffix("'" if quote == "e'" else opening[0])
        yield Opaque(opening.start(), end, quote, content)


def _end(sql: str, quote: str, opening: re.Match[str]) -> int:
    if quote == "/*":
        return _comment_end(sql, opening.end())
    if quote.startswith("$"):
        close = sql.find(opening[0], opening.end())
        return len(sql) if close < 0 else close + len(quote)
    rest = _REST[quote].match(sql, opening.end())
    return rest.end() if rest else len(sql)


def _comment_end(sql: str, at: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


_STRUCTURE = re.compile(r"[();]|\bbegin\s+atomic\b|\b(?:case|end)\b")


def statements(code: str) -> list[str]:
    """The outlines of the statements in an outline; those without any code are left out."""
    return [part for start, end in _spans(code) if (part := code[start:end].strip())]


def statement_texts(sql: str) -> list[tuple[str, str]]:
    """Each statement of a query string, with the comments before it and without them."""
    code = outline(sql)
    texts = []
    for start, end in _spans(code):
        if part := code[start:end].lstrip():
            texts.append((sql[start:end].strip(), sql[end - len(part) : end].strip()))
    return texts


def _spans(code: str) -> Iterator[tuple[int, int]]:
    start = depth = 0
    for token in _STRUCTURE.finditer(code):
        if token[0] == ";" and depth == 0:
            yield start, token.start()
            start = token.end()
        elif token[0] in (")", "end"):
            depth = max(depth - 1, 0)
        elif token[0] != ";":
            depth += 1
    yield start, len(code)
