"""The rows that PostgreSQL's logging collector writes into its directory, as they come.

The collector opens a new file when the old one is too large or too old, and from then on writes
only there. After a restart of the server the old collector may be a moment behind the new one,
so a file is left only when it has been still for a while.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Literal, NamedTuple

from dastream.activity.log_files import LogFile, LogFiles, Place, open_log
from dastream.activity.log_rows import END_BYTES_MAX, RowFormat, row_format
from dastream.activity.log_time import LogClock

__all__ = ["LINE_BYTES_MAX", "Lines", "LogTail"]

_log = logging.getLogger(__name__)

LINE_BYTES_MAX = 16 * 1024 * 1024
"""A longer row is cut to this, so that no statement takes all memory."""

STILL_SECONDS = 0.2
CHUNK_BYTES = 1024 * 1024
HEAD_BYTES = 256


class Lines(NamedTuple):
    """Rows of one file as they were written, without their line ends, and where each begins."""

    rows: list[bytes]
    file: LogFile
    offsets: list[int]


class LogTail:
    """Reads whole rows from the log of a directory, in order and across rotation.

    `start` says whether what is there already is read or passed over; a place goes on there.
    `cut` counts rows longer than `line_bytes_max`, `gaps` files that went before they were read
    to their end. Raises ConfigError and SourceError as LogFiles does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        start: Literal["end", "beginning"] | Place = "end",
        clock: LogClock | None = None,
        line_bytes_max: int = LINE_BYTES_MAX,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        self.cut = 0
        self.gaps = 0
        self._directory = directory
        self._files = LogFiles(directory, clock or LogClock())
        self._later = deque(self._files.look(now=True))
        self._line_bytes_max = line_bytes_max
        self._still_seconds = still_seconds
        self._still_since: float | None = None
        self._descriptor: int | None = None
        self._file = LogFile("", "")
        self._format: RowFormat = row_format("")
        self._head = b""
        self._offset = 0
        self._partial = b""
        self._is_skipping = False
        self._start(start)

    def read(self) -> Lines:
        """More rows; none if there are no more for now.

        One call reads about one chunk of the log, so that the caller can see to other things.
        """
        while True:
            while data := self._read_chunk():
                if (lines := self._lines(data)).rows:
                    return lines
            if not self._is_left():
                return Lines([], self._file, [])
            if (lines := self._go_to_next_file()).rows:
                return lines

    def place(self) -> Place | None:
        """Where the next row begins, None if there has been no file yet."""
        return Place(*self._file, self._offset) if self._file.name else None

    def lag_bytes(self) -> int:
        """How much of the log has been written and not read."""
        self._look(now=True)
        size = sum(_size(self._directory / file.name) for file in self._later)
        if self._descriptor is not None:
            size += max(os.fstat(self._descriptor).st_size - self._offset, 0)
        return size

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _start(self, start: Literal["end", "beginning"] | Place) -> None:
        if isinstance(start, Place):
            self._go_on(start)
        elif start == "end" and self._later:
            file = self._later[-1]
            self._later.clear()
            if self._open(file):
                self._go_to_end()

    def _go_on(self, place: Place) -> None:
        is_there = place.file in self._later and self._open(place.file)
        self._later = deque(file for file in self._later if file > place.file)
        self._file, self._offset = place.file, place.offset
        if not is_there or self._stat()[0] < place.offset:
            self._give_up_file("is gone")

    def _go_to_end(self) -> None:
        self._offset, _ = self._stat()
        # In the middle of a row there is nothing to read before its end.
        last = self._pread(END_BYTES_MAX, max(self._offset - END_BYTES_MAX, 0))
        ends = [found.end() for found in self._format.end.finditer(last)]
        self._is_skipping = ends[-1:] != [len(last)]

    def _open(self, file: LogFile) -> bool:
        """Begin to read a file; whether it is there."""
        self.close()
        self._file, self._format = file, row_format(file.name)
        self._offset, self._partial = 0, b""
        self._is_skipping = False
        self._still_since = None
        try:
            self._descriptor = open_log(self._directory / file.name)
        except FileNotFoundError:
            return False
        _, self._head = self._stat()
        return True

    def _stat(self) -> tuple[int, bytes]:
        """The size of the file, and how it begins."""
        assert self._descriptor is not None, "asked of a file that is open"
        return os.fstat(self._descriptor).st_size, self._pread(HEAD_BYTES, 0)

    def _pread(self, size: int, offset: int) -> bytes:
        assert self._descriptor is not None, "asked of a file that is open"
        return os.pread(self._descriptor, size, offset)

    def _read_chunk(self) -> bytes:
        if self._descriptor is None:
            return b""
        size, head = self._stat()
        begin = self._offset + len(self._partial)
        if size < begin or not head.startswith(self._head):
            self._give_up_file("was overwritten")
            return b""
        self._head = head
        data = self._pread(min(CHUNK_BYTES, self._line_bytes_max), begin)
        if data:
            self._still_since = None
        return data

    def _look(self, *, now: bool = False) -> None:
        self._later += self._files.look(now=now)

    def _is_left(self) -> bool:
        """Whether there is a later file, and nobody writes into this one any more."""
        self._look()
        if not self._later or self._descriptor is None:
            return bool(self._later)
        now = time.monotonic()
        self._still_since = self._still_since or now
        still_seconds = time.time() - os.fstat(self._descriptor).st_mtime
        return max(still_seconds, now - self._still_since) >= self._still_seconds

    def _go_to_next_file(self) -> Lines:
        """Open the next file; what is left of the old one is a row that was torn."""
        rows = [self._partial] if self._partial else []
        torn = Lines(rows, self._file, [self._offset])
        if not self._open(self._later.popleft()):
            self._give_up_file("is gone")
        return torn

    def _give_up_file(self, what: str) -> None:
        self.gaps += 1
        self._partial = b""
        self.close()
        _log.warning("activity: gap: %s %s before it was read to its end", self._file.name, what)

    def _lines(self, data: bytes) -> Lines:
        data = self._partial + data
        begin = self._skip(data) if self._is_skipping else 0
        ends = [found.end() for found in self._format.end.finditer(data, begin)]
        begins = [begin, *ends]
        rows = [data[at : end - 1] for at, end in zip(begins, ends, strict=False)]
        offsets = [self._offset + at for at in begins]
        self._offset, self._partial = offsets[-1], data[begins[-1] :]
        if len(self._partial) > self._line_bytes_max:
            rows.append(self._partial)
            self._is_skipping = True
            self._offset += len(self._partial) - END_BYTES_MAX
            self._partial = self._partial[-END_BYTES_MAX:]
        return Lines(self._bounded(rows), self._file, offsets[: len(rows)])

    def _bounded(self, rows: list[bytes]) -> list[bytes]:
        bytes_max = self._line_bytes_max
        if max(map(len, rows), default=0) <= bytes_max:
            return rows
        self.cut += sum(len(row) > bytes_max for row in rows)
        cut = self._format.cut
        return [row if len(row) <= bytes_max else cut(row[:bytes_max]) for row in rows]

    def _skip(self, data: bytes) -> int:
        """How much of the data belongs to a row that is not read on."""
        found = self._format.end.search(data)
        if found is None:
            return max(len(data) - END_BYTES_MAX, 0)
        self._is_skipping = False
        return found.end()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
