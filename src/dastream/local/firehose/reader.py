"""The reading side: all shards of a Kinesis stream, children after their parents."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import SourceError

__all__ = ["Page", "SourceRecord", "StreamReader"]

_RECORDS_MAX = 1000
_PARENTS = {"ParentShardId", "AdjacentParentShardId"}
_log = logging.getLogger(__name__)


class SourceRecord(NamedTuple):
    """A record as Kinesis gave it. `arrival_ms` is its approximate arrival since 1970, UTC."""

    data: bytes
    partition_key: str
    shard: str
    sequence: str
    arrival_ms: int


class Page(NamedTuple):
    """What one call gave: records, and whether there was nothing more just then."""

    records: list[SourceRecord]
    is_at_tip: bool


class StreamReader:
    """Reads a stream from `through` on: the sequence number of each shard after which to go on.

    A shard that is not in it is read from its oldest record on. A page that was yielded is
    behind the reader. If a call fails, SourceError is raised, and the next round goes on from
    there. A stream that is deleted has nothing more to give; one that takes its name is read
    from its start.
    """

    def __init__(self, kinesis: Any, stream: str, through: Mapping[str, str]) -> None:
        self._kinesis = kinesis
        self._stream = stream
        self._forget()
        self._through.update(through)

    def _forget(self) -> None:
        self._parents: dict[str, set[str]] = {}
        self._iterators: dict[str, str] = {}
        self._through: dict[str, str] = {}
        self._ended: set[str] = set()

    def pages(self) -> Iterator[Page]:
        """One round: a page of each shard that can be read. Raises SourceError."""
        try:
            for shard in self._readable_shards():
                yield self._page(shard)
        except CallError as error:
            if error.code != "ResourceNotFoundException":
                raise SourceError(
                    f"firehose: cannot read {self._stream}: {error.code}",
                    hint="see whether Kinesis can be reached and the stream is active",
                ) from None
            if self._parents:
                _log.info("firehose: the stream %s is gone", self._stream)
            self._forget()

    def _readable_shards(self) -> list[str]:
        """Shards that have not ended, and whose parents have ended or are trimmed."""
        if not self._parents:
            self._parents = self._list_shards()
        left = self._parents.keys() - self._ended
        return sorted(shard for shard in left if not self._parents[shard] & left)

    def _list_shards(self) -> dict[str, set[str]]:
        """The parents of each shard."""
        reply = call(self._kinesis.list_shards, StreamName=self._stream)
        shards = reply["Shards"]
        while token := reply.get("NextToken"):
            reply = call(self._kinesis.list_shards, NextToken=token)
            shards += reply["Shards"]
        return {
            shard["ShardId"]: {shard[member] for member in _PARENTS & shard.keys()}
            for shard in shards
        }

    def _page(self, shard: str) -> Page:
        # An iterator serves once: after a failure, or when it is too old, there is a new one.
        iterator = self._iterators.pop(shard, None) or self._iterator(shard)
        reply = call(self._kinesis.get_records, ShardIterator=iterator, Limit=_RECORDS_MAX)
        records = [_source_record(shard, record) for record in reply["Records"]]
        if records:
            self._through[shard] = records[-1].sequence
        if following := reply.get("NextShardIterator"):
            self._iterators[shard] = following
            return Page(records, is_at_tip=not records and not reply.get("MillisBehindLatest"))
        self._ended.add(shard)
        self._parents = {}  # listed anew: a shard that ends has children
        return Page(records, is_at_tip=False)

    def _iterator(self, shard: str) -> str:
        start = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard in self._through:
            start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": self._through[shard],
            }
        reply = call(
            self._kinesis.get_shard_iterator, StreamName=self._stream, ShardId=shard, **start
        )
        return str(reply["ShardIterator"])


def _source_record(shard: str, record: dict[str, Any]) -> SourceRecord:
    return SourceRecord(
        data=record["Data"],
        partition_key=record["PartitionKey"],
        shard=shard,
        sequence=record["SequenceNumber"],
        arrival_ms=int(record["ApproximateArrivalTimestamp"].timestamp() * 1000),
    )
