"""What a Kinesis holds: streams, shards and records, in SQLite.

Everything happens in a `transaction()`, one at a time. Records are found through one index of
shard and serial, so a put costs the same however many there are, and a read what it returns.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dastream.local.database import open_database
from dastream.local.kinesis import tokens

__all__ = ["Shard", "Store", "Stored", "Stream"]

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS clock (serial INTEGER NOT NULL);
    INSERT INTO clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
    CREATE TABLE IF NOT EXISTS stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL, mode TEXT NOT NULL, retention_hours INTEGER NOT NULL,
        tags TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS shard (
        id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, number INTEGER NOT NULL,
        hash_start TEXT NOT NULL, hash_end TEXT NOT NULL, parent INTEGER, adjacent_parent INTEGER,
        start INTEGER NOT NULL, end INTEGER, UNIQUE (stream, number));
    CREATE TABLE IF NOT EXISTS record (
        serial INTEGER PRIMARY KEY, shard INTEGER NOT NULL, partition_key TEXT NOT NULL,
        data BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS record_of_shard ON record (shard)
"""


class Stream(NamedTuple):
    """A stream. `mode` is PROVISIONED or ON_DEMAND."""

    id: int
    name: str
    created_ms: int
    mode: str
    retention_hours: int
    tags: dict[str, str]

    def horizon_ms(self, now_ms: int) -> int:
        """Before this, records are gone."""
        return now_ms - self.retention_hours * 3_600_000


class Shard(NamedTuple):
    """A shard, with the hash keys that it takes, both inclusive, and its parents' numbers.

    `start` and `end` are serials: those of its records lie between them. An open one has no end.
    """

    id: int
    stream: int
    number: int
    hash_start: int
    hash_end: int
    parent: int | None
    adjacent_parent: int | None
    start: int
    end: int | None

    @property
    def name(self) -> str:
        """The ShardId of the API."""
        return shard_name(self.number)


class Stored(NamedTuple):
    """A record as it lies in a shard."""

    serial: int
    partition_key: str
    data: bytes


class Store:
    """A Kinesis' streams, at `path` or in memory. Raises ConfigError if the file is unusable.

    `now_ms` tells the time, in milliseconds since 1970.
    """

    def __init__(self, path: Path | None, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._lock = threading.Lock()
        self._database = open_database(path, _SCHEMA)
        (self._serial,) = self._one("SELECT serial FROM clock")

    def close(self) -> None:
        """Close the database; nothing is lost."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's changes, durably, or none of them."""
        with self._lock:
            self._database.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def take_serials(self, count: int) -> range:
        """Serials that nobody has had, the first at the present time or later."""
        first = max(tokens.serial_at(self.now_ms()), self._serial + 1)
        self._serial = first + count - 1
        self._run("UPDATE clock SET serial = ?", self._serial)
        return range(first, first + count)

    @property
    def last_serial(self) -> int:
        """The last that was given out."""
        return int(self._serial)

    def add_stream(self, name: str, created_ms: int, mode: str, tags: dict[str, str]) -> int:
        """The id of a new stream, whose name must be free."""
        sql = (
            "INSERT INTO stream (name, created_ms, mode, retention_hours, tags) VALUES (?,?,?,24,?)"
        )
        self._run(sql, name, created_ms, mode, json.dumps(tags))
        (id,) = self._one("SELECT last_insert_rowid()")
        return int(id)

    def stream(self, name: str) -> Stream | None:
        """The stream of that name, if there is one."""
        row = self._one("SELECT * FROM stream WHERE name = ?", name)
        return row and _stream(row)

    def stream_of(self, shard: Shard) -> Stream:
        """The stream that a shard belongs to."""
        return _stream(self._one("SELECT * FROM stream WHERE id = ?", shard.stream))

    def streams(self, after: str, limit: int) -> list[Stream]:
        """Streams in the order of their names."""
        sql = "SELECT * FROM stream WHERE name > ? ORDER BY name LIMIT ?"
        return [_stream(row) for row in self._database.execute(sql, (after, limit))]

    def change_stream(self, stream: Stream) -> None:
        """Write down the stream's retention and tags."""
        sql = "UPDATE stream SET retention_hours = ?, tags = ? WHERE id = ?"
        self._run(sql, stream.retention_hours, json.dumps(stream.tags), stream.id)

    def delete_stream(self, stream: Stream) -> None:
        """Forget a stream and everything in it."""
        sql = "DELETE FROM record WHERE shard IN (SELECT id FROM shard WHERE stream = ?)"
        self._run(sql, stream.id)
        self._run("DELETE FROM shard WHERE stream = ?", stream.id)
        self._run("DELETE FROM stream WHERE id = ?", stream.id)

    def add_shard(
        self, stream: int, number: int, hashes: tuple[int, int], start: int, *parents: int
    ) -> None:
        """An open shard of a stream, for hash keys from the one to the other."""
        parent, adjacent_parent = (*parents, None, None)[:2]
        sql = (
            "INSERT INTO shard (stream, number, hash_start, hash_end, parent, adjacent_parent,"
            " start) VALUES (?,?,?,?,?,?,?)"
        )
        self._run(sql, stream, number, *map(str, hashes), parent, adjacent_parent, start)

    def close_shard(self, shard: Shard, end: int) -> None:
        """Let a shard take no more records."""
        self._run("UPDATE shard SET end = ? WHERE id = ?", end, shard.id)

    def shards(self, stream: int) -> list[Shard]:
        """The shards of a stream, in the order of their numbers."""
        sql = "SELECT * FROM shard WHERE stream = ? ORDER BY number"
        return [_shard(row) for row in self._database.execute(sql, (stream,))]

    def shard(self, id: int) -> Shard | None:
        """The shard of that id, which no other shard ever has."""
        row = self._one("SELECT * FROM shard WHERE id = ?", id)
        return row and _shard(row)

    def add_records(self, rows: Iterable[tuple[int, int, str, bytes]]) -> None:
        """Records as serial, id of the shard, partition key and data."""
        self._database.executemany("INSERT INTO record VALUES (?,?,?,?)", rows)

    def records(self, shard: int, start: int) -> Iterator[Stored]:
        """A shard's records from a serial on. To be used up, or left, before anything else."""
        sql = (
            "SELECT serial, partition_key, data FROM record"
            " WHERE shard = ? AND serial >= ? ORDER BY serial"
        )
        return map(Stored._make, self._database.execute(sql, (shard, start)))

    def trim(self) -> None:
        """Forget records beyond their stream's retention, and shards that closed before it."""
        for stream in self.streams("", -1):
            horizon = tokens.serial_at(stream.horizon_ms(self.now_ms()))
            for shard in self.shards(stream.id):
                self._run("DELETE FROM record WHERE shard = ? AND serial < ?", shard.id, horizon)
            self._run("DELETE FROM shard WHERE stream = ? AND end < ?", stream.id, horizon)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._database.execute(sql, values).fetchone()

    def _run(self, sql: str, *values: Any) -> None:
        self._database.execute(sql, values)


def shard_name(number: int) -> str:
    """The ShardId of a stream's shard."""
    return f"shardId-{number:012d}"


def _stream(row: tuple[Any, ...]) -> Stream:
    return Stream._make((*row[:-1], json.loads(row[-1])))


def _shard(row: tuple[Any, ...]) -> Shard:
    return Shard._make(row)._replace(hash_start=int(row[3]), hash_end=int(row[4]))
