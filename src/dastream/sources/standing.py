"""Whether a Kinesis stream is still the one that is being read, and what of it has expired."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dastream.errors import SourceError
from dastream.sources.shard_list import (
    StreamSummary,
    ancestors,
    list_shards,
    open_at,
    summarize,
)

__all__ = ["Standing"]

SECONDS = 1.0
"""For how long an answer holds: Kinesis takes longer to delete a stream and make it again, and
allows twenty DescribeStreamSummary a second for a whole account (Kinesis API reference)."""

RETENTION_MS_MIN = 86_400_000
"""No stream keeps its records for less (Kinesis API reference, DecreaseStreamRetentionPeriod)."""

KEPT_MS_MIN = 600_000
"""Twice the age at which an iterator expires: whatever an iterator is used for is kept until it
is used."""

HORIZON_MARGIN_MS = 2000
"""An answer may be a second old, and its time of day is cut to the second."""


class Standing:
    """Asks for the stream again wherever it may have changed unseen, once a second at most.

    `clock` tells seconds that never go back. What arrived before `lost_ms` may have expired: the
    latest of all horizons that there may have been.
    """

    def __init__(self, client: Any, stream: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._stream = stream
        self._clock = clock
        self._summary: StreamSummary | None = None
        self._asked = -math.inf
        self.lost_ms = 0

    def describe(self) -> StreamSummary:
        """The stream that is to be read from now on. Raises SourceError."""
        self._summary = None
        return self._now()

    def confirm(self, *, anew: bool = False) -> None:
        """Raise SourceError if this is not the stream that was described, but one made since.

        Names of shards begin anew in it, so its records would be taken for those of the old one.
        What was asked of the stream before this, such as an iterator, is of the same one. It is
        asked `anew` where Kinesis tells that more time has passed than the clock knows of.
        """
        if anew:
            self._asked = -math.inf
        self._now()

    def keeps(self, lag_ms: int) -> bool:
        """Whether what is so far behind the tip is kept for some minutes yet. Raises SourceError.

        A stream's retention may be changed at any time, but to no less than a day.
        """
        kept_ms = lag_ms + KEPT_MS_MIN
        return kept_ms <= RETENTION_MS_MIN or kept_ms <= self._now().retention_ms

    def may_lack(self, shard: str, start_ms: int) -> bool:
        """Whether records of a shard that arrived from a time on may have expired by now.

        Not if it began since the horizon: then a shard that it came from was open there. Raises
        SourceError.
        """
        now = self._now()
        horizon_ms = self.lost_ms + HORIZON_MARGIN_MS
        if horizon_ms <= max(start_ms, now.created_ms):
            return False
        shards = list_shards(self._client, self._stream)
        return not ancestors(shards, shard) & open_at(self._client, self._stream, horizon_ms)

    def _now(self) -> StreamSummary:
        asked = self._clock()
        if self._summary is not None and asked - self._asked < SECONDS:
            return self._summary
        summary = summarize(self._client, self._stream)
        if self._summary is not None and self._summary.created_ms != summary.created_ms:
            raise SourceError(
                f"kinesis: {self._stream} was deleted and made again meanwhile",
                hint="start the run again: it keeps the old progress aside and begins the new "
                "stream from its start",
                is_gone=True,
            )
        before = self._summary or summary
        # If the retention was raised since, that may have been a moment ago.
        lost_ms = summary.now_ms - min(before.retention_ms, summary.retention_ms)
        self.lost_ms = max(self.lost_ms, lost_ms)
        self._summary, self._asked = summary, asked
        return summary
