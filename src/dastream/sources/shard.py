"""Reading one shard of a Kinesis stream, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import SourceError
from dastream.record import Position, Record
from dastream.sources.batcher import Batcher

__all__ = ["ShardReader", "StartAt", "source_error"]

StartAt = Mapping[str, Any]
"""The arguments of GetShardIterator that say where to begin."""

_THROTTLED = frozenset({"ProvisionedThroughputExceededException", "LimitExceededException"})


class ShardReader:
    """Hands the records of one shard to its batcher.

    `lag_ms` is how far the last page was behind the tip, `has_reached_tip` whether one ever was
    at it, `is_ended` whether the shard is closed and read to its end.
    """

    def __init__(
        self, client: Any, stream: str, shard: str, start: StartAt, batcher: Batcher
    ) -> None:
        self.batcher = batcher
        self.lag_ms = 0
        self.has_reached_tip = False
        self.is_ended = False
        self._client = client
        self._stream = stream
        self._shard = shard
        self._start = _lasting(start)
        self._iterator: str | None = self._new_iterator(start)

    def read(self) -> int:
        """Read one page; returns how many records it had."""
        page = self._page()
        if page is None:
            return 0
        for item in page["Records"]:
            self.batcher.add(self._record(item))
        self.lag_ms = page.get("MillisBehindLatest") or 0
        self.has_reached_tip |= self.lag_ms == 0
        self._iterator = page.get("NextShardIterator")
        self.is_ended = self._iterator is None
        return len(page["Records"])

    def _page(self) -> Mapping[str, Any] | None:
        """The next page, None where the service asks for patience or for a new iterator."""
        try:
            page: Mapping[str, Any] = call(
                self._client.get_records, ShardIterator=self._iterator, Limit=10_000
            )
        except CallError as error:
            if error.code == "ExpiredIteratorException":
                self._iterator = self._new_iterator(self._start)
            elif error.code not in _THROTTLED:
                raise source_error(error) from None
            return None
        return page

    def _record(self, item: Mapping[str, Any]) -> Record:
        sequence = item["SequenceNumber"]
        self._start = {
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "StartingSequenceNumber": sequence,
        }
        arrival_ms = round(item["ApproximateArrivalTimestamp"].timestamp() * 1000)
        return Record(item["Data"], Position(self._stream, self._shard, sequence), arrival_ms)

    def _new_iterator(self, start: StartAt) -> str:
        try:
            answer = call(
                self._client.get_shard_iterator,
                StreamName=self._stream,
                ShardId=self._shard,
                **start,
            )
        except CallError as error:
            raise source_error(error) from None
        iterator: str = answer["ShardIterator"]
        return iterator


def _lasting(start: StartAt) -> StartAt:
    """LATEST is another place each time it is asked for; this is the same one."""
    if start["ShardIteratorType"] == "LATEST":
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime.now(UTC)}
    return start


def source_error(error: CallError) -> SourceError:
    """A failed call to Kinesis, as an error that says what to do."""
    if error.code == "ResourceNotFoundException":
        return SourceError(
            "kinesis: no such stream",
            hint="check the name and the region; an activity stream that was stopped is deleted",
        )
    return SourceError(
        f"kinesis: {error.code}",
        hint="check region and credentials, and that this role may list, describe and read it",
    )
