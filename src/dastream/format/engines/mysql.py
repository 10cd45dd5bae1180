"""Aurora MySQL (version 1.2): an event for each statement, and more for the objects it touched.

Source: Aurora User Guide, "databaseActivityEventList JSON array for Aurora MySQL", and the
published events. `MAIN` is the event of the statement; each `AUX` adds one object to it, and has
neither an outcome nor a row count. They arrive in any order, and belong together by `instance_id`,
`pid` and `statement_id`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from dastream.event import Columns
from dastream.format.engines.common import EXIT_CODE, MEMBERS, TRANSACTION_ID
from dastream.format.engines.table import Rule, Table, unfilled

__all__ = ["TABLE", "columns"]


def _is_auxiliary(values: Mapping[str, Any]) -> bool:
    return bool(values["command_class"] == "AUX")


def _object_detail(values: Mapping[str, Any]) -> str | None:
    return values["statement"] if values["is_auxiliary"] else None


def _statement(values: Mapping[str, Any]) -> str | None:
    sql: str | None = values["statement"]
    if values["is_auxiliary"] or sql is None or "\\" not in sql:
        return None if values["is_auxiliary"] else sql
    return _unescape(_unescape(sql, "'"), '"')


def _unescape(sql: str, quote: str) -> str:
    r"""The text without the backslashes that the engine sets before each quote.

    How many it sets is not documented, so it is as many as stand before every quote: in
    `\'it\\'s\'` one, which leaves `'it\'s'`. Text in which a quote has none is as it was.

    A text of megabytes may be nothing but quotes, so they are counted and not taken one by one.
    """
    first = sql.find(quote)
    depth = first - len(sql[: max(first, 0)].rstrip("\\"))
    if first < 0:
        return sql
    quotes = sql.count(quote)

    def is_too_deep(depth: int) -> bool:
        return sql.count("\\" * depth + quote) < quotes

    if is_too_deep(depth):
        depth = bisect_left(range(1, depth), True, key=is_too_deep)
    return sql.replace("\\" * depth + quote, quote)


def _row_count(values: Mapping[str, Any]) -> int | None:
    return None if values["is_auxiliary"] else values["row_count"]


def _succeeded(values: Mapping[str, Any]) -> bool | None:
    """A blank code says nothing, for the engine could not get it."""
    if values["is_auxiliary"]:
        return None
    if values["error"] is not None or values["command"] == "FAILED_CONNECT":
        return False
    code = values["exit_code"]
    return None if code is None else bool(code == "0")


TABLE = Table(
    unfilled(MEMBERS, "params", "client_application"),
    Rule("is_auxiliary", "`class` is `AUX`", _is_auxiliary),
    Rule("object_detail", "`commandText` of `AUX`", _object_detail),
    Rule("statement", "`commandText` of `MAIN`, its quotes unescaped", _statement),
    Rule("row_count", "`rowCount` of `MAIN`", _row_count),
    Rule("succeeded", "`exitCode` of `MAIN` is 0, no `errorMessage`", _succeeded),
    EXIT_CODE,
    TRANSACTION_ID,
)


def columns(entry: bytes) -> Columns:
    """The columns of an entry."""
    return TABLE.columns(entry)
