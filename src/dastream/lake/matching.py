"""What to look for, and how an event is compared with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dastream.event import Columns, Origin

__all__ = ["Query", "Test", "Tests", "hold", "is_equal_to", "may_match"]

Test = Callable[[Any], bool]
"""Whether the value of a column is one that is looked for."""

_PLAIN_RUN = re.compile(r"[ !#-&(-.0-\[\]-~]+")
"""Printable ASCII but for what JSON may write with a short escape: quote, slash, backslash; and
for the single quote, which Aurora MySQL escapes."""


class Tests(NamedTuple):
    """What has to hold of columns, by their names.

    The events of a statement (Aurora MySQL writes several) have the `shared` columns in common;
    `own` are those of the event that has the text; the `object` is in any one of them.
    """

    shared: Mapping[str, Test]
    own: Mapping[str, Test]
    object: Mapping[str, Test]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; everything that is given must hold.

    Names are compared whole, ignoring case, and `*` in them stands for anything. An object
    without a dot is looked for in every schema. `text` is a part of the statement, ignoring
    case. A `session` and a `cluster` (resource id of a cluster or an instance) are compared as
    they are. Times are microseconds since 1970, UTC: from `since_us` to before `until_us`.
    """

    user: str | None = None
    database: str | None = None
    command: str | None = None
    object: str | None = None
    application: str | None = None
    host: str | None = None
    text: str | None = None
    failed: bool = False
    session: str | None = None
    cluster: str | None = None
    since_us: int | None = None
    until_us: int | None = None

    def tests(self) -> Tests:
        """What has to hold, column by column."""
        shared = {
            "user": _names(self.user),
            "database": _names(self.database),
            "client_application": _names(self.application),
            "remote_host": _names(self.host),
            "session_id": None if self.session is None else is_equal_to(self.session),
        }
        own = {
            "command": _names(self.command),
            "succeeded": _failed if self.failed else None,
            "statement": None if self.text is None else _holds(self.text),
        }
        object = {"object_name": None if self.object is None else _is_object(self.object)}
        return Tests(_given(shared), _given(own), _given(object))

    def is_in_time(self, time_us: int | None) -> bool:
        """Whether an event of this time is looked for; None is no time at all."""
        if time_us is None:
            return self.since_us is None and self.until_us is None
        return (self.since_us is None or time_us >= self.since_us) and (
            self.until_us is None or time_us < self.until_us
        )

    def is_from(self, origin: Origin) -> bool:
        """Whether events of this cluster or instance are looked for."""
        return self.cluster in (None, origin.cluster_id, origin.instance_id)

    def reaches(self, from_us: int, until_us: int) -> bool:
        """Whether events of the time asked for may have times from `from_us` to `until_us`."""
        return (self.since_us is None or until_us > self.since_us) and (
            self.until_us is None or from_us < self.until_us
        )

    def needles(self) -> tuple[bytes, ...]:
        """What every line in plain ASCII holds that matches, for `may_match`."""
        own = [name.split("*") for name in (self.command, self.object) if name]
        return self.shared_needles() + _needles([*own, [self.text or ""]])

    def shared_needles(self) -> tuple[bytes, ...]:
        """The same for all events of a statement."""
        names = (self.user, self.database, self.application, self.host)
        return _needles([*(name.split("*") for name in names if name), [self.session or ""]])


def hold(tests: Mapping[str, Test], columns: Columns) -> bool:
    """Whether all tests hold."""
    return all(test(getattr(columns, name)) for name, test in tests.items())


def may_match(delivered: bytes, needles: Sequence[bytes]) -> bool:
    r"""Whether a delivered line may hold what the needles are from: no is certain, yes is not.

    In a line of plain ASCII without `\u` escapes, a letter stands for itself alone. Elsewhere
    another character may be equal to it, ignoring case, so such a line has to be parsed.
    """
    lowered = delivered.lower()
    if all(part in lowered for part in needles):
        return True
    return not delivered.isascii() or b"\\u" in delivered


def is_equal_to(value: str) -> Test:
    """Whether a value is this very one."""
    return lambda other: bool(other == value)


def _given(tests: Mapping[str, Test | None]) -> dict[str, Test]:
    return {name: test for name, test in tests.items() if test is not None}


def _failed(succeeded: bool | None) -> bool:
    return succeeded is False


def _holds(text: str) -> Test:
    folded = text.casefold()
    return lambda statement: folded in (statement or "").casefold()


def _names(pattern: str | None) -> Test | None:
    """Whether a name is what a pattern says, in which `*` stands for anything, also nothing."""
    if pattern is None:
        return None
    parts = pattern.casefold().split("*")
    return lambda name: name is not None and _is_made_of(name.casefold(), parts)


def _is_made_of(name: str, parts: Sequence[str]) -> bool:
    """Whether a name is these parts in their order, with anything between them."""
    first, *others = parts
    if not others:
        return name == first
    if not name.startswith(first):
        return False
    *middle, last = others
    position = len(first)
    for part in middle:
        found = name.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(name) - len(last) >= position and name.endswith(last)


def _is_object(pattern: str) -> Test:
    """`_names` for a qualified name; a pattern without a dot is for every schema."""
    parts, is_bare = pattern.casefold().split("*"), "." not in pattern

    def test(name: str | None) -> bool:
        if name is None:
            return False
        folded = name.casefold()
        return _is_made_of(folded, parts) or (
            is_bare and _is_made_of(folded.rpartition(".")[2], parts)
        )

    return test


def _needles(patterns: Sequence[Sequence[str]]) -> tuple[bytes, ...]:
    """The longest run of plain characters, in lower case, of each pattern's parts."""
    found = []
    for parts in patterns:
        runs = [run for part in parts for run in _PLAIN_RUN.findall(part.casefold())]
        found.append(max(runs, key=len, default="").encode())
    return tuple(filter(None, found))
