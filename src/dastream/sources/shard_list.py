"""The shards of a Kinesis stream, and whether progress is of this very stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import SourceError
from dastream.record import SHARD_END

__all__ = ["ListedShard", "check_progress", "list_shards", "recreated_error", "source_error"]

_PARENTS = ("ParentShardId", "AdjacentParentShardId")


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


def list_shards(client: Any, stream: str) -> dict[str, ListedShard]:
    """Every shard that still may hold records, by its id. Raises SourceError."""
    shards: dict[str, ListedShard] = {}
    request: dict[str, str] = {"StreamName": stream}
    while request:
        try:
            answer = call(client.list_shards, **request)
        except CallError as error:
            raise source_error(stream, error) from None
        shards |= {item["ShardId"]: _listed(item) for item in answer["Shards"]}
        request = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
    return shards


def _listed(item: Mapping[str, Any]) -> ListedShard:
    extent = item["SequenceNumberRange"]
    return ListedShard(
        id=item["ShardId"],
        parents=frozenset(item[name] for name in _PARENTS if item.get(name)),
        first=extent["StartingSequenceNumber"],
        is_closed=extent.get("EndingSequenceNumber") is not None,
    )


def check_progress(shards: Mapping[str, ListedShard], progress: Mapping[str, str]) -> None:
    """Raise SourceError for progress that an earlier stream of the same name left.

    Its shards have the same ids: the new ones would be passed over as read to their end.
    """
    for shard in shards.values():
        through = progress.get(shard.id)
        if through == SHARD_END:
            is_of_another = not shard.is_closed
        else:
            is_of_another = through is not None and int(through) < int(shard.first)
        if is_of_another:
            raise recreated_error(shard.id)


def recreated_error(shard: str) -> SourceError:
    """The error for a shard whose checkpoint cannot be its own."""
    return SourceError(
        f"kinesis: the stream was recreated under its name: the checkpoint of {shard} is not "
        "of this stream",
        hint="give --state another file, or remove this one, to read the new stream from its "
        "start; what the old one still held is gone",
    )


def source_error(stream: str, error: CallError) -> SourceError:
    """A failed call to Kinesis, as an error that says what to do."""
    if error.code == "ResourceNotFoundException":
        return SourceError(
            f"kinesis: there is no stream {stream} here",
            hint="check the name and the region; an activity stream that was stopped is deleted",
        )
    return SourceError(
        f"kinesis: cannot read {stream} ({error.code})",
        hint="check region and credentials, and that this role may list, describe and read it",
    )
