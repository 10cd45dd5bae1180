"""The engines: how the members of an entry become columns, one module an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON
from dastream.event import Engine
from dastream.format.engines import common, mysql, oracle, postgresql, sqlserver
from dastream.format.engines.table import Table

__all__ = ["ENGINES", "TABLES", "recognise"]

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("aurora-postgresql", postgresql.columns),
        Engine("postgresql", postgresql.columns),
        Engine("aurora-mysql", mysql.columns),
        Engine("oracle", oracle.columns),
        Engine("sqlserver", sqlserver.columns),
    )
}
"""Every engine by its name."""

TABLES: Mapping[str, Table] = {
    "aurora-postgresql": postgresql.TABLE,
    "postgresql": postgresql.TABLE,
    "aurora-mysql": mysql.TABLE,
    "oracle": oracle.TABLE,
    "sqlserver": sqlserver.TABLE,
}
"""What each engine's columns are made of."""

_BY_VERSION = {
    "1.0": "aurora-postgresql",
    "1.1": "aurora-postgresql",
    "1.2": "aurora-mysql",
    "1.3": "oracle",
    "1.4": "sqlserver",
}
_BY_WORD = {
    "postgresql": "aurora-postgresql",
    "postgres": "aurora-postgresql",
    "mysql": "aurora-mysql",
    "oracle": "oracle",
    "sqlserver": "sqlserver",
}
"""By the first word of `serverType` or `dbProtocol`; the guides and the entries differ in case."""

_UNKNOWN = Engine("unknown", common.columns)


class _Server(msgspec.Struct):
    serverType: Any = None  # noqa: N815 - the engine's spelling
    dbProtocol: Any = None  # noqa: N815 - the engine's spelling
    serviceName: Any = None  # noqa: N815 - the engine's spelling


_decode_server = msgspec.json.Decoder(_Server).decode


def recognise(version: str, entries: Iterable[bytes]) -> Engine:
    """The engine of a record: by its first entry that names a server, else by its version.

    Heartbeats name no server, and a version alone does not tell engines apart for certain.
    """
    for entry in entries:
        try:
            server = surrogates.decode(_decode_server, entry)
        except NOT_JSON:
            continue
        name = _name(server)
        if name is not None:
            return ENGINES[name]
    return ENGINES.get(_BY_VERSION.get(version, ""), _UNKNOWN)


def _name(server: _Server) -> str | None:
    name = _by_first_word(server.serverType) or _by_first_word(server.dbProtocol)
    if name == "aurora-postgresql" and server.serviceName == "PostgreSQL":
        return "postgresql"  # what `dastream emit` writes; Aurora names its edition
    return name


def _by_first_word(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    return _BY_WORD.get(text.casefold().partition(" ")[0])
