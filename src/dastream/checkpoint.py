"""Durable progress: through which position each shard of a stream has been delivered."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from dastream.errors import ConfigError, ServiceError
from dastream.settings import split_url

__all__ = ["Checkpoints", "MemoryCheckpoints", "SqliteCheckpoints", "open_checkpoints"]


class Checkpoints(Protocol):
    """The contract of every checkpoint store. Only the pipeline commits."""

    def progress(self, stream: str) -> Mapping[str, str]:
        """The committed sequence number of each shard that has one."""
        ...

    def commit(self, stream: str, shard: str, through: str) -> None:
        """Store, durably when it returns, that a shard is delivered through a position."""
        ...

    def close(self) -> None:
        """Let another consumer use the store."""
        ...


def open_checkpoints(url: str) -> Checkpoints:
    """The store that a URL names: `sqlite:///FILE`. Raises ConfigError."""
    parts = split_url(url)
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.rstrip("/").startswith("/"):
        return SqliteCheckpoints(Path(unquote(parts.path)))
    raise ConfigError("state: the URL is not sqlite:///FILE", hint="write sqlite:///var/lib/…")


class MemoryCheckpoints:
    """Progress that ends with the process, for looking at a stream."""

    def __init__(self) -> None:
        self._through: dict[tuple[str, str], str] = {}

    def progress(self, stream: str) -> Mapping[str, str]:
        return {shard: through for (of, shard), through in self._through.items() if of == stream}

    def commit(self, stream: str, shard: str, through: str) -> None:
        self._through[stream, shard] = through

    def close(self) -> None:
        """Nothing to let go of."""


class SqliteCheckpoints:
    """Progress in a SQLite file. A lock file beside it refuses a second consumer.

    Raises ConfigError if the file is in use or is no such store, ServiceError if it cannot be
    written later on.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise _unusable(error) from error
        try:
            self._database = _open_database(path)
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise _unusable(error) from error

    def progress(self, stream: str) -> Mapping[str, str]:
        try:
            rows = self._database.execute(
                "SELECT shard, through FROM checkpoint WHERE stream = ?", (stream,)
            )
            return dict(rows.fetchall())
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def commit(self, stream: str, shard: str, through: str) -> None:
        try:
            with self._database:
                self._database.execute(
                    "INSERT INTO checkpoint VALUES (?, ?, ?)"
                    " ON CONFLICT (stream, shard) DO UPDATE SET through = excluded.through",
                    (stream, shard, through),
                )
        except sqlite3.Error as error:
            raise ServiceError(
                f"state: cannot commit ({error})", hint="check the disk's free space"
            ) from error

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)


def _unusable(error: Exception) -> ConfigError:
    return ConfigError(
        f"state: cannot open the file ({error})",
        hint="give --state another file; this one is damaged, not dastream's or not yours",
    )


def _open_database(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, check_same_thread=False)  # one after another may use it
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS checkpoint (stream TEXT, shard TEXT,"
            " through TEXT NOT NULL, PRIMARY KEY (stream, shard))"
        )
    except BaseException:
        database.close()
        raise
    return database


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            "state: another consumer uses this file",
            hint="stop it, or give --state another file and --sink another place",
        ) from None
    return descriptor
