"""The files of PostgreSQL's log, in the order in which the logging collector wrote them.

A file's name says little: it may come back after a week (`postgresql-%a.log`), and local time
goes back in autumn. So files stand in the order of their first rows, and a name under which
another first row appears is another file. Where both logs are written, JSON is read and not CSV.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from dastream.activity.log_time import MOMENT, LogClock
from dastream.errors import ConfigError, SourceError

__all__ = ["LogFile", "LogFiles", "Place", "has_log", "open_log"]

LOOK_SECONDS = 1.0
"""How often all files are looked at. What changes the directory itself is seen at once."""

_BEGINNING_BYTES = 4096  # there may be a torn row before the first one
_JSON, _CSV = ".json", ".csv"


class LogFile(NamedTuple):
    """A file by the time of its first row, in UTC, and its name. They sort as they were written."""

    since: str
    name: str


class Place(NamedTuple):
    """Where a row stands in the log: its file, and the offset of its first byte.

    Places sort as the log was written.
    """

    since: str
    name: str
    offset: int

    @property
    def file(self) -> LogFile:
        """The file that it is in."""
        return LogFile(self.since, self.name)


class _Seen(NamedTuple):
    signature: tuple[int, int, int]
    since: str | None


class LogFiles:
    """Looks for files that were not there before.

    Raises ConfigError where a file may not be read or its time is in an unknown zone, and
    SourceError if the directory is gone.
    """

    def __init__(self, directory: Path, clock: LogClock) -> None:
        self._directory = directory
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._directory_ns = 0
        self._looked_at = float("-inf")

    def look(self, *, now: bool = False) -> list[LogFile]:
        """The files that have begun since the last look, in order; at first, all of them."""
        changed_ns = self._changed_ns()
        is_due = time.monotonic() >= self._looked_at + LOOK_SECONDS
        if not (now or is_due or changed_ns != self._directory_ns):
            return []
        self._directory_ns = changed_ns
        self._looked_at = time.monotonic()
        names = self._names()
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        return sorted(file for name in names if (file := self._begun(name)))

    def _changed_ns(self) -> int:
        try:
            return self._directory.stat().st_mtime_ns
        except OSError as error:
            raise SourceError(
                f"postgres log: the directory cannot be read ({type(error).__name__})"
            ) from None

    def _names(self) -> list[str]:
        try:
            names = set(os.listdir(self._directory))  # noqa: PTH208 - names are what is wanted
        except OSError as error:
            raise _unreadable(error) from None
        # The collector makes both files before it writes to either.
        return [
            name
            for name in names
            if name.endswith(_JSON)
            or (name.endswith(_CSV) and name.removesuffix(_CSV) + _JSON not in names)
        ]

    def _begun(self, name: str) -> LogFile | None:
        path = self._directory / name
        try:
            status = path.stat()
        except FileNotFoundError:
            return None  # deleted since it was listed
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        before = self._seen.get(name)
        if before is not None and before.signature == signature:
            return None
        since = self._since(path)
        self._seen[name] = _Seen(signature, since)
        if since is None or (before is not None and before.since == since):
            return None
        return LogFile(since, name)

    def _since(self, path: Path) -> str | None:
        """When a file begins, None if it has no row yet or is no log."""
        try:
            descriptor = open_log(path)
        except FileNotFoundError:
            return None
        try:
            found = MOMENT.search(os.pread(descriptor, _BEGINNING_BYTES, 0))
        finally:
            os.close(descriptor)
        return self._clock.utc(found[1].decode()) if found else None


def open_log(path: Path) -> int:
    """A descriptor of a file of the log. Raises ConfigError if it may not be read."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(error) from None


def has_log(directory: Path) -> bool:
    """Whether a log that can be read is there. Raises ConfigError if the directory may not be."""
    try:
        return any(path.suffix in (_JSON, _CSV) for path in directory.iterdir())
    except FileNotFoundError:
        raise ConfigError("postgres log: the directory does not exist") from None
    except NotADirectoryError:
        raise ConfigError("postgres log: it is not a directory") from None
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> ConfigError:
    return ConfigError(
        f"postgres log: it cannot be read ({type(error).__name__})",
        hint="set log_file_mode = 0640, and run as a member of the server's group",
    )
