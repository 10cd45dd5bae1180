"""Prefixes of objects, and the expressions in them that are evaluated when one is written.

Source: Amazon Data Firehose Developer Guide, "Custom prefixes for Amazon S3 objects" and
"Dynamic partitioning".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

__all__ = ["ERROR_OUTPUT_TYPE", "KEY_NAMESPACE", "evaluate", "partition_keys"]

KEY_NAMESPACE = "partitionKeyFromLambda:"
ERROR_OUTPUT_TYPE = "firehose:error-output-type"

_EXPRESSION = re.compile(r"!\{([^}]*)\}")
_TIME_FIELDS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}
_TIME_FIELD = re.compile("|".join(_TIME_FIELDS))


def partition_keys(prefix: str) -> frozenset[str]:
    """The keys that a record needs so that the prefix can be evaluated for it."""
    names = _EXPRESSION.findall(prefix)
    return frozenset(
        name.removeprefix(KEY_NAMESPACE) for name in names if name.startswith(KEY_NAMESPACE)
    )


def evaluate(prefix: str, time: datetime, values: Mapping[str, str]) -> str:
    """The prefix for an object of a time (UTC); `values` by expression, without its braces.

    One without expressions gets the hour: `YYYY/MM/DD/HH/`. Raises KeyError for an expression
    that there is no value for.
    """
    if not _EXPRESSION.search(prefix):
        return f"{prefix}{time:%Y/%m/%d/%H}/"
    return _EXPRESSION.sub(lambda match: _value(match[1], time, values), prefix)


def _value(expression: str, time: datetime, values: Mapping[str, str]) -> str:
    namespace, _, pattern = expression.partition(":")
    if namespace != "timestamp":
        return values[expression]
    return time.strftime(_TIME_FIELD.sub(lambda match: _TIME_FIELDS[match[0]], pattern))
