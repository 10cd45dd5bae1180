"""Follows a log: reads it, and publishes what it says so that nothing is lost.

::

    LogTail ─rows─▶ LogReader ─entries─▶ Publisher ─envelopes─▶ Kinesis
       │                │                    │
       └─────place──────┴──────progress──────┴────▶ Journal

What has been read is sealed, then stored in the journal together with the place through which
it has been read, then put. Whenever this breaks off, the next follower puts the same envelopes
again and goes on from that place. docs/adr/0008-emitter.md says what that promises.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Literal

from dastream.activity.journal import Journal
from dastream.activity.log_files import Place
from dastream.activity.log_tail import LogTail
from dastream.activity.log_time import LogClock
from dastream.activity.postgres_log import LogReader
from dastream.activity.progress import Progress
from dastream.activity.publisher import Publisher

__all__ = ["Follower", "Start", "open_tail"]

_log = logging.getLogger(__name__)

Start = Literal["end", "beginning"]
"""Whether a log that is followed for the first time is read from its end or its beginning."""

SETTLE_SECONDS = 0.3
"""How long after a statement its rows may still be on their way through the log collector."""


def open_tail(
    directory: Path, journal: Journal, clock: LogClock, start: Start
) -> tuple[LogTail, Progress]:
    """The log from where the journal says, or else from `start`, which the journal then knows."""
    progress = journal.progress()
    if progress is not None:
        return LogTail(directory, start=progress.begin or "beginning", clock=clock), progress
    tail = LogTail(directory, start=start, clock=clock)
    place = tail.place()
    progress = Progress(through=place, begin=place, since=int(time.time()))
    journal.store(progress)
    return tail, progress


class Follower:
    """Joins the parts above; owns `tail` and `journal`."""

    def __init__(
        self, tail: LogTail, reader: LogReader, publisher: Publisher, journal: Journal
    ) -> None:
        self.lag_bytes = 0
        """How much of the log had been written and not read at the last heartbeat, or the end."""
        self.tail = tail
        self.reader = reader
        self._publisher = publisher
        self._journal = journal
        self._stored: Place | None = None
        self._told = (0, 0)

    def repeat(self) -> None:
        """Put the envelopes of which nobody knows whether they have been put."""
        if envelopes := self._journal.envelopes():
            self._publisher.put(envelopes)
            self._publisher.counters.repeated += len(envelopes)
            self._journal.clear()

    def read(self) -> bool:
        """Read a piece of the log, and publish what is due; whether there was any."""
        return self._read() > 0

    def beat(self) -> None:
        """Publish what there is and a heartbeat, and tell what is missing."""
        self._publish()
        self._publisher.put_heartbeat()
        self.lag_bytes = self.tail.lag_bytes()
        self._tell()

    def finish(self) -> None:
        """Publish what has been logged so far.

        What is in a statement is left to the next follower, if there can be one.
        """
        time.sleep(SETTLE_SECONDS)
        left = self.tail.lag_bytes()
        while left > 0 and (size := self._read()):
            left -= size
        if not self._journal.is_durable:
            for entry in self.reader.flush():
                self._publisher.add(entry)
        self._publish()
        self.lag_bytes = self.tail.lag_bytes()
        self._tell()

    def close(self) -> None:
        """Let another follower use the journal."""
        self.tail.close()
        self._journal.close()

    def _read(self) -> int:
        lines = self.tail.read()
        for entry in self.reader.read(*lines):
            self._publisher.add(entry)
        if self._publisher.is_due():
            self._publish()
        return sum(len(row) + 1 for row in lines.rows)

    def _publish(self) -> None:
        place = self.tail.place()
        envelopes = self._publisher.take()
        if place is None or (place == self._stored and not envelopes):
            return
        progress = self.reader.take_progress(place)
        if progress is None:
            return  # still reading what has been published
        self._journal.store(progress, envelopes)
        self._stored = place
        if envelopes:
            self._publisher.put(envelopes)
            self._journal.clear()

    def _tell(self) -> None:
        missing, malformed = self.reader.missing, self.reader.malformed
        if (missing, malformed) != self._told:
            self._told = missing, malformed
            _log.warning(
                "activity: gap: %d rows of the log are missing, %d lines are no rows",
                missing,
                malformed,
            )
