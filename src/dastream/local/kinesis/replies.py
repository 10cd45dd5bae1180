"""What Kinesis answers: the shapes that more than one operation gives."""

from __future__ import annotations

from typing import Any

from dastream.local.kinesis import tokens
from dastream.local.kinesis.store import Shard, Stored, shard_name

__all__ = ["Reply", "describe_child", "describe_record", "describe_shard"]

Reply = dict[str, Any]


def describe_child(shard: Shard) -> Reply:
    """A ChildShard of the API."""
    parents = [p for p in (shard.parent, shard.adjacent_parent) if p is not None]
    return {
        "ShardId": shard.name,
        "ParentShards": [shard_name(number) for number in parents],
        "HashKeyRange": _hash_range(shard),
    }


def describe_shard(shard: Shard) -> Reply:
    """A Shard of the API."""
    sequences = {"StartingSequenceNumber": tokens.sequence_number(shard.start, shard.number)}
    if shard.end is not None:
        sequences["EndingSequenceNumber"] = tokens.sequence_number(shard.end, shard.number)
    described = {
        "ShardId": shard.name,
        "HashKeyRange": _hash_range(shard),
        "SequenceNumberRange": sequences,
    }
    if shard.parent is not None:
        described["ParentShardId"] = shard_name(shard.parent)
    if shard.adjacent_parent is not None:
        described["AdjacentParentShardId"] = shard_name(shard.adjacent_parent)
    return described


def _hash_range(shard: Shard) -> dict[str, str]:
    return {"StartingHashKey": str(shard.hash_start), "EndingHashKey": str(shard.hash_end)}


def describe_record(record: Stored, shard: Shard) -> Reply:
    """A Record of the API."""
    return {
        "SequenceNumber": tokens.sequence_number(record.serial, shard.number),
        "ApproximateArrivalTimestamp": tokens.arrival_ms(record.serial) / 1000,
        "Data": record.data,
        "PartitionKey": record.partition_key,
        "EncryptionType": "NONE",
    }
