"""Gathering records until there are enough for an invocation, or they are old enough."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from dastream.local.firehose.reader import SourceRecord
from dastream.local.firehose.transformation import request_bytes
from dastream.local.lambda_function import REQUEST_BYTES_MAX

__all__ = ["BufferingHints", "RecordBuffer"]

_REQUEST_FRAME_BYTES = 4096  # the event without its records


class BufferingHints(NamedTuple):
    """How much is gathered: either bound suffices."""

    bytes_max: int
    seconds_max: float

    def are_met(self, size: int, *, since: float) -> bool:
        """Whether `size` bytes, the oldest of them from `since` (monotonic), are enough."""
        return size >= self.bytes_max or time.monotonic() - since >= self.seconds_max


class RecordBuffer:
    """Gathers records for the transformation, by size and age, and within Lambda's limit."""

    def __init__(self, hints: BufferingHints) -> None:
        self._hints = hints
        self._records: deque[tuple[float, SourceRecord]] = deque()
        self._bytes = 0

    def add(self, records: list[SourceRecord]) -> None:
        """Append records."""
        now = time.monotonic()
        self._records.extend((now, record) for record in records)
        self._bytes += sum(len(record.data) for record in records)

    @property
    def is_due(self) -> bool:
        """Whether the hints say that it is time to transform."""
        return bool(self) and self._hints.are_met(self._bytes, since=self._records[0][0])

    def __bool__(self) -> bool:
        return bool(self._records)

    def take(self) -> list[SourceRecord]:
        """The oldest records that make a batch: one at least, even if it is over the limits."""
        batch: list[SourceRecord] = []
        data_left, request_left = self._hints.bytes_max, REQUEST_BYTES_MAX - _REQUEST_FRAME_BYTES
        while self._records:
            _, record = self._records[0]
            data_left -= len(record.data)
            request_left -= request_bytes(record)
            if batch and (data_left < 0 or request_left < 0):
                break
            batch.append(self._records.popleft()[1])
            self._bytes -= len(record.data)
        return batch
