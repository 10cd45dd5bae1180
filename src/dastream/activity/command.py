"""The command tag and the class of a statement, as pgaudit names them.

Needed where pgaudit says nothing: without it, and for statements that fail. The classes are
those of https://github.com/pgaudit/pgaudit, which Aurora's follow; the tags are PostgreSQL's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from dastream.activity.sql import outline, statements

__all__ = ["Command", "commands", "failed_command", "tag_of"]


class Command(NamedTuple):
    """A command tag, such as `CREATE TABLE`, and its class, such as `DDL`."""

    tag: str
    category: str


_HEAD_CHARS = 4096  # enough for the words that say what a statement is
# What the server shows of a process that executes nothing; anything else is a command tag.
_NO_TAGS = {"", "PARSE", "BIND", "DESCRIBE"}
_TAGS = {
    "abort": "ROLLBACK",
    "analyse": "ANALYZE",
    "close": "CLOSE CURSOR",
    "declare": "DECLARE CURSOR",
    "discard": "DISCARD ALL",
    "end": "COMMIT",
    "import": "IMPORT FOREIGN SCHEMA",
    "lock": "LOCK TABLE",
    "reassign": "REASSIGN OWNED",
    "refresh": "REFRESH MATERIALIZED VIEW",
    "security": "SECURITY LABEL",
    "start": "START TRANSACTION",
    "table": "SELECT",
    "truncate": "TRUNCATE TABLE",
    "values": "SELECT",
}
_DDL_VERBS = {"create", "alter", "drop"}
_MODIFIERS = re.compile(
    r"(?:or|replace|temp|temporary|global|local|unlogged|unique|recursive|trusted|constraint)\b"
)
_KINDS = re.compile(
    r"access method|default privileges|event trigger|foreign data wrapper|foreign table|"
    r"large object|materialized view|operator class|operator family|"
    r"text search (?:configuration|dictionary|parser|template)|user mapping|[a-z]+"
)
_CATEGORIES = {
    "ROLE": "GRANT,REVOKE,GRANT ROLE,REVOKE ROLE,CREATE ROLE,ALTER ROLE,DROP ROLE,"
    "ALTER DEFAULT PRIVILEGES",
    "DDL": "CLUSTER,COMMENT,IMPORT FOREIGN SCHEMA,REASSIGN OWNED,SELECT INTO,"
    "REFRESH MATERIALIZED VIEW,SECURITY LABEL",
    "WRITE": "INSERT,UPDATE,DELETE,MERGE,TRUNCATE TABLE",
    "FUNCTION": "DO",
}
_CATEGORY_OF = {tag: name for name, tags in _CATEGORIES.items() for tag in tags.split(",")}
_WRITES = re.compile(r"\b(?:insert\s+into|delete\s+from|merge\s+into|update\s+[^\s(]+\s+set)\b")
_MAY_WRITE = re.compile(r"into|delete|update|merge", re.IGNORECASE)
_SELECT_INTO = re.compile(r"select\b.*\binto\b", re.DOTALL)
_MAIN_VERB = re.compile(r"[()]|\b(?:select|insert|update|delete|merge|values|table)\b")
_DIRECTION = re.compile(r"\b(?:from|to)\b")


def tag_of(process_title: str) -> str | None:
    """The command tag in a process title (`ps` in the JSON log), None if there is none."""
    title = process_title.removesuffix(" waiting")
    return None if title in _NO_TAGS or not title.isupper() else title


def commands(sql: str, tag: str | None = None) -> list[Command]:
    """The commands of the statements in a text, in their order; none if it is only comment.

    `tag` is what the server calls the last of them, if it did.
    """
    if tag is not None and _is_one_statement(sql) and not _needs_code(tag, sql):
        return [_plain(tag)]
    parts = statements(outline(sql))
    if len(parts) == 1:
        return [_classify(parts[0], tag)]
    return [_classify(part) for part in parts]


def failed_command(sql: str, tag: str | None = None) -> Command:
    """The command that failed in a text: the one with the server's tag, else the first."""
    found = commands(sql, tag)
    for command in found:
        if command.tag == tag:
            return command
    if tag is not None:
        return _plain(tag)
    return found[0] if found else Command("", "MISC")


def _is_one_statement(sql: str) -> bool:
    return ";" not in sql.rstrip("; \t\r\n")


def _needs_code(tag: str, sql: str) -> bool:
    if tag not in ("SELECT", "COPY", "PREPARE", "DECLARE CURSOR"):
        return False
    return tag != "SELECT" or _MAY_WRITE.search(sql) is not None


@lru_cache(maxsize=256)
def _plain(tag: str) -> Command:
    return Command(tag, _category(tag, ""))


def _classify(code: str, tag: str | None = None) -> Command:
    tag = tag or _tag(code[:_HEAD_CHARS])
    if tag == "SELECT" and _SELECT_INTO.match(code):
        tag = "SELECT INTO"
    return Command(tag, _category(tag, code))


def _tag(code: str) -> str:
    words = code.split(None, 1)
    verb = words[0].strip("();'\"") if words else ""
    if verb == "with":
        verb = _main_verb(code)
    if verb in _DDL_VERBS and len(words) > 1:
        return f"{verb.upper()} {_kind(words[1])}".strip()
    return _TAGS.get(verb, verb.upper())


def _kind(rest: str) -> str:
    while modifier := _MODIFIERS.match(rest):
        rest = rest[modifier.end() :].lstrip()
    kind = _KINDS.match(" ".join(rest.split(None, 4)[:4]))
    name = kind[0].upper() if kind else ""
    return "ROLE" if name in ("USER", "GROUP") else name


def _main_verb(code: str) -> str:
    """The verb after a WITH clause: the first one outside parentheses."""
    depth = 0
    for token in _MAIN_VERB.finditer(code):
        if token[0] == "(":
            depth += 1
        elif token[0] == ")":
            depth -= 1
        elif depth == 0:
            return token[0]
    return "with"


def _category(tag: str, code: str) -> str:
    if tag in _CATEGORY_OF:
        return _CATEGORY_OF[tag]
    if tag.startswith(("CREATE ", "ALTER ", "DROP ")):
        return "DDL"
    if tag == "COPY":
        return _copy_category(code)
    if tag in ("SELECT", "PREPARE", "DECLARE CURSOR"):
        return "WRITE" if _WRITES.search(code) else "READ"
    return "MISC"


def _copy_category(code: str) -> str:
    if re.match(r"copy\s*\(", code):
        return "READ"
    direction = _DIRECTION.search(code)
    return "WRITE" if direction and direction[0] == "from" else "READ"
