"""Streams: made, described, changed and deleted.

A change is there when the call returns; on AWS a stream is CREATING or DELETING for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dastream.local.kinesis import requests, tokens
from dastream.local.kinesis.errors import (
    InvalidArgumentError,
    LimitExceededError,
    NotValidError,
    ResourceInUseError,
    ResourceNotFoundError,
)
from dastream.local.kinesis.replies import Reply, describe_shard
from dastream.local.kinesis.store import Shard, Store, Stream

__all__ = ["Streams"]

_HASH_KEYS = 1 << 128
_ON_DEMAND_SHARDS = 4  # Developer Guide, on-demand mode: what a new stream starts with
_SHARDS_MAX = 10_000
_HOURS_MIN, _HOURS_MAX = 24, 8760


class Streams:
    """The operations on streams. Each is called inside a transaction of the store."""

    def __init__(self, store: Store, account: str, region: str) -> None:
        self._store = store
        self._account = account
        self._arn_prefix = f"arn:aws:kinesis:{region}:{account}:stream/"

    def find(self, request: requests.Request) -> Stream:
        """The stream that a request names. Raises ResourceNotFoundError, InvalidArgumentError."""
        name = request.stream_name
        if request.stream_arn is not None:
            name = request.stream_arn.rpartition("/")[2]
            if request.stream_name not in {None, name}:
                raise InvalidArgumentError("StreamName and StreamARN name two streams.")
        if name is None:
            raise InvalidArgumentError("Neither StreamName nor StreamARN is given.")
        stream = self._store.stream(name)
        if stream is None:
            raise ResourceNotFoundError(f"Stream {name} under account {self._account} not found.")
        return stream

    def find_shard(self, stream: Stream, name: str) -> Shard:
        """A shard of a stream by its ShardId. Raises ResourceNotFoundError."""
        for shard in self._store.shards(stream.id):
            if shard.name == name:
                return shard
        raise ResourceNotFoundError(
            f"Could not find shard {name} in stream {stream.name} under account {self._account}."
        )

    def create(self, request: requests.CreateStream) -> None:
        """CreateStream."""
        if (name := request.stream_name) is None:
            raise NotValidError("StreamName is required.")
        mode = request.stream_mode_details.stream_mode
        count = _ON_DEMAND_SHARDS if mode == "ON_DEMAND" else request.shard_count
        if count is None:
            raise NotValidError("ShardCount is required for a stream in provisioned mode.")
        if count > _SHARDS_MAX:
            raise LimitExceededError(f"A stream here has {_SHARDS_MAX} shards at most.")
        if self._store.stream(name) is not None:
            raise ResourceInUseError(f"Stream {name} under account {self._account} already exists.")
        serials = self._store.take_serials(count)
        created_ms = tokens.arrival_ms(serials[0])
        id = self._store.add_stream(name, created_ms, mode, request.tags)
        width = _HASH_KEYS // count
        for number, serial in enumerate(serials):
            end = _HASH_KEYS if number == count - 1 else (number + 1) * width
            self._store.add_shard(id, number, (number * width, end - 1), serial)

    def delete(self, request: requests.DeleteStream) -> None:
        """DeleteStream."""
        self._store.delete_stream(self.find(request))

    def describe(self, request: requests.DescribeStream) -> Reply:
        """DescribeStream."""
        stream = self.find(request)
        after = request.exclusive_start_shard_id or ""
        shards = [s for s in self._store.shards(stream.id) if s.name > after]
        description = self._description(stream) | {
            "Shards": [describe_shard(shard) for shard in shards[: request.limit]],
            "HasMoreShards": len(shards) > request.limit,
        }
        return {"StreamDescription": description}

    def summarize(self, request: requests.DescribeStreamSummary) -> Reply:
        """DescribeStreamSummary."""
        stream = self.find(request)
        summary = self._description(stream) | {
            "OpenShardCount": sum(shard.end is None for shard in self._store.shards(stream.id)),
            "ConsumerCount": 0,
        }
        return {"StreamDescriptionSummary": summary}

    def list_streams(self, request: requests.ListStreams) -> Reply:
        """ListStreams."""
        after = request.exclusive_start_stream_name or ""
        if request.next_token is not None:
            (after,) = tokens.open_token("NextToken", self._store.now_ms(), request.next_token)
        found = self._store.streams(after, request.limit + 1)
        page, is_more = found[: request.limit], len(found) > request.limit
        reply: Reply = {
            "StreamNames": [stream.name for stream in page],
            "HasMoreStreams": is_more,
            "StreamSummaries": [self.identity(stream) for stream in page],
        }
        if is_more:
            token = tokens.seal_token("NextToken", self._store.now_ms(), page[-1].name)
            reply["NextToken"] = token
        return reply

    def keep_longer(self, request: requests.IncreaseStreamRetentionPeriod) -> None:
        """IncreaseStreamRetentionPeriod."""
        self._keep(request, lambda hours, before: hours >= before, "shorter")

    def keep_shorter(self, request: requests.DecreaseStreamRetentionPeriod) -> None:
        """DecreaseStreamRetentionPeriod."""
        self._keep(request, lambda hours, before: hours <= before, "longer")

    def _keep(self, request: Any, fits: Callable[[int, int], bool], wrong: str) -> None:
        stream, hours = self.find(request), request.retention_period_hours
        if not _HOURS_MIN <= hours <= _HOURS_MAX:
            raise InvalidArgumentError(
                f"{hours} hours are not between {_HOURS_MIN} and {_HOURS_MAX}."
            )
        if not fits(hours, stream.retention_hours):
            raise InvalidArgumentError(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be"
                f" {wrong} than existing retention period ({stream.retention_hours} hours)."
            )
        self._store.change_stream(stream._replace(retention_hours=hours))

    def add_tags(self, request: requests.AddTagsToStream) -> None:
        """AddTagsToStream."""
        stream = self.find(request)
        self._store.change_stream(stream._replace(tags=stream.tags | request.tags))

    def remove_tags(self, request: requests.RemoveTagsFromStream) -> None:
        """RemoveTagsFromStream."""
        stream = self.find(request)
        kept = {key: tag for key, tag in stream.tags.items() if key not in request.tag_keys}
        self._store.change_stream(stream._replace(tags=kept))

    def list_tags(self, request: requests.ListTagsForStream) -> Reply:
        """ListTagsForStream."""
        tags = self.find(request).tags
        listed = [{"Key": key, "Value": tags[key]} for key in sorted(tags)]
        return {"Tags": listed, "HasMoreTags": False}

    def identity(self, stream: Stream) -> Reply:
        """What every description of a stream begins with."""
        return {
            "StreamName": stream.name,
            "StreamARN": self._arn_prefix + stream.name,
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": stream.mode},
            "StreamCreationTimestamp": stream.created_ms / 1000,
        }

    def _description(self, stream: Stream) -> Reply:
        return self.identity(stream) | {
            "RetentionPeriodHours": stream.retention_hours,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
        }
