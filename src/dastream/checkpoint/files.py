"""SQLite files with progress in them: a lock beside each, and errors that say what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

from dastream.errors import ConfigError, DastreamError, ServiceError

__all__ = ["lock", "unusable", "unwritten"]

_LOCKED = "another program has the file open and locked, such as a backup: end that"
_BROKEN = "the disk is full or broken"
_READ_ONLY = "let this user write the file and its directory; a file system may be read-only"
_NO_LOCKS = "the file system has no locks, as NFS may have none: take a local disk"
_NOWHERE = "its directory is not there: see whether --state is mistyped, or make it"
_OTHER = "give --state another file; this one is damaged, or of another program"

_PASSING = frozenset({_LOCKED, _BROKEN})

_BY_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_FULL: _BROKEN,
    sqlite3.SQLITE_IOERR: _BROKEN,  # also where a new file on a full disk cannot be mapped
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
}
_BY_SYSTEM = {
    errno.ENOSPC: _BROKEN,
    errno.EDQUOT: _BROKEN,
    errno.EIO: _BROKEN,
    errno.ENOENT: _NOWHERE,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
}


def lock(path: Path, *, taken: ConfigError) -> int:
    """Keep others from a file until the descriptor is closed. Raises OSError, or `taken`.

    The lock is on a file beside it, as SQLite locks its own. The directory has to be there: a
    mistyped one would be a state that is new, and what waits for the old one would be passed over.
    """
    name = path.with_name(f"{path.name}.lock")
    descriptor = os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise taken from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def unusable(error: Exception) -> DastreamError:
    """Why a file could not be opened: a lock ends, and a disk gets room; else see to the file."""
    hint = _hint(error)
    kind = ServiceError if hint in _PASSING else ConfigError
    return kind(f"state: cannot open the file ({error})", hint=hint)


def unwritten(error: sqlite3.Error) -> ServiceError:
    """Why progress could not be stored, once the file was open."""
    return ServiceError(f"state: cannot commit ({error})", hint=_hint(error))


def _hint(error: Exception) -> str:
    if isinstance(error, OSError):
        return _BY_SYSTEM.get(error.errno or 0, _OTHER)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extends SQLite's own number
    return _BY_SQLITE.get(code, _OTHER)
