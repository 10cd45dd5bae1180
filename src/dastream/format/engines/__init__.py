"""The engines: how the members of an entry become columns, one module an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dastream.errors import NOT_JSON
from dastream.event import Engine
from dastream.format.engines import common, postgresql

__all__ = ["ENGINES", "recognise"]

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("aurora-postgresql", postgresql.columns),
        Engine("postgresql", postgresql.columns),
        Engine("aurora-mysql", common.columns),
        Engine("oracle", common.columns),
        Engine("sqlserver", common.columns),
    )
}
"""Every engine by its name."""

_BY_VERSION = {
    "1.0": "aurora-postgresql",
    "1.1": "aurora-postgresql",
    "1.2": "aurora-mysql",
    "1.3": "oracle",
    "1.4": "sqlserver",
}
_BY_SERVER_TYPE = {
    "postgresql": "aurora-postgresql",
    "mysql": "aurora-mysql",
    "oracle": "oracle",
    "sqlserver": "sqlserver",
}
_UNKNOWN = Engine("unknown", common.columns)


class _Server(msgspec.Struct):
    serverType: Any = None  # noqa: N815 - the engine's spelling
    serviceName: Any = None  # noqa: N815 - the engine's spelling


_decode_server = msgspec.json.Decoder(_Server).decode


def recognise(version: str, entries: Iterable[bytes]) -> Engine:
    """The engine of a record: by its first entry that names a server, else by its version.

    Heartbeats name no server, and a version alone does not tell engines apart for certain.
    """
    for entry in entries:
        name = _name(entry)
        if name is not None:
            return ENGINES[name]
    return ENGINES.get(_BY_VERSION.get(version, ""), _UNKNOWN)


def _name(entry: bytes) -> str | None:
    try:
        server = _decode_server(entry)
    except NOT_JSON:
        return None
    name = _BY_SERVER_TYPE.get(str(server.serverType).casefold())
    if name == "aurora-postgresql" and server.serviceName == "PostgreSQL":
        return "postgresql"  # what `dastream emit` writes; Aurora names its edition
    return name
