"""PostgreSQL: Aurora's entries (versions 1.0 and 1.1) and those of a server of one's own."""

from __future__ import annotations

from dastream.event import Columns
from dastream.format.engines import common
from dastream.format.engines.values import Values

__all__ = ["columns"]


def columns(entry: bytes) -> Columns:
    """The columns of an entry. `logTime` is the end of execution, so there is no end time.

    A statement or login worked if the entry has neither an error message nor an exit code: the
    code is the SQLSTATE of an error, or the exit code of a session (Aurora User Guide).
    """
    values = Values(entry)
    members = common.read(values)
    known = bool(members["command"])
    failed = members["error"] is not None or members["exit_code"] not in (None, "0")
    return Columns(
        **members,
        succeeded=not failed if known else None,
        misfits=tuple(values.misfits),
    )
