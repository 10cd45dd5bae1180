"""Records: put, and read through iterators."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import Any

from dastream.local.kinesis import requests, tokens
from dastream.local.kinesis.errors import (
    InvalidArgumentError,
    NotValidError,
    ResourceNotFoundError,
    ThroughputExceededError,
)
from dastream.local.kinesis.replies import Reply, describe_child, describe_record
from dastream.local.kinesis.store import Shard, Store, Stored, Stream
from dastream.local.kinesis.streams import Streams
from dastream.local.kinesis.throttle import Throttle

__all__ = ["Records"]

_PAGE_BYTES_MAX = 10 << 20  # API reference, GetRecords
_HASH_KEY_MAX = (1 << 128) - 1

Put = requests.PutRecord | requests.RecordToPut


class Records:
    """The operations on records. Each is called inside a transaction of the store."""

    def __init__(self, store: Store, streams: Streams, throttle: Throttle | None) -> None:
        self._store = store
        self._streams = streams
        self._throttle = throttle

    def put_one(self, request: requests.PutRecord) -> Reply:
        """PutRecord."""
        (reply,) = self._put(self._streams.find(request), [request])
        if "ErrorCode" in reply:
            raise ThroughputExceededError(reply["ErrorMessage"])
        return reply | {"EncryptionType": "NONE"}

    def put_many(self, request: requests.PutRecords) -> Reply:
        """PutRecords."""
        if sum(map(_size_bytes, request.records)) > requests.REQUEST_BYTES_MAX:
            raise InvalidArgumentError("Records size exceeds 5 MB limit")
        replies = self._put(self._streams.find(request), request.records)
        failed = sum("ErrorCode" in reply for reply in replies)
        return {"FailedRecordCount": failed, "Records": replies, "EncryptionType": "NONE"}

    def iterator(self, request: requests.GetShardIterator) -> Reply:
        """GetShardIterator."""
        stream = self._streams.find(request)
        shard = self._streams.find_shard(stream, request.shard_id)
        return {"ShardIterator": self._seal(shard, self._position(shard, request))}

    def get(self, request: requests.GetRecords) -> Reply:
        """GetRecords."""
        shard, position = self._open(request.shard_iterator)
        stream = self._store.stream_of(shard)
        if self._throttle and not self._throttle.may_read(shard.id):
            raise ThroughputExceededError(self._rate_exceeded(shard))
        horizon = tokens.serial_at(stream.horizon_ms(self._store.now_ms()))
        records, following = self._page(shard, max(position, horizon), request.limit)
        reply = {
            "Records": [describe_record(record, shard) for record in records],
            "MillisBehindLatest": self._behind_ms(following),
        }
        if following is None and shard.end is not None:
            return reply | {"ChildShards": self._children(shard)}
        after = following or (records[-1].serial + 1 if records else position)
        return reply | {"NextShardIterator": self._seal(shard, after)}

    def _put(self, stream: Stream, records: list[Any]) -> list[Reply]:
        shards = _Router(self._store.shards(stream.id))
        serials = self._store.take_serials(len(records))
        rows, replies = [], []
        for serial, record in zip(serials, records, strict=True):
            shard = shards.find(_checked_hash_key(record))
            if self._throttle and not self._throttle.may_write(shard.id, _size_bytes(record)):
                message = self._rate_exceeded(shard)
                replies.append({"ErrorCode": ThroughputExceededError.code, "ErrorMessage": message})
                continue
            rows.append((serial, shard.id, record.partition_key, record.data))
            sequence = tokens.sequence_number(serial, shard.number)
            replies.append({"SequenceNumber": sequence, "ShardId": shard.name})
        self._store.add_records(rows)
        return replies

    def _page(self, shard: Shard, start: int, limit: int) -> tuple[list[Stored], int | None]:
        """Records from a serial on, and the serial that comes after them, if there is one."""
        records: list[Stored] = []
        size_bytes = 0
        for record in self._store.records(shard.id, start):
            size_bytes += len(record.data)
            if len(records) == limit or (records and size_bytes > _PAGE_BYTES_MAX):
                return records, record.serial
            records.append(record)
            if self._throttle:
                self._throttle.has_read(shard.id, len(record.data))
        return records, None

    def _behind_ms(self, following: int | None) -> int:
        if following is None:
            return 0
        return max(0, self._store.now_ms() - tokens.arrival_ms(following))

    def _children(self, shard: Shard) -> list[Reply]:
        shards = self._store.shards(shard.stream)
        return [describe_child(s) for s in shards if shard.number in {s.parent, s.adjacent_parent}]

    def _position(self, shard: Shard, request: requests.GetShardIterator) -> int:
        """The serial from which a new iterator reads."""
        sequence = request.starting_sequence_number
        kind = request.shard_iterator_type
        if (sequence is not None) != kind.endswith("SEQUENCE_NUMBER"):
            raise InvalidArgumentError(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and"
                " StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no"
                f" StartingSequenceNumber. Request specified {kind}."
            )
        if sequence is not None:
            return self._serial(shard, sequence) + (kind == "AFTER_SEQUENCE_NUMBER")
        if kind == "AT_TIMESTAMP":
            return self._serial_at(request.timestamp)
        return shard.start if kind == "TRIM_HORIZON" else self._store.last_serial + 1

    def _serial(self, shard: Shard, sequence: str) -> int:
        try:
            serial, number = tokens.parse_sequence(sequence)
        except ValueError:
            serial, number = 0, shard.number
        if number != shard.number:
            raise InvalidArgumentError(
                f"Invalid StartingSequenceNumber. It encodes shard {number}, while it was used in"
                f" a call to a shard with {shard.name}"
            )
        if not shard.start <= serial <= self._store.last_serial:
            raise InvalidArgumentError(
                f"StartingSequenceNumber {sequence} used in GetShardIterator on shard {shard.name}"
                " is invalid because it did not come from this stream."
            )
        return serial

    def _serial_at(self, timestamp: float | None) -> int:
        if timestamp is None:
            raise InvalidArgumentError(
                "Must specify Timestamp for an iterator of type AT_TIMESTAMP."
            )
        # Rounded as the arrival times that GetRecords gives: to the millisecond.
        time_ms = round(timestamp * 1000)
        if time_ms > self._store.now_ms():
            raise InvalidArgumentError("The Timestamp lies in the future.")
        return tokens.serial_at(time_ms)

    def _seal(self, shard: Shard, position: int) -> str:
        return tokens.seal_token("ShardIterator", self._store.now_ms(), shard.id, position)

    def _open(self, iterator: str) -> tuple[Shard, int]:
        id, position = tokens.open_token("ShardIterator", self._store.now_ms(), iterator)
        shard = self._store.shard(id)
        if shard is None:
            raise ResourceNotFoundError("The iterator's stream or shard does not exist any more.")
        return shard, position

    def _rate_exceeded(self, shard: Shard) -> str:
        return f"Rate exceeded for shard {shard.name} in stream {self._store.stream_of(shard).name}"


class _Router:
    """Finds the open shard that takes a hash key."""

    def __init__(self, shards: list[Shard]) -> None:
        is_open = [shard for shard in shards if shard.end is None]
        self._shards = sorted(is_open, key=lambda shard: shard.hash_start)
        self._starts = [shard.hash_start for shard in self._shards]

    def find(self, hash_key: int) -> Shard:
        return self._shards[bisect_right(self._starts, hash_key) - 1]


def _checked_hash_key(record: Put) -> int:
    if _size_bytes(record) > requests.RECORD_BYTES_MAX:
        raise NotValidError("Data and PartitionKey have more than 1048576 bytes.")
    if record.explicit_hash_key is None:
        digest = hashlib.md5(record.partition_key.encode(), usedforsecurity=False)
        return int.from_bytes(digest.digest())
    hash_key = int(record.explicit_hash_key)
    if hash_key > _HASH_KEY_MAX:
        raise InvalidArgumentError(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]."
            f" Specified value was {hash_key}"
        )
    return hash_key


def _size_bytes(record: Put) -> int:
    return len(record.data) + len(record.partition_key.encode())
