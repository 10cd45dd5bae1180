"""Rows of a Parquet file compared with a query, column by column.

The tests are those of single events (`dastream.lake.matching`), called once for each value that
occurs: names and statements come again and again, so a column is compared in few calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dastream.lake.matching import Query, Test, is_equal_to
from dastream.lake.order import Order
from dastream.lake.statements import MYSQL

__all__ = ["Cut", "RowFilter"]

_ALWAYS = ("time", "log_time", "engine", "is_auxiliary", "cluster_id", "instance_id")
_LONG = "statement"
"""A column that is read only where rows are left when the others have been compared."""


class Cut(NamedTuple):
    """Only the greatest of an order are asked for, at most `limit`."""

    order: Order
    limit: int


class RowFilter:
    """Tells the rows of which the events may be found.

    Where an engine writes several events for a statement, a row is told that may help another
    one to be found: the events themselves have to be compared then. `left_out` is how many rows
    were found that are not among the greatest of their row group.
    """

    def __init__(self, query: Query, cut: Cut | None = None) -> None:
        self._query = query
        self._tests = query.tests()
        self._cut = cut
        self.left_out = 0

    def stages(self) -> list[list[str]]:
        """The columns to read, first the short ones; `find` takes what has been read so far."""
        names = {*_ALWAYS, *self._tests.shared, *self._tests.own, *self._tests.object}
        if self._cut:
            names.add(self._cut.order.column)
        short = sorted(names - {_LONG})
        return [short, [_LONG]] if _LONG in names else [short]

    def may_hold(self, from_us: int, until_us: int) -> bool:
        """Whether rows with times from `from_us` to `until_us`, which is one of them, may match."""
        return self._query.reaches(from_us, until_us + 1)

    def find(self, table: pa.Table) -> pa.BooleanArray:
        """For each row whether it may be found, by the columns that the table has."""
        at = self._in_time(table), self._is_from(table)
        shared = _all([*at, _hold(self._tests.shared, table)])
        own, objects = _hold(self._tests.own, table), _hold(self._tests.object, table)
        is_mysql = _values(table, "engine", is_equal_to(MYSQL))
        is_auxiliary = pc.fill_null(table["is_auxiliary"].combine_chunks(), False)
        may_help = pc.and_(is_mysql, pc.or_(own, is_auxiliary))
        return pc.and_(shared, pc.or_(pc.and_(own, objects), may_help))

    def cut(self, table: pa.Table, found: pa.BooleanArray) -> pa.BooleanArray:
        """Of the rows that were found the greatest, and those that are equal to the last one."""
        if self._cut is None or pc.any(_values(table, "engine", is_equal_to(MYSQL))).as_py():
            return found
        ranks = self._ranks(table, self._cut.order)
        of_found = ranks.filter(found)
        if len(of_found) <= self._cut.limit:
            return found
        greatest = pc.select_k_unstable(of_found, self._cut.limit, [("", "descending")])
        kept = pc.and_(found, pc.greater_equal(ranks, of_found[greatest[-1].as_py()]))
        self.left_out += len(of_found) - kept.true_count
        return kept

    def _in_time(self, table: pa.Table) -> pa.BooleanArray:
        since_us, until_us = self._query.since_us, self._query.until_us
        time_us = table["time"].combine_chunks().cast(pa.int64())
        tests = [pc.greater_equal(time_us, since_us)] if since_us is not None else []
        tests += [pc.less(time_us, until_us)] if until_us is not None else []
        return pc.fill_null(_all([_every(table), *tests]), False)

    def _is_from(self, table: pa.Table) -> pa.BooleanArray:
        if self._query.cluster is None:
            return _every(table)
        test = is_equal_to(self._query.cluster)
        return pc.or_(_values(table, "cluster_id", test), _values(table, "instance_id", test))

    def _ranks(self, table: pa.Table, order: Order) -> pa.Array:
        ranks = table[order.column].combine_chunks().cast(pa.int64())
        if order.is_of_time:
            ranks = pc.coalesce(ranks, table["time"].combine_chunks().cast(pa.int64()))
        return pc.fill_null(ranks, -1)


def _every(table: pa.Table) -> pa.BooleanArray:
    return pa.repeat(True, table.num_rows)


def _all(masks: Sequence[pa.BooleanArray]) -> pa.BooleanArray:
    first, *others = masks
    for mask in others:
        first = pc.and_(first, mask)
    return first


def _hold(tests: Mapping[str, Test], table: pa.Table) -> pa.BooleanArray:
    """Where all tests hold of which the column has been read."""
    read = [(name, test) for name, test in tests.items() if name in table.column_names]
    return _all([_every(table), *(_values(table, name, test) for name, test in read)])


def _values(table: pa.Table, name: str, test: Test) -> pa.BooleanArray:
    """Where a column's value passes a test."""
    values = table[name].combine_chunks()
    if not isinstance(values, pa.DictionaryArray):
        values = values.dictionary_encode()
    passed = [bool(test(value)) for value in values.dictionary.to_pylist()]
    found = pa.array(passed, pa.bool_()).take(values.indices)
    return pc.fill_null(found, bool(test(None)))
