"""Reading one shard of a Kinesis stream, page by page."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import SourceError
from dastream.record import Position, Record
from dastream.sources.batcher import Batcher
from dastream.sources.shard_list import ListedShard, recreated_error, source_error

__all__ = ["AFTER_SEQUENCE_NUMBER", "ShardReader", "StartAt"]

StartAt = Mapping[str, Any]
"""The arguments of GetShardIterator that say where to begin."""

AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"

THROTTLES_MAX = 10
"""Reads of a shard that are throttled, one after another, before a run stops."""

THROTTLE_WAIT_SECONDS_MAX = 5
"""After a read of 10 MB a shard gives nothing for 5 s (Kinesis API reference, GetRecords)."""

_PASSING = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReadTimeoutError",
    }
)
"""Throttling, and outages that may end by themselves."""


class ShardReader:
    """Hands the records of one shard to its batcher.

    `lag_ms` is how far the last page was behind the tip, `has_reached_tip` whether one ever was
    at it, `is_ended` whether the shard is closed and read to its end. `due` is the time on
    `clock`, in seconds, before which it is not to be read again: `poll_seconds` after
    the last read, and longer each time that the service asks for patience.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        shard: ListedShard,
        start: StartAt,
        batcher: Batcher,
        *,
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.batcher = batcher
        self.lag_ms = 0
        self.has_reached_tip = False
        self.is_ended = False
        self.due = 0.0
        self._client = client
        self._stream = stream
        self._shard = shard
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._throttles = 0
        self._start = _lasting(start)
        self._iterator: str | None = self._new_iterator(start)

    def read(self) -> None:
        """Read one page. Raises SourceError, also if it was throttled too often in a row."""
        self.due = self._clock() + self._poll_seconds
        page = self._page()
        if page is None:
            return
        self._throttles = 0
        for item in page["Records"]:
            self.batcher.add(self._record(item))
        self.lag_ms = page.get("MillisBehindLatest") or 0
        # A closed shard may say that it is at its tip before it says that it has ended. Its
        # children wait for the end, so for a closed shard only that counts.
        self.has_reached_tip |= self.lag_ms == 0 and not self._shard.is_closed
        self._iterator = page.get("NextShardIterator")
        self.is_ended = self._iterator is None

    def _page(self) -> Mapping[str, Any] | None:
        """The next page, None where the service asks for patience or for a new iterator."""
        try:
            page: Mapping[str, Any] = call(
                self._client.get_records, ShardIterator=self._iterator, Limit=10_000
            )
        except CallError as error:
            if error.code == "ExpiredIteratorException":
                self._iterator = self._new_iterator(self._start)
            elif error.code in _PASSING:
                self._back_off(error)
            else:
                raise source_error(self._stream, error) from None
            return None
        return page

    def _back_off(self, error: CallError) -> None:
        self._throttles += 1
        if self._throttles >= THROTTLES_MAX:
            raise SourceError(
                f"kinesis: {error.code}, {self._throttles} times in a row",
                hint="Kinesis is out of reach, or too many consumers share a shard's five reads a "
                "second",
            )
        longest = min(self._poll_seconds * 2**self._throttles, THROTTLE_WAIT_SECONDS_MAX)
        wait_seconds = random.uniform(longest / 2, longest)  # noqa: S311 - spreads readers only
        self.due = self._clock() + wait_seconds

    def _record(self, item: Mapping[str, Any]) -> Record:
        sequence = item["SequenceNumber"]
        self._start = {
            "ShardIteratorType": AFTER_SEQUENCE_NUMBER,
            "StartingSequenceNumber": sequence,
        }
        arrival_ms = round(item["ApproximateArrivalTimestamp"].timestamp() * 1000)
        return Record(item["Data"], Position(self._stream, self._shard.id, sequence), arrival_ms)

    def _new_iterator(self, start: StartAt) -> str:
        try:
            answer = call(
                self._client.get_shard_iterator,
                StreamName=self._stream,
                ShardId=self._shard.id,
                **start,
            )
        except CallError as error:
            is_after = start["ShardIteratorType"] == AFTER_SEQUENCE_NUMBER
            if is_after and error.code == "InvalidArgumentException":
                raise recreated_error(self._shard.id) from None
            raise source_error(self._stream, error) from None
        iterator: str = answer["ShardIterator"]
        return iterator


def _lasting(start: StartAt) -> StartAt:
    """LATEST is another place each time it is asked for; this is the same one."""
    if start["ShardIteratorType"] == "LATEST":
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime.now(UTC)}
    return start
