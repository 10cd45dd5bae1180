"""The lines that PostgreSQL's logging collector writes into its directory, as they come.

The collector opens a new file when the old one is too large or too old, and from then on writes
only there. Names carry the time, so their order is the order of the files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["CUT", "LINE_BYTES_MAX", "LogTail"]

LINE_BYTES_MAX = 16 * 1024 * 1024
"""A longer line is cut to this, so that no statement takes all memory."""

CUT = "<CUT>"
"""Stands at the end of a text of which the rest had to be left out."""

CHUNK_BYTES = 1024 * 1024
_LAST_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class LogTail:
    """Reads whole lines from the JSON log of a directory, in order and across rotation.

    `start` says whether what is there already is read or passed over. `cut` counts the lines
    that were longer than `line_bytes_max`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        start: Literal["end", "beginning"] = "end",
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        self.cut = 0
        self._directory = directory
        self._line_bytes_max = line_bytes_max
        self._file: BinaryIO | None = None
        self._name = ""
        self._partial = b""
        self._is_skipping = False
        if start == "end":
            self._go_to_end()

    def read(self) -> list[bytes]:
        """More lines, without their line ends; none if there are no more for now.

        One call reads about one chunk of the log, so that the caller can see to other things.
        """
        while chunk := self._next_chunk():
            if lines := self._lines(chunk):
                return lines
        return []

    @property
    def position(self) -> tuple[str, int]:
        """The file that is being read, and how many of its bytes have been."""
        return self._name, 0 if self._file is None else self._file.tell()

    def end(self) -> tuple[str, int]:
        """The position that is the end of the log for now."""
        names = self._later_names()
        name = names[-1] if names else self._name
        return name, (self._directory / name).stat().st_size if name else 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _go_to_end(self) -> None:
        for name in self._later_names()[-1:]:
            self._open(name)
        if self._file is not None and self._file.seek(0, 2):
            self._file.seek(-1, 2)
            # In the middle of a line there is nothing to read before its end.
            self._is_skipping = self._file.read(1) != b"\n"

    def _next_chunk(self) -> bytes:
        chunk = self._read_chunk()
        while not chunk and (names := self._later_names()):
            # What the collector wrote between our look and its change of files.
            chunk = self._read_chunk()
            if not chunk:
                self._open(names[0])
                chunk = self._read_chunk()
        return chunk

    def _read_chunk(self) -> bytes:
        return self._file.read(CHUNK_BYTES) if self._file is not None else b""

    def _later_names(self) -> list[str]:
        names = (path.name for path in self._directory.glob("*.json"))
        return sorted(name for name in names if name > self._name)

    def _open(self, name: str) -> None:
        self.close()
        self._file = (self._directory / name).open("rb", buffering=0)
        self._name = name
        self._partial = b""
        self._is_skipping = False

    def _lines(self, chunk: bytes) -> list[bytes]:
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = self._partial + lines[0]
            self._partial = b""
            if self._is_skipping:
                self._is_skipping = False
                del lines[0]
        if not self._is_skipping:
            self._partial += rest
        if len(self._partial) > self._line_bytes_max:
            lines.append(self._partial)
            self._partial = b""
            self._is_skipping = True
        return [line if len(line) <= self._line_bytes_max else self._cut(line) for line in lines]

    def _cut(self, line: bytes) -> bytes:
        """The start of a line that is too long, closed so that it is JSON again.

        What is long in a row is a string, so the cut is in one.
        """
        self.cut += 1
        start = line[: self._line_bytes_max]
        escape = _LAST_ESCAPE.search(start, len(start) - 5)
        if escape:
            before = start[: escape.start() + 1]
            # After an even number of backslashes there is no escape, only escaped backslashes.
            if (len(before) - len(before.rstrip(b"\\"))) % 2:
                start = before[:-1]
        return start.decode(errors="ignore").encode() + CUT.encode() + b'"}'
