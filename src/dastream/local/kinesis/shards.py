"""Shards: listed, split and merged.

A change is there when the call returns; on AWS the stream is UPDATING for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec

from dastream.local.kinesis import requests, tokens
from dastream.local.kinesis.errors import InvalidArgumentError, LimitExceededError, NotValidError
from dastream.local.kinesis.replies import Reply, describe_shard
from dastream.local.kinesis.store import Shard, Store, Stream
from dastream.local.kinesis.streams import Streams

__all__ = ["Shards"]


class Shards:
    """The operations on shards. Each is called inside a transaction of the store."""

    def __init__(self, store: Store, streams: Streams) -> None:
        self._store = store
        self._streams = streams

    def list_page(self, request: requests.ListShards) -> Reply:
        """ListShards."""
        stream, after, filter = self._page(request)
        is_listed = self._filter(stream, filter)
        shards = [s for s in self._store.shards(stream.id) if s.name > after and is_listed(s)]
        page = shards[: request.max_results]
        reply: Reply = {"Shards": [describe_shard(shard) for shard in page]}
        if len(shards) > len(page):
            reply["NextToken"] = tokens.seal_token(
                "NextToken", self._store.now_ms(), stream.name, page[-1].name, filter
            )
        return reply

    def split(self, request: requests.SplitShard) -> None:
        """SplitShard."""
        stream = self._provisioned(request)
        shard = self._open_shard(stream, request.shard_to_split)
        key = int(request.new_starting_hash_key)
        if not shard.hash_start + 1 < key < shard.hash_end:
            raise InvalidArgumentError(
                f"NewStartingHashKey {key} used in SplitShard() on shard {shard.name} in stream"
                f" {stream.name} is not both greater than one plus"
                f" the shard's StartingHashKey {shard.hash_start} and less than the shard's"
                f" EndingHashKey {shard.hash_end}."
            )
        self._split(shard, key)

    def merge(self, request: requests.MergeShards) -> None:
        """MergeShards."""
        stream = self._provisioned(request)
        left = self._open_shard(stream, request.shard_to_merge)
        right = self._open_shard(stream, request.adjacent_shard_to_merge)
        if left.hash_end + 1 != right.hash_start:
            raise InvalidArgumentError(
                f"Shards {left.name} and {right.name} in stream {stream.name}"
                " are not an adjacent pair of shards eligible for merging"
            )
        self._merge(left, right)

    def update_count(self, request: requests.UpdateShardCount) -> Reply:
        """UpdateShardCount: widest first when there are too few, narrowest pair when too many."""
        stream = self._provisioned(request)
        target, before = request.target_shard_count, len(self._open_shards(stream))
        if not before / 2 <= target <= before * 2:
            raise LimitExceededError(f"From {before} open shards, {target} are not half to double.")
        while len(shards := self._open_shards(stream)) < target:
            widest = max(shards, key=_width)
            self._split(widest, widest.hash_start + _width(widest) // 2)
        while len(shards := self._open_shards(stream)) > target:
            pairs = pairwise(shards)
            self._merge(*min(pairs, key=lambda pair: _width(pair[0]) + _width(pair[1])))
        return self._streams.identity(stream) | {
            "CurrentShardCount": before,
            "TargetShardCount": target,
        }

    def _page(self, request: requests.ListShards) -> tuple[Stream, str, Any]:
        """Stream, the shard before the page, and filter: as asked, or as in the page before."""
        if request.next_token is None:
            after = request.exclusive_start_shard_id or ""
            return self._streams.find(request), after, request.shard_filter
        if request.stream_name or request.exclusive_start_shard_id or request.shard_filter:
            raise InvalidArgumentError("NextToken comes without anything that it holds already.")
        name, after, filter = tokens.open_token(
            "NextToken", self._store.now_ms(), request.next_token
        )
        held = filter and msgspec.convert(filter, requests.ShardFilter)
        return self._streams.find(requests.ListShards(stream_name=name)), after, held

    def _filter(
        self, stream: Stream, filter: requests.ShardFilter | None
    ) -> Callable[[Shard], bool]:
        """Which shards a filter lets through. API reference, ShardFilter."""
        if filter is None:
            return lambda _: True
        if filter.type == "AT_LATEST":
            return lambda shard: shard.end is None
        if filter.type == "AFTER_SHARD_ID":
            after = _needed(filter, filter.shard_id)
            return lambda shard: shard.name > after
        time_ms = max(stream.created_ms, stream.horizon_ms(self._store.now_ms()))
        if filter.type.endswith("_TIMESTAMP"):
            time_ms = max(time_ms, int(_needed(filter, filter.timestamp) * 1000))
        is_range = filter.type.startswith("FROM_")
        return lambda shard: (
            (shard.end is None or tokens.arrival_ms(shard.end) >= time_ms)
            and (is_range or tokens.arrival_ms(shard.start) <= time_ms)
        )

    def _open_shards(self, stream: Stream) -> list[Shard]:
        shards = [shard for shard in self._store.shards(stream.id) if shard.end is None]
        return sorted(shards, key=lambda shard: shard.hash_start)

    def _open_shard(self, stream: Stream, name: str) -> Shard:
        shard = self._streams.find_shard(stream, name)
        if shard.end is not None:
            raise InvalidArgumentError(
                f"Shard {name} in stream {stream.name} has already"
                " been merged or split, and thus is not eligible for merging or splitting."
            )
        return shard

    def _provisioned(self, request: requests.Request) -> Stream:
        stream = self._streams.find(request)
        if stream.mode == "ON_DEMAND":
            raise NotValidError(
                f"Stream {stream.name} is in on-demand mode, which cares for shards."
            )
        return stream

    def _split(self, shard: Shard, key: int) -> None:
        self._replace([shard], [(shard.hash_start, key - 1), (key, shard.hash_end)])

    def _merge(self, left: Shard, right: Shard) -> None:
        self._replace([left, right], [(left.hash_start, right.hash_end)])

    def _replace(self, parents: list[Shard], children: list[tuple[int, int]]) -> None:
        serials = iter(self._store.take_serials(len(parents) + len(children)))
        for parent in parents:
            self._store.close_shard(parent, next(serials))
        stream = parents[0].stream
        number = self._store.shards(stream)[-1].number
        numbers = [parent.number for parent in parents]
        for offset, hashes in enumerate(children, start=1):
            self._store.add_shard(stream, number + offset, hashes, next(serials), *numbers)


def _needed(filter: requests.ShardFilter, value: Any) -> Any:
    if value is None:
        raise InvalidArgumentError(f"A filter {filter.type} needs its ShardId or Timestamp.")
    return value


def _width(shard: Shard) -> int:
    return shard.hash_end - shard.hash_start + 1
