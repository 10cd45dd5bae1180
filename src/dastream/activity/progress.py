"""How far a log has been published, and what of it matters for what comes after."""

from __future__ import annotations

import msgspec

from dastream.activity.log_files import Place
from dastream.activity.session import Kept

__all__ = ["Process", "Progress"]


class Process(msgspec.Struct, omit_defaults=True):
    """A process of the server: the number of its last row, and its session if it is a client's."""

    line_num: int
    kept: Kept | None = None


class Progress(msgspec.Struct, omit_defaults=True):
    """What a reader leaves to the next one.

    Every entry of a row before `through` has been given. `begin` is where the next reader has to
    begin, earlier than `through` while a statement is not complete. `since` is when reading of
    the log began at all, in seconds since 1970; `postmaster` the session id of the server's
    first process, `functions` the names of those that set a credential. `processes` are those
    that have changed, by their session ids, None for one that has ended.
    """

    through: Place | None = None
    begin: Place | None = None
    since: int = 0
    postmaster: str = ""
    functions: list[str] = []
    processes: dict[str, Process | None] = {}
