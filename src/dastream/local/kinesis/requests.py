"""What may be asked of Kinesis: the shapes of the requests, with their limits.

Names and limits are those of the API's model, 2013-12-02. A record may have 1 MiB, the default
of `MaxRecordSizeInKiB`. A class has the name of its operation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "OPERATIONS",
    "RECORD_BYTES_MAX",
    "REQUEST_BYTES_MAX",
    "Request",
]

RECORD_BYTES_MAX = 1 << 20
"""Data and partition key of one record."""

REQUEST_BYTES_MAX = 5 << 20
"""Data and partition keys of all records of a PutRecords."""

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]+\Z", min_length=1, max_length=128)]
Arn = Annotated[str, Meta(pattern=r"^arn:aws[^:]*:kinesis:.*:\d{12}:stream/\S+\Z")]
HashKey = Annotated[str, Meta(pattern=r"^(0|[1-9]\d{0,38})\Z")]
Sequence = Annotated[str, Meta(pattern=r"^(0|[1-9]\d{0,128})\Z")]
Token = Annotated[str, Meta(min_length=1, max_length=1 << 20)]
PartitionKey = Annotated[str, Meta(min_length=1, max_length=256)]
Data = Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
Hours = Annotated[int, Meta(ge=1, le=100_000)]
Tags = dict[
    Annotated[str, Meta(min_length=1, max_length=128)], Annotated[str, Meta(max_length=256)]
]


class Request(Struct, rename="pascal", kw_only=True, frozen=True):
    """A request that names a stream, by name or by ARN."""

    stream_name: Name | None = None
    stream_arn: Arn | None = field(name="StreamARN", default=None)


class StreamModeDetails(Struct, rename="pascal", frozen=True):
    """Who cares for the number of shards."""

    stream_mode: Literal["PROVISIONED", "ON_DEMAND"]


class CreateStream(Request, kw_only=True, frozen=True):
    """Make a stream, which is there at once."""

    shard_count: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    stream_mode_details: StreamModeDetails = StreamModeDetails("PROVISIONED")
    tags: Tags = {}


class DeleteStream(Request, kw_only=True, frozen=True):
    """Take a stream away, with its records."""


class DescribeStream(Request, kw_only=True, frozen=True):
    """A stream and its shards."""

    limit: Count = 100
    exclusive_start_shard_id: Name | None = None


class DescribeStreamSummary(Request, kw_only=True, frozen=True):
    """A stream without its shards."""


class ListStreams(Request, kw_only=True, frozen=True):
    """The names of all streams."""

    limit: Count = 100
    exclusive_start_stream_name: Name | None = None
    next_token: Token | None = None


class ShardFilter(Struct, rename="pascal", frozen=True):
    """Which shards of a stream to list."""

    type: Literal[
        "AFTER_SHARD_ID",
        "AT_TRIM_HORIZON",
        "FROM_TRIM_HORIZON",
        "AT_LATEST",
        "AT_TIMESTAMP",
        "FROM_TIMESTAMP",
    ]
    shard_id: Name | None = None
    timestamp: float | None = None


class ListShards(Request, kw_only=True, frozen=True):
    """The shards of a stream."""

    next_token: Token | None = None
    exclusive_start_shard_id: Name | None = None
    max_results: Count = 1000
    shard_filter: ShardFilter | None = None


class SplitShard(Request, kw_only=True, frozen=True):
    """Two shards in the place of one."""

    shard_to_split: Name
    new_starting_hash_key: HashKey


class MergeShards(Request, kw_only=True, frozen=True):
    """One shard in the place of two."""

    shard_to_merge: Name
    adjacent_shard_to_merge: Name


class UpdateShardCount(Request, kw_only=True, frozen=True):
    """Split or merge until there are as many open shards."""

    target_shard_count: Annotated[int, Meta(ge=1)]
    scaling_type: Literal["UNIFORM_SCALING"]


class IncreaseStreamRetentionPeriod(Request, kw_only=True, frozen=True):
    """Keep records for longer."""

    retention_period_hours: Hours


class DecreaseStreamRetentionPeriod(Request, kw_only=True, frozen=True):
    """Keep records for less time."""

    retention_period_hours: Hours


class AddTagsToStream(Request, kw_only=True, frozen=True):
    """Set tags."""

    tags: Tags


class RemoveTagsFromStream(Request, kw_only=True, frozen=True):
    """Take tags away."""

    tag_keys: list[str]


class ListTagsForStream(Request, kw_only=True, frozen=True):
    """The tags of a stream."""


class PutRecord(Request, kw_only=True, frozen=True):
    """Put one record."""

    data: Data
    partition_key: PartitionKey
    explicit_hash_key: HashKey | None = None
    sequence_number_for_ordering: Sequence | None = None


class RecordToPut(Struct, rename="pascal", kw_only=True, frozen=True):
    """A record of a PutRecords."""

    data: Data
    partition_key: PartitionKey
    explicit_hash_key: HashKey | None = None


class PutRecords(Request, kw_only=True, frozen=True):
    """Put many records."""

    records: Annotated[list[RecordToPut], Meta(min_length=1, max_length=500)]


class GetShardIterator(Request, kw_only=True, frozen=True):
    """An iterator at a place in a shard."""

    shard_id: Name
    shard_iterator_type: Literal[
        "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"
    ]
    starting_sequence_number: Sequence | None = None
    timestamp: float | None = None


class GetRecords(Request, kw_only=True, frozen=True):
    """The records from an iterator on."""

    shard_iterator: Annotated[str, Meta(min_length=1, max_length=512)]
    limit: Count = 10_000


OPERATIONS: dict[str, type[Request]] = {cls.__name__: cls for cls in Request.__subclasses__()}
"""The operations that are served, by name."""
