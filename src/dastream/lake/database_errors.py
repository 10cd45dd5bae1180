"""DuckDB's errors in our words.

Where DuckDB cannot make sense of a query, its own words help; they quote the query, and are
shown to who wrote it. An error that comes while data are read may quote the data, so it is told
by its kind.
"""

from __future__ import annotations

import re

from dastream.errors import ConfigError, DastreamError, ServiceError
from dastream.lake.files import SCHEME

__all__ = ["as_ours"]

_ABOUT_THE_QUERY = frozenset(
    {"Binder Error", "Catalog Error", "Not implemented Error", "Parser Error", "Permission Error"}
)
_KEY = re.compile(re.escape(SCHEME) + r"([^\"'\n]*)")


def as_ours(error: Exception) -> DastreamError:
    """An error of DuckDB, also one that Arrow passes on while an answer is read."""
    first_line = str(error).partition("\n")[0]
    kind = first_line.partition(":")[0]
    if kind in _ABOUT_THE_QUERY:
        return ConfigError(f"query: {first_line}", hint="`describe events` lists the columns")
    if "Out of Memory" in kind:
        return ServiceError(
            "query: the answer takes more memory than it may",
            hint="ask for fewer columns or a shorter time, or aggregate",
        )
    if key := _KEY.search(str(error)):
        return ServiceError(
            f"lake: {key[1]} cannot be read",
            hint="it is damaged, or not as dastream writes it: move it out of the lake",
        )
    return ConfigError(
        f"query: failed on a value ({kind if kind.endswith('Error') else type(error).__name__})",
        hint="TRY_CAST gives NULL where CAST fails",
    )
