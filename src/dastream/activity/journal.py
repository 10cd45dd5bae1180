"""What an emitter remembers: how far it has published, and the envelopes on their way.

A SQLite file, so that both are stored in one step. Envelopes are encrypted, sessions are numbers
and names: no SQL text and no bind value is in it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dastream.activity.progress import Process, Progress
from dastream.checkpoint.files import lock, unusable, unwritten
from dastream.errors import ConfigError

__all__ = ["Journal"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS process (id TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, envelope BLOB NOT NULL);
"""
_VERSION = 1
_encode = msgspec.msgpack.encode


class Journal:
    """Progress and envelopes in a file, or in memory without one.

    `publishes` says in words what is published where; a file that was made for something else is
    refused. Raises ConfigError if the file is in use, of another kind or unusable, and
    ServiceError if another program has locked it, its disk is full, or it cannot be written later.
    """

    def __init__(self, path: Path | None, *, publishes: str) -> None:
        self.is_durable = path is not None
        self._lock = None if path is None else _lock(path)
        try:
            self._database = _open(path)
            self._check("version", _VERSION)
            self._check("publishes", publishes)
        except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
            self._unlock()
            raise unusable(error) from None
        except ConfigError:
            self._unlock()
            raise

    def progress(self) -> Progress | None:
        """What was stored last, with all processes; None if nothing was."""
        found = self._get("progress")
        if found is None:
            return None
        progress = msgspec.msgpack.decode(found, type=Progress)
        rows = self._database.execute("SELECT id, value FROM process").fetchall()
        progress.processes = {id: msgspec.msgpack.decode(row, type=Process) for id, row in rows}
        return progress

    def envelopes(self) -> list[bytes]:
        """The envelopes that may not have been put."""
        rows = self._database.execute("SELECT envelope FROM outbox ORDER BY number").fetchall()
        return [envelope for (envelope,) in rows]

    def store(self, progress: Progress, envelopes: Sequence[bytes] = ()) -> None:
        """Store progress and the envelopes of what it adds, durably when this returns."""
        processes, progress.processes = progress.processes, {}
        ended = [(id,) for id, process in processes.items() if process is None]
        others = [(id, _encode(one)) for id, one in processes.items() if one is not None]
        with self._transaction("FULL") as database:
            database.execute("REPLACE INTO about VALUES ('progress', ?)", (_encode(progress),))
            database.executemany("DELETE FROM process WHERE id = ?", ended)
            database.executemany("REPLACE INTO process VALUES (?, ?)", others)
            database.execute("DELETE FROM outbox")
            rows = list(enumerate(envelopes))
            database.executemany("INSERT INTO outbox VALUES (?, ?)", rows)

    def clear(self) -> None:
        """The envelopes have been put. If the machine fails now, they may come back."""
        with self._transaction("NORMAL") as database:
            database.execute("DELETE FROM outbox")

    def close(self) -> None:
        """Let another emitter use the file."""
        self._database.close()
        self._unlock()

    @contextmanager
    def _transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        # In WAL mode FULL waits for the disk at each commit, and NORMAL does not.
        try:
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            with self._database:
                self._database.execute("BEGIN")
                yield self._database
        except sqlite3.Error as error:
            raise unwritten(error) from None

    def _check(self, name: str, value: str | int) -> None:
        found = self._get(name)
        if found is None:
            with self._database:
                self._database.execute("INSERT INTO about VALUES (?, ?)", (name, _encode(value)))
        elif msgspec.msgpack.decode(found) != value:
            raise ConfigError(
                f"state: the file is of another {'version' if name == 'version' else 'stream'}",
                hint="give --state another file; a new one begins with what is logged from now on",
            )

    def _get(self, name: str) -> bytes | None:
        row = self._database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    # One thread opens it and another one uses it, one after the other.
    database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _lock(path: Path) -> int:
    try:
        return lock(path, taken=_taken())
    except OSError as error:
        raise unusable(error) from None


def _taken() -> ConfigError:
    return ConfigError(
        "state: another emitter uses this file",
        hint="stop it; two emitters of one server would publish everything twice",
    )
