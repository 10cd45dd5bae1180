"""How the entries of an engine become columns: a table that the code and the docs both read.

Members are decoded in one pass, by their types. Only an entry in which something does not fit is
looked at member by member, so that what fits is kept and what does not is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON
from dastream.event import Columns
from dastream.format.engines.values import Kind

__all__ = ["Member", "Rule", "Table", "unfilled"]

_OUTCOME = frozenset({"errorMessage", "exitCode"})

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Member(NamedTuple):
    """A member of an entry and the kind of its value.

    One that is not filled was null in all that was seen of the engine, and is documented so.
    """

    name: str
    kind: Kind
    is_filled: bool = True


class Rule(NamedTuple):
    """A column that is made of the others: `value` gets them by name, and never raises.

    `origin` says in Markdown what the column is made of.
    """

    column: str
    origin: str
    value: Callable[[Mapping[str, Any]], Any]


class Table:
    """The members of an engine's entries by column, and then the rules, in their order."""

    def __init__(self, members: Mapping[str, Member], *rules: Rule) -> None:
        self.members = members
        self.rules = rules
        self._decode = msgspec.json.Decoder(_struct(members)).decode
        self._decoders = {
            column: msgspec.json.Decoder(member.kind.json).decode
            for column, member in members.items()
        }
        self._conversions = [
            (column, member.name, member.kind.convert)
            for column, member in members.items()
            if member.kind.convert
        ]

    def columns(self, entry: bytes) -> Columns:
        """The columns of an entry. Total: what does not fit is None, and its member is named."""
        misfits: list[str] = []
        try:
            values = msgspec.structs.asdict(self._decode(entry))
        except NOT_JSON:
            try:
                values = self._one_by_one(surrogates.decode(_decode_members, entry), misfits)
            except NOT_JSON:
                return Columns(misfits=("entry",))
        self._convert(values, misfits)
        for rule in self.rules:
            values[rule.column] = rule.value(values)
        if values.get("succeeded") and not _OUTCOME.isdisjoint(misfits):
            values["succeeded"] = None  # what did not fit may be what told of a failure
        return Columns(**values, misfits=tuple(misfits))

    def _one_by_one(self, members: Mapping[str, msgspec.Raw], misfits: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(self.members)
        for column, (name, *_) in self.members.items():
            if name in members:
                try:
                    values[column] = self._decoders[column](members[name])
                except NOT_JSON:
                    misfits.append(name)
        return values

    def _convert(self, values: dict[str, Any], misfits: list[str]) -> None:
        for column, name, convert in self._conversions:
            try:
                values[column] = convert(values[column])
            except ValueError:
                values[column] = None
                misfits.append(name)
        if "" in values.values():
            values.update({column: None for column, value in values.items() if value == ""})


def unfilled(members: Mapping[str, Member], *columns: str) -> Mapping[str, Member]:
    """The same members, but those of the columns are not filled."""
    return dict(members) | {name: members[name]._replace(is_filled=False) for name in columns}


def _struct(members: Mapping[str, Member]) -> type[msgspec.Struct]:
    """A struct with the columns' names and the members' types, all of them optional."""
    return msgspec.defstruct(
        "Entry",
        [(column, member.kind.json, None) for column, member in members.items()],
        rename={column: member.name for column, member in members.items()},
        gc=False,
    )
