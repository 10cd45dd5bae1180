"""Reading one shard of a Kinesis stream, page by page, and proving that nothing is left out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import SourceError
from dastream.record import SHARD_END, Gap, Position, Record, is_reached
from dastream.sources.batcher import Batcher
from dastream.sources.shard_list import ListedShard, list_shards, source_error
from dastream.sources.standing import Standing

__all__ = ["TRIM_HORIZON", "ShardReader", "StartAt"]

StartAt = Mapping[str, Any]
"""The arguments of GetShardIterator that say where to begin."""

TRIM_HORIZON: StartAt = {"ShardIteratorType": "TRIM_HORIZON"}

_AT = "AT_SEQUENCE_NUMBER"

THROTTLES_MAX = 10
"""Reads of a shard that are throttled, one after another, before a run stops."""

THROTTLE_WAIT_SECONDS_MAX = 5
"""After a read of 10 MB a shard gives nothing for 5 s (Kinesis API reference, GetRecords)."""

HELD_UP_SECONDS = 5
"""A page that comes so long after the one before it may be of another stream of the name."""

_PASSING = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "InternalFailure",
        "InternalFailureException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReadTimeoutError",
        "RequestTimeout",
        "ServiceUnavailable",
        "ThrottlingException",
        "500",
        "502",
        "503",
        "504",
    }
)
"""Throttling, and outages that may end by themselves (Kinesis API reference, Common Errors). A
number is the status of an answer that names no error."""


class ShardReader:
    """Hands the records of one shard to its batcher: those after `after`, if that is a record.

    Kinesis keeps silent where records expired before they were read. So reading goes on at the
    last record that was read or committed, not after it: if it comes again, nothing is missing;
    if a later one comes instead, there is a gap. No record is given twice.

    `has_reached_tip` is whether a page ever was at the tip, `is_ended` whether the shard is closed
    and read to its end; `gap_at_end` is what may be missing before that. `due` is the time on
    `clock`, in seconds, before which it is not to be read again: `poll_seconds` after the last
    read, and longer each time that the service asks for patience. `standing` is asked where the
    stream may have changed unseen. Records are wanted from `start_ms` on, and asked for as `start`
    says.
    """

    def __init__(
        self,
        client: Any,
        reading: Any,
        stream: str,
        shard: ListedShard,
        batcher: Batcher,
        *,
        after: str | None,
        start_ms: int,
        start: StartAt,
        poll_seconds: float,
        standing: Standing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.batcher = batcher
        self.has_reached_tip = False
        self.is_ended = False
        self.gap_at_end: Gap | None = None
        self.due = clock()
        self._client = client
        self._reading = reading
        self._stream = stream
        self._shard = shard
        self._after = after
        self._after_arrival_ms: int | None = None
        self._start_ms = start_ms
        self._start = start
        self._poll_seconds = poll_seconds
        self._standing = standing
        self._clock = clock
        self._page_at = self.due
        self._throttles = 0
        self._lag_ms = 0
        self._is_joined = False
        self._is_fresh = True  # the iterator is: no page came by it
        self._iterator = self._new_iterator()

    @property
    def is_at_tip(self) -> bool:
        """Whether the last page was at the tip, and no other shard goes on from there."""
        return self.has_reached_tip and self._lag_ms == 0 and not self.is_ended

    def lag_at(self, now: float) -> int:
        """How far the last page was behind the tip, and for how long the next is overdue."""
        return self._lag_ms + max(0, int(now - self.due)) * 1000

    def read(self) -> None:
        """Read one page. Raises SourceError, also if it was throttled too often in a row."""
        self.due = self._clock() + self._poll_seconds
        page = self._page()
        if page is None:
            return
        self._check_late(self._clock())
        self._throttles = 0
        last = self._after
        for item in page["Records"]:
            self._add(self._record(item))
        lag_ms = page.get("MillisBehindLatest") or 0
        is_stuck = not (page["Records"] or self._is_fresh) and lag_ms >= self._lag_ms
        self._lag_ms, self._is_fresh = lag_ms, False
        # A closed shard may say that it is at its tip before it says that it has ended. Its
        # children wait for the end, so for a closed shard only that counts.
        self.has_reached_tip |= self._lag_ms == 0 and not self._shard.is_closed
        self._iterator = page.get("NextShardIterator")
        if self._iterator is None:
            self._end()
        elif not self._standing.keeps(self._lag_ms):
            self._hold_on(is_new=self._after != last, is_stuck=is_stuck)

    def _check_late(self, now: float) -> None:
        """Look what may have happened between the page before and this one."""
        if now - self._page_at > HELD_UP_SECONDS:
            self._standing.confirm()
        self._page_at = now  # only now: if that failed, the next page is as late
        if not self._standing.keeps(self._lag_ms):
            self._is_joined = False

    def _page(self) -> Mapping[str, Any] | None:
        """The next page, None where the service asks for patience or for a new iterator."""
        try:
            page: Mapping[str, Any] = call(
                self._reading.get_records, ShardIterator=self._iterator, Limit=10_000
            )
        except CallError as error:
            if error.code == "ExpiredIteratorException":
                self._iterator = self._new_iterator()
                self._standing.confirm(anew=True)
            elif error.code in _PASSING:
                self._back_off(error)
            elif self._has_gone(error):
                self._end_unread()
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
        position = Position(self._stream, self._shard.id, item["SequenceNumber"])
        arrival_ms = round(item["ApproximateArrivalTimestamp"].timestamp() * 1000)
        return Record(item["Data"], position, arrival_ms)

    def _add(self, record: Record) -> None:
        assert record.position is not None, "it was just given one"
        sequence = record.position.sequence
        if self._after is not None and is_reached(sequence, by=self._after):
            self._is_joined |= sequence == self._after
            return
        gap = self._gap(sequence, record.arrival_ms)
        self._is_joined = True
        self._after, self._after_arrival_ms = sequence, record.arrival_ms
        self.batcher.add(record, gap)

    def _end(self) -> None:
        self.is_ended = True
        self.gap_at_end = self._gap(SHARD_END, None)

    def _has_gone(self, error: CallError) -> bool:
        """Whether Kinesis keeps nothing of the shard any more: it was closed, and has expired.

        Raises SourceError if the stream has gone.
        """
        if error.code != "ResourceNotFoundException":
            return False
        shards = list_shards(self._client, self._stream)
        self._standing.confirm(anew=True)
        return self._shard.id not in shards

    def _end_unread(self) -> None:
        after = self._after or self._shard.first
        self.is_ended = True
        self.gap_at_end = Gap(self._shard.id, after, SHARD_END, self._after_arrival_ms)

    def _gap(self, until: str, arrival_ms: int | None) -> Gap | None:
        """What may be missing before `until`, if anything may."""
        if self._is_joined:
            return None
        if self._after is None and not self._standing.may_lack(self._shard.id, self._start_ms):
            return None
        after = self._after or self._shard.first
        return Gap(self._shard.id, after, until, self._after_arrival_ms, arrival_ms)

    def _hold_on(self, *, is_new: bool, is_stuck: bool) -> None:
        """Near the horizon, read on from the last record, which tells if what follows expires.

        Further from it that cannot happen: an iterator expires before its place does. Where a page
        brought nothing, the next one may, and to ask for the same again would bring the same. But
        an iterator whose place has expired was seen to give empty pages for good: it comes no
        nearer to the tip.
        """
        if is_new:
            self._iterator = self._new_iterator()
        elif is_stuck:
            self._is_joined = False
            self._iterator = self._opened(TRIM_HORIZON)
            self.due = self._clock()  # at once, as the horizon moves on
        else:
            return
        self._standing.confirm()

    def _new_iterator(self) -> str | None:
        """An iterator at the last record, or where the shard is to begin."""
        if self._after is None:
            return self._opened(self._start)
        self._is_joined = False
        return self._opened({"ShardIteratorType": _AT, "StartingSequenceNumber": self._after})

    def _opened(self, start: StartAt) -> str | None:
        """An iterator, None if the shard has gone."""
        try:
            answer = call(
                self._client.get_shard_iterator,
                StreamName=self._stream,
                ShardId=self._shard.id,
                **start,
            )
        except CallError as error:
            # `confirm` tells that it is this very stream, so it is one that expired.
            is_unknown_number = start["ShardIteratorType"] == _AT
            if is_unknown_number and error.code == "InvalidArgumentException":
                return self._opened(TRIM_HORIZON)
            if self._has_gone(error):
                self._end_unread()
                return None
            raise source_error(self._stream, error) from None
        self._is_fresh = True
        iterator: str = answer["ShardIterator"]
        return iterator
