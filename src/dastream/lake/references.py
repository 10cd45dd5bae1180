"""The tables and columns that the shape of a statement names, where it can be parsed.

sqlglot parses what most statements are, and gives up on others: then nothing is known, and
nothing else depends on it. What it takes is capped, since it parses by recursion.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

import sqlglot
from sqlglot import exp

__all__ = ["CHARS_MAX", "References", "references"]

CHARS_MAX = 4096
_REMEMBERED_MAX = 4096
_DIALECTS = {
    "aurora-postgresql": "postgres",
    "postgresql": "postgres",
    "aurora-mysql": "mysql",
    "oracle": "oracle",
    "sqlserver": "tsql",
}

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
"""It would log the text of what it does not know."""


class References(NamedTuple):
    """Names as they are written, without aliases of tables, sorted."""

    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@lru_cache(_REMEMBERED_MAX)
def references(shape: str, engine: str) -> References:
    """What a shape names; nothing if it is cut, too long, or not understood."""
    if engine not in _DIALECTS or len(shape) > CHARS_MAX or shape.endswith("…"):
        return References()
    try:
        tree = sqlglot.parse_one(shape, dialect=_DIALECTS[engine])
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError, TypeError, AttributeError):
        return References()
    of_queries = {cte.alias for cte in tree.find_all(exp.CTE)}
    tables = {_qualified(table) for table in tree.find_all(exp.Table)} - of_queries
    columns = {column.name for column in tree.find_all(exp.Column)}
    return References(tuple(sorted(tables - {""})), tuple(sorted(columns - {""})))


def _qualified(table: exp.Table) -> str:
    return ".".join(filter(None, (table.catalog, table.db, table.name)))
