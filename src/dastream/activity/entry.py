"""An entry in the shape of Aurora PostgreSQL 1.1, as it goes into a payload.

Members, their order and their JSON types are those of the sample events in AWS' user guide
("Monitoring database activity streams", Aurora PostgreSQL).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["HEARTBEAT", "Entry", "Server", "encode"]

HEARTBEAT = b'{"type":"heartbeat"}'
"""The entry that says that there is nothing to say."""


class Server(NamedTuple):
    """What the log does not say about the server that writes it."""

    version: str
    host: str


def _member(attribute: str) -> str:
    first, *rest = attribute.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


class Entry(msgspec.Struct, kw_only=True, rename=_member, gc=False):
    """One action of a session. Times are text, `2019-05-24 00:39:49.940668+00`, in UTC.

    `param_list` holds the bind values in text form, null for NULL where the log tells NULL from
    the empty string.
    """

    start_time: str
    log_time: str
    statement_id: int
    substatement_id: int = 1
    object_type: str | None = None
    command: str
    object_name: str | None = None
    database_name: str | None
    db_user_name: str | None
    remote_host: str | None
    remote_port: str | None
    session_id: str
    row_count: int | None = None
    command_text: str | None = None
    param_list: list[str | None] = []
    pid: int
    client_application: str | None
    exit_code: str | None = None
    class_: str
    server_version: str
    server_type: str = "PostgreSQL"
    service_name: str = "PostgreSQL"
    server_host: str
    net_protocol: str
    db_protocol: str = "Postgres 3.0"
    type: str = "record"
    error_message: str | None = None

    def __repr__(self) -> str:
        # An entry holds SQL text, so it must not show in a log or a traceback.
        return f"<Entry {self.session_id} {self.statement_id}.{self.substatement_id}>"


encode = msgspec.json.Encoder().encode
