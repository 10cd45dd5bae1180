"""Objects as files of a directory."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from dastream.errors import ServiceError
from dastream.storage.contract import StoredObject

__all__ = ["TEMPORARY", "FileStorage"]

TEMPORARY = "_dastream/tmp"
"""Where a file is written before it gets its name; no reader looks there."""

TEMPORARY_AGE_SECONDS_MAX = 3600
"""What is older there was left by a crash: no write takes as long."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""How link(2) says that a file system has none, where a file could be made before."""


class _SweptError(FileNotFoundError):
    """A temporary file has gone before it had its name."""


class FileStorage:
    """Objects as files of a directory: 0600, below directories of 0700.

    A key that is no path below the directory is refused: one with an empty segment, `.` or `..`,
    a NUL, or in the place of the temporary files.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.url = self._root.as_uri()
        self._durable: set[Path] = set()
        self._is_swept = False

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write beside, sync, and link to the name: a link fails where the name is taken."""
        target = self._path(key)
        try:
            self._sweep()
            self._make_durable(target.parent)
            return self._write(data, target)
        except OSError as error:
            raise _file_error("write", error) from error

    def get(self, key: str, bytes_max: int | None = None, *, start: int = 0) -> bytes | None:
        """The file's bytes."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start if start >= 0 else max(0, size + start))
                return file.read(bytes_max)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _file_error("read", error) from error

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Walk the directory, only as much of it as the prefix leaves."""
        directory, _, start = prefix.rpartition("/")
        try:
            for path, size in _files(self._path(directory) if directory else self._root, start):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and not key.startswith(f"{TEMPORARY}/"):
                    yield StoredObject(key, size)
        except OSError as error:
            raise _file_error("list", error) from error

    def _path(self, key: str) -> Path:
        is_ours = key.startswith(f"{TEMPORARY}/")
        if is_ours or "\0" in key or {"", ".", ".."} & set(key.split("/")):
            raise ServiceError(
                "storage: a key is no path below the directory",
                hint="a file cannot have this name: leave the object where it is, or rename it",
            )
        return self._root / key

    def _sweep(self) -> None:
        """Remove what a crash left; what a live writer has there is younger, unless clocks jump."""
        if self._is_swept:
            return
        directory = self._root / TEMPORARY
        self._make_durable(directory)
        for path in directory.iterdir():
            if _age_seconds(path) > TEMPORARY_AGE_SECONDS_MAX:
                path.unlink(missing_ok=True)
        self._is_swept = True

    def _make_durable(self, directory: Path) -> None:
        """Make a directory if need be, and sync its name and those above it, once each.

        One that is there already may have been made by a process that ended before its sync.
        """
        is_there = directory.is_dir()
        if directory == directory.parent or (is_there and directory in self._durable):
            return
        self._make_durable(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            _sync_directory(directory.parent)
        except PermissionError:
            if not is_there:  # where we may not read, a process of ours has made nothing
                raise
        self._durable.add(directory)

    def _write(self, data: bytes, target: Path) -> bool:
        try:
            is_first = self._link(data, target)
        except _SweptError:  # by a process whose clock had jumped, and it sweeps once
            is_first = self._link(data, target)
        # The first writer may have ended before its sync: who finds the name makes it durable, too.
        _sync_directory(target.parent)
        return is_first

    def _link(self, data: bytes, target: Path) -> bool:
        temporary = self._write_temporary(data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            if temporary.exists():
                raise
            raise _SweptError(*error.args, str(temporary)) from None
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise _no_links(target) from error
            raise
        else:
            return True
        finally:
            temporary.unlink(missing_ok=True)

    def _write_temporary(self, data: bytes) -> Path:
        directory = self._root / TEMPORARY
        self._make_durable(directory)
        path = directory / secrets.token_hex(16)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0  # its writer is done with it


def _files(directory: Path, start: str = "") -> Iterator[tuple[Path, int]]:
    """The files below a directory in the order of their keys, and their sizes.

    Of the directory's own names only those that begin with `start`. Links to directories are left
    out, and what goes meanwhile.
    """
    try:
        with os.scandir(directory) as entries:
            found = sorted((e for e in entries if e.name.startswith(start)), key=_place)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif (size := _size(entry)) is not None:
            yield Path(entry.path), size


def _place(entry: os.DirEntry[str]) -> str:
    """Where an entry stands among its neighbours: keys go on after a directory's name."""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _size(entry: os.DirEntry[str]) -> int | None:
    """A file's size, None for what is no file or is gone."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _no_links(target: Path) -> ServiceError:
    return ServiceError(
        f"storage: cannot write {target} (no hard links)",
        hint="its file system has no hard links, as exFAT and some network file systems, and with "
        "nothing else is an object written once: take another place",
    )


def _file_error(step: str, error: OSError) -> ServiceError:
    place = f" {error.filename}" if error.filename else " a file"
    hint = _FILE_HINTS.get(
        error.errno or 0, "look what lies at this place, and if its disk is sound"
    )
    return ServiceError(f"storage: cannot {step}{place} ({error.strerror})", hint=hint)


_FORBIDDEN = "let this user read and write the directory, and all that is below it"
_FULL = "make room on the disk"
_FILE_HINTS = {
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "its file system is read-only: take another place, or mount it to be written",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}
