"""Checkpoints in a SQLite file, for one consumer on one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dastream.checkpoint.contract import Beginning
from dastream.checkpoint.files import lock, unusable, unwritten
from dastream.errors import ConfigError
from dastream.settings import split_url

__all__ = ["SqliteCheckpoints", "open"]

LOCK_SECONDS_MAX = 2
"""How long to wait for another program that has locked the file."""


def open(url: str) -> SqliteCheckpoints:
    """The store at `sqlite:///FILE`. Raises ConfigError."""
    parts = split_url(url)
    if parts.netloc or not parts.path.rstrip("/").startswith("/"):
        raise ConfigError("state: the URL is not sqlite:///FILE", hint="write sqlite:///var/lib/…")
    return SqliteCheckpoints(Path(unquote(parts.path)))


class SqliteCheckpoints:
    """Progress in a SQLite file. A lock file beside it refuses a second consumer.

    Raises ConfigError if another consumer uses the file, or it cannot be one for progress, and
    ServiceError if another program has locked it, its disk is full, or it cannot be written later.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._lock = lock(path, taken=_taken())
        except OSError as error:
            raise unusable(error) from error
        try:
            self._database = _open_database(path)
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise unusable(error) from error

    def beginning(self, stream: str) -> Beginning | None:
        rows = self._read(
            "SELECT created_ms, start_ms, retention_ms, lost_ms FROM begun WHERE stream = ?", stream
        )
        return Beginning(*rows[0]) if rows else None

    def begin(self, stream: str, beginning: Beginning, *, aside: str) -> None:
        store = ("INSERT OR REPLACE INTO begun VALUES (?, ?, ?, ?, ?)", (stream, *beginning))
        before = self.beginning(stream)
        if before is not None and before.created_ms == beginning.created_ms:
            self._write(store)
            return
        # What lies aside goes only if there is something to take its place.
        make_room = (
            "DELETE FROM checkpoint WHERE stream = ?"
            " AND EXISTS (SELECT 1 FROM checkpoint WHERE stream = ?)"
        )
        self._write(
            (make_room, (aside, stream)),
            ("UPDATE checkpoint SET stream = ? WHERE stream = ?", (aside, stream)),
            store,
        )

    def progress(self, stream: str) -> Mapping[str, str]:
        return dict(self._read("SELECT shard, through FROM checkpoint WHERE stream = ?", stream))

    def commit(
        self, stream: str, shard: str, through: str, seen_ms: Mapping[str, int] | None = None
    ) -> None:
        commit = ("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)", (stream, shard, through))
        if seen_ms is None:
            self._write(commit)
            return
        seen = [("INSERT INTO seen VALUES (?, ?, ?)", (stream, *last)) for last in seen_ms.items()]
        self._write(commit, ("DELETE FROM seen WHERE stream = ?", (stream,)), *seen)

    def seen_ms(self, stream: str) -> Mapping[str, int]:
        return dict(self._read("SELECT instance, arrival_ms FROM seen WHERE stream = ?", stream))

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)

    def _read(self, query: str, stream: str) -> list[Any]:
        try:
            return self._database.execute(query, (stream,)).fetchall()
        except sqlite3.Error as error:
            raise unusable(error) from error

    def _write(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """Run statements in one transaction."""
        try:
            with self._database:
                for statement, values in statements:
                    self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise unwritten(error) from error


def _open_database(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    # One thread after another may use it.
    database = sqlite3.connect(path, timeout=LOCK_SECONDS_MAX, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS checkpoint (stream TEXT, shard TEXT,"
            " through TEXT NOT NULL, PRIMARY KEY (stream, shard))"
        )
        database.execute(
            "CREATE TABLE IF NOT EXISTS begun (stream TEXT PRIMARY KEY,"
            " created_ms INTEGER NOT NULL, start_ms INTEGER NOT NULL,"
            " retention_ms INTEGER NOT NULL, lost_ms INTEGER NOT NULL)"
        )
        database.execute(
            "CREATE TABLE IF NOT EXISTS seen (stream TEXT, instance TEXT,"
            " arrival_ms INTEGER NOT NULL, PRIMARY KEY (stream, instance))"
        )
    except BaseException:
        database.close()
        raise
    return database


def _taken() -> ConfigError:
    return ConfigError(
        "state: another consumer uses this file",
        hint="stop it, or give --state another file and --sink another place",
    )
