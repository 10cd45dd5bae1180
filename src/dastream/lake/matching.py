"""What to look for, and how an event is compared with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dastream.event import Columns

__all__ = ["Query", "may_match"]

_PLAIN_RUN = re.compile(r"[ !#-&(-.0-\[\]-~]+")
"""Printable ASCII but for what JSON may write with a short escape: quote, slash, backslash; and
for the single quote, which Aurora MySQL escapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; everything that is given must hold.

    Names are compared whole, ignoring case, and `*` in them stands for anything. An object
    without a dot is looked for in every schema. `text` is a part of the statement, ignoring
    case. Times are microseconds since 1970, UTC: from `since_us` to before `until_us`.
    """

    user: str | None = None
    database: str | None = None
    command: str | None = None
    object: str | None = None
    application: str | None = None
    host: str | None = None
    text: str | None = None
    failed: bool = False
    since_us: int | None = None
    until_us: int | None = None

    def matches(self, columns: Columns, time_us: int | None) -> bool:
        """Whether an event with these columns, at this time, is looked for."""
        return (
            self._is_in_time(time_us)
            and (not self.failed or columns.succeeded is False)
            and all(
                pattern is None or _is_named(pattern, name)
                for pattern, name in (
                    (self.user, columns.user),
                    (self.database, columns.database),
                    (self.command, columns.command),
                    (self.application, columns.client_application),
                    (self.host, columns.remote_host),
                )
            )
            and (self.object is None or _is_object(self.object, columns.object_name))
            and (self.text is None or self.text.casefold() in (columns.statement or "").casefold())
        )

    def reaches(self, from_us: int, until_us: int) -> bool:
        """Whether events of the time asked for may have times from `from_us` to `until_us`."""
        return (self.since_us is None or until_us > self.since_us) and (
            self.until_us is None or from_us < self.until_us
        )

    def needles(self) -> tuple[bytes, ...]:
        """What every line in plain ASCII holds that matches, for `may_match`."""
        names = (self.user, self.database, self.command, self.object, self.application, self.host)
        parts = [name.split("*") for name in names if name]
        return tuple(filter(None, map(_needle, [*parts, [self.text or ""]])))

    def _is_in_time(self, time_us: int | None) -> bool:
        if time_us is None:
            return self.since_us is None and self.until_us is None
        return (self.since_us is None or time_us >= self.since_us) and (
            self.until_us is None or time_us < self.until_us
        )


def may_match(delivered: bytes, needles: Sequence[bytes]) -> bool:
    r"""Whether a delivered line may hold what the needles are from: no is certain, yes is not.

    In a line of plain ASCII without `\u` escapes, a letter stands for itself alone. Elsewhere
    another character may be equal to it, ignoring case, so such a line has to be parsed.
    """
    lowered = delivered.lower()
    if all(part in lowered for part in needles):
        return True
    return not delivered.isascii() or b"\\u" in delivered


def _is_named(pattern: str, name: str | None) -> bool:
    """Whether a name is what a pattern says, in which `*` stands for anything, also nothing."""
    if name is None:
        return False
    folded = name.casefold()
    first, *others = pattern.casefold().split("*")
    if not others:
        return folded == first
    if not folded.startswith(first):
        return False
    *middle, last = others
    position = len(first)
    for part in middle:
        found = folded.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(folded) - len(last) >= position and folded.endswith(last)


def _is_object(pattern: str, name: str | None) -> bool:
    """`_is_named` for a qualified name; a pattern without a dot is for every schema."""
    if _is_named(pattern, name):
        return True
    return name is not None and "." not in pattern and _is_named(pattern, name.rpartition(".")[2])


def _needle(parts: Sequence[str]) -> bytes:
    """The longest run of plain characters that each match of all `parts` holds, in lower case."""
    runs = [run for part in parts for run in _PLAIN_RUN.findall(part.casefold())]
    return max(runs, key=len, default="").encode()
