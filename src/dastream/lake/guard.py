"""What SQL from outside may be: one statement that reads the views of a lake.

DuckDB itself is closed as well (`dastream.lake.database`). This is the wall before it: its
parser turns the statement into a tree, and the kinds of query, tables and table functions that it
may hold are listed here, so that one that a later DuckDB adds is refused until it is listed. Scalar
functions are too many for that; those are named that do more than compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec

from dastream.errors import ConfigError

__all__ = ["check"]

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""Queries; DuckDB has INSERT and COPY as further kinds of them, below WITH."""

_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
"""Functions that may stand in a FROM. All others reach files, settings, memory or other SQL."""

_NO_FUNCTIONS = frozenset({"current_setting", "getenv", "getvariable", "write_log"})
"""Functions that reach settings, among which are paths of this machine, or write."""

_HINT = "one SELECT over events and dead_letters; `describe events` lists the columns"


def check(connection: duckdb.DuckDBPyConnection, sql: str, tables: frozenset[str]) -> None:
    """Raise ConfigError if SQL is anything but one query over these tables."""
    nodes = list(_nodes(_tree(connection, sql)))
    allowed = tables | {name for node in nodes for name in _names_of_with(node)}
    for node in nodes:
        _check_query(node)
        _check_table(node, allowed)
        _check_function(node)


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    try:
        [[text]] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    except duckdb.Error as error:
        raise ConfigError(f"query: {_first_line(error)}", hint=_HINT) from None
    try:
        tree = msgspec.json.decode(text)
    except RecursionError:
        raise ConfigError("query: nested too deeply", hint=_HINT) from None
    statements = tree.get("statements", ())
    if tree.get("error_type") == "parser":
        raise ConfigError(f"query: {tree.get('error_message')}", hint=_HINT)
    if tree.get("error", True) or len(statements) != 1:
        raise ConfigError("query: not one SELECT", hint=_HINT)
    return statements


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a tree; not by recursion, since SQL may be nested as deep as it likes."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _names_of_with(node: dict[str, Any]) -> Iterator[str]:
    """The names that a WITH gives to queries."""
    for entry in (node.get("cte_map") or {}).get("map", ()):
        yield entry["key"].casefold()


def _check_query(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERIES:
        raise ConfigError("query: the lake is only read", hint=_HINT)


def _check_table(node: dict[str, Any], allowed: frozenset[str]) -> None:
    match node:
        case {"type": "TABLE_FUNCTION", "function": {"function_name": str(name)}}:
            if name.casefold() not in _TABLE_FUNCTIONS:
                raise ConfigError(f"query: {name} is no table function for a lake", hint=_HINT)
        case {"type": "TABLE_FUNCTION"}:
            raise ConfigError("query: an unknown table function", hint=_HINT)
        case {"type": "BASE_TABLE", "table_name": str(name)}:
            is_qualified = node.get("catalog_name") or node.get("schema_name")
            if is_qualified or name.casefold() not in allowed:
                raise ConfigError(f"query: there is no table {name}", hint=_HINT)


def _check_function(node: dict[str, Any]) -> None:
    match node:
        case {"class": "FUNCTION", "function_name": str(name)} if name.casefold() in _NO_FUNCTIONS:
            raise ConfigError(f"query: {name} is no function for a lake", hint=_HINT)
