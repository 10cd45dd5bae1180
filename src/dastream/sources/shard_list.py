"""A Kinesis stream and its shards, as Kinesis tells them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import SourceError

__all__ = [
    "ListedShard",
    "StreamSummary",
    "ancestors",
    "list_shards",
    "open_at",
    "source_error",
    "summarize",
]

_THROTTLED = frozenset({"LimitExceededException", "ThrottlingException"})
_PARENTS = ("ParentShardId", "AdjacentParentShardId")


class StreamSummary(NamedTuple):
    """A stream as DescribeStreamSummary tells it, and the time at which it did.

    All in milliseconds; `now_ms` is Kinesis' own clock, to the second and never ahead of it.
    """

    created_ms: int
    retention_ms: int
    now_ms: int


class ListedShard(NamedTuple):
    """A shard as ListShards tells it.

    `first` is the sequence number that the shard began with, and `is_closed` whether it takes no
    more records: it was split or merged, and its children do (Kinesis API reference,
    SequenceNumberRange).
    """

    id: str
    parents: frozenset[str]
    first: str
    is_closed: bool


def summarize(client: Any, stream: str) -> StreamSummary:
    """What the stream is. Raises SourceError."""
    try:
        answer = call(client.describe_stream_summary, StreamName=stream)
    except CallError as error:
        raise source_error(stream, error) from None
    summary = answer["StreamDescriptionSummary"]
    answered = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return StreamSummary(
        created_ms=_milliseconds(summary["StreamCreationTimestamp"]),
        retention_ms=summary["RetentionPeriodHours"] * 3_600_000,
        now_ms=_milliseconds(answered),
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def list_shards(client: Any, stream: str, **filter: Any) -> dict[str, ListedShard]:
    """Every shard that still may hold records, by its id. Raises SourceError."""
    shards: dict[str, ListedShard] = {}
    request: dict[str, Any] = {"StreamName": stream} | filter
    while request:
        try:
            answer = call(client.list_shards, **request)
        except CallError as error:
            raise source_error(stream, error) from None
        shards |= {item["ShardId"]: _listed(item) for item in answer["Shards"]}
        request = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
    return shards


def open_at(client: Any, stream: str, time_ms: int) -> set[str]:
    """The shards that took records at a time. Raises SourceError."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    shards = list_shards(client, stream, ShardFilter={"Type": "AT_TIMESTAMP", "Timestamp": moment})
    # A shard and its parent are never open at once: then the filter was not heeded.
    return {shard.id for shard in shards.values() if not shard.parents & shards.keys()}


def ancestors(shards: Mapping[str, ListedShard], shard: str) -> set[str]:
    """Those of the shards whose records came before a shard's own."""
    found: set[str] = set()
    left = [shard]
    while left:
        parents = shards[left[-1]].parents & shards.keys() if left[-1] in shards else set()
        left[-1:] = parents - found
        found |= parents
    return found


def _listed(item: Mapping[str, Any]) -> ListedShard:
    extent = item["SequenceNumberRange"]
    return ListedShard(
        id=item["ShardId"],
        parents=frozenset(item[name] for name in _PARENTS if item.get(name)),
        first=extent["StartingSequenceNumber"],
        is_closed=extent.get("EndingSequenceNumber") is not None,
    )


def source_error(stream: str, error: CallError) -> SourceError:
    """A failed call to Kinesis, as an error that says what to do."""
    if error.code == "ResourceNotFoundException":
        return SourceError(
            f"kinesis: there is no stream {stream} here",
            hint="check the name and the region; an activity stream that was stopped is deleted",
            is_gone=True,
        )
    hint = "check region and credentials, and that this role may list, describe and read it"
    if error.code in _THROTTLED:
        hint = "others of this account ask Kinesis too often; start again in a while"
    return SourceError(f"kinesis: cannot read {stream} ({error.code})", hint=error.hint or hint)
