"""Whether a Kinesis stream is still the one that is being read, and what of it has expired."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dastream.errors import SourceError
from dastream.sources.shard_list import StreamSummary, open_at_horizon, summarize

__all__ = ["Standing"]

SECONDS = 1.0
"""For how long an answer holds: Kinesis takes longer to delete a stream and make it again, and
allows twenty DescribeStreamSummary a second for a whole account (Kinesis API reference)."""

HORIZON_MARGIN_MS = 2000
"""An answer may be a second old, and its time of day is cut to the second."""


class Standing:
    """Asks for the stream again wherever it may have changed unseen, once a second at most.

    `clock` tells seconds that never go back.
    """

    def __init__(self, client: Any, stream: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._stream = stream
        self._clock = clock
        self._summary: StreamSummary | None = None
        self._asked = -math.inf

    def describe(self) -> StreamSummary:
        """The stream that is to be read from now on. Raises SourceError."""
        self._summary = None
        return self._now()

    def confirm(self) -> None:
        """Raise SourceError if this is not the stream that was described, but one made since.

        Names of shards begin anew in it, so its records would be taken for those of the old one.
        What was asked of the stream before this, such as an iterator, is of the same one.
        """
        self._now()

    def may_lack(self, shard: str, start_ms: int) -> bool:
        """Whether records of a shard that arrived from a time on may have expired by now.

        Raises SourceError.
        """
        now = self._now()
        horizon_ms = now.now_ms - now.retention_ms + HORIZON_MARGIN_MS
        return horizon_ms > max(start_ms, now.created_ms) and shard in open_at_horizon(
            self._client, self._stream
        )

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
            )
        self._summary, self._asked = summary, asked
        return summary
