"""SQLite as the local endpoint uses it: durable in a file, or gone with the process."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from dastream.errors import ConfigError

__all__ = ["open_database"]


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """A connection for all threads, whose users see to it that they come one at a time.

    With a path, a transaction is on the disk when its commit returns, and the file is this
    process's alone (0600, locked). Without one, the database is a temporary file that SQLite
    removes as it opens it, so what does not fit into memory does not stay there. Raises
    ConfigError if the file cannot be used.
    """
    if path is not None:
        _make_private(path)
    try:
        return _connect(str(path or ""), schema)
    except sqlite3.Error as error:
        in_use = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        raise ConfigError(
            f"local endpoint: cannot use {path}: {'it is in use' if in_use else 'no database'}",
            hint="stop the other process, or choose another directory",
        ) from None


def _make_private(path: Path) -> None:
    """The file, there and nobody else's: what SQLite puts beside it gets the same rights."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"local endpoint: cannot write {path}: {error.strerror}",
            hint="choose another directory",
        ) from None


def _connect(path: str, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    try:
        database.executescript(
            "PRAGMA locking_mode = EXCLUSIVE;"
            "PRAGMA auto_vacuum = FULL;"  # what is deleted leaves the file, too
            "PRAGMA journal_mode = WAL;"
            "PRAGMA synchronous = FULL;"
            f"BEGIN IMMEDIATE; {schema}; COMMIT;"
        )
    except sqlite3.Error:
        database.close()
        raise
    return database
