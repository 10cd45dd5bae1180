"""Notices: what whoever reads a lake must know of the stream that it came from.

A notice is a JSON object under `_dastream/notices/` in the lake. Its name and its bytes follow
from what it tells, so that writing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from dastream.record import SHARD_END, Gap, iso_time

__all__ = ["Notice", "gap", "recreated", "write"]


class Notice(NamedTuple):
    """`name` tells it from all others of the stream, `text` is one line for people."""

    name: str
    text: str
    members: Mapping[str, str | None]


def gap(stream: str, found: Gap) -> Notice:
    """Records may have expired before they were read."""
    where = "its end" if found.until == SHARD_END else found.until
    return Notice(
        f"gap-{found.shard}-{found.after}-{found.until}",
        f"records of {found.shard} expired before they were read: what lay between "
        f"{found.after} and {where} is lost",
        {
            "stream": stream,
            "shardId": found.shard,
            "afterSequenceNumber": found.after,
            "afterArrivalTime": _time(found.after_arrival_ms),
            "untilSequenceNumber": found.until,
            "untilArrivalTime": _time(found.until_arrival_ms),
        },
    )


def recreated(stream: str, earlier_ms: int, created_ms: int) -> Notice:
    """The stream is another one of the same name, by its time of creation."""
    return Notice(
        f"recreated-{created_ms}",
        f"{stream} was deleted and made again at {iso_time(created_ms)}: what the earlier stream "
        "still held is gone, the new one is read from its start",
        {
            "stream": stream,
            "earlierCreationTime": iso_time(earlier_ms),
            "creationTime": iso_time(created_ms),
        },
    )


def write(notice: Notice) -> bytes:
    """The notice as a JSON object and a line feed."""
    head = {"notice": notice.name.partition("-")[0], "text": notice.text}
    return msgspec.json.encode(head | dict(notice.members)) + b"\n"


def _time(arrival_ms: int | None) -> str | None:
    return None if arrival_ms is None else iso_time(arrival_ms)
