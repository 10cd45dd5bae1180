"""Entries of all scenes, from a recorded log or from a server that runs."""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import players

from dastream.activity.entry import Entry, Server, encode
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader, Mode
from dastream.local.postgres import PostgresServer
from dastream.local.postgres_programs import Programs

RECORDED = Path(__file__).parent / "recorded"
READ_SECONDS_MAX = 20
SETTINGS = {
    "deadlock_timeout": "200ms",
    "max_prepared_transactions": "4",
}
"""Of a server that is recorded, over those of `PostgresServer`."""


class Recording(NamedTuple):
    """The log of a server, and what is to become of it.

    `entries.jsonl` has a line for each entry. A member that is as in the entry before of the same
    session is left out.
    """

    directory: Path

    @property
    def server(self) -> Server:
        described = msgspec.json.decode((self.directory / "server.json").read_bytes())
        return Server(described["version"], "127.0.0.1")

    @property
    def mode(self) -> Mode:
        return "pgaudit" if self.directory.name.endswith("-pgaudit") else "statements"

    def unpack(self, to: Path) -> None:
        for packed in self.directory.glob("*.gz"):
            (to / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))

    def entries(self, log_directory: Path) -> list[Entry]:
        self.unpack(log_directory)
        return read_log(log_directory, LogReader(self.server, mode=self.mode))

    def expected(self) -> list[dict[str, Any]]:
        sessions: dict[str, dict[str, Any]] = {}
        lines = (self.directory / "entries.jsonl").read_bytes().splitlines()
        return [_whole(msgspec.json.decode(line), sessions) for line in lines]

    def expect(self, entries: Iterable[Entry]) -> None:
        """Take these entries for right."""
        sessions: dict[str, dict[str, Any]] = {}
        lines = [msgspec.json.encode(_changed(members(one), sessions)) for one in entries]
        (self.directory / "entries.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def recordings() -> list[Recording]:
    return [Recording(one.parent) for one in sorted(RECORDED.glob("*/server.json"))]


def members(entry: Entry) -> dict[str, Any]:
    return msgspec.json.decode(encode(entry))


def _changed(entry: dict[str, Any], sessions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    before = sessions.get(entry["sessionId"], {})
    sessions[entry["sessionId"]] = entry
    changed = {name: value for name, value in entry.items() if before.get(name, ...) != value}
    return {"sessionId": entry["sessionId"]} | changed


def _whole(line: dict[str, Any], sessions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    entry = sessions.get(line["sessionId"], {}) | line
    sessions[line["sessionId"]] = entry
    return entry


def read_log(directory: Path, reader: LogReader) -> list[Entry]:
    """The entries of a log that ends with the scene `end`."""
    tail = LogTail(directory, start="beginning")
    entries: list[Entry] = []
    deadline = time.monotonic() + READ_SECONDS_MAX
    while not any(_is_end(entry) for entry in entries[-20:]):
        assert time.monotonic() < deadline, "the log has no end"
        new = [*reader.read(*tail.read())]
        entries += new
        if not new:
            time.sleep(0.01)
    tail.close()
    return [*entries, *reader.flush()]


def _is_end(entry: Entry) -> bool:
    return entry.client_application == "end" and entry.command == "DISCONNECT"


class Trail(NamedTuple):
    """The entries of all scenes, and what kind of server they are from."""

    mode: Mode
    major: int
    entries: list[Entry]

    @property
    def has_objects(self) -> bool:
        return self.mode == "pgaudit"

    def scene(self, name: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.client_application == name]

    def statements(self, name: str) -> list[list[Entry]]:
        """Each statement of a scene as its entries, by their numbers, session after session."""
        found: dict[tuple[str, int], list[Entry]] = {}
        for entry in self.scene(name):
            if entry.command not in ("CONNECT", "DISCONNECT"):
                found.setdefault((entry.session_id, entry.statement_id), []).append(entry)
        sessions = list(dict.fromkeys(session for session, _ in found))
        return [
            sorted(found[key], key=lambda entry: entry.substatement_id)
            for key in sorted(found, key=lambda key: (sessions.index(key[0]), key[1]))
        ]

    def statement(self, scene: str, text: str) -> list[Entry]:
        """The entries of the one statement with this text."""
        (found,) = [s for s in self.statements(scene) if text in [e.command_text for e in s]]
        return found


@contextlib.contextmanager
def played(programs: Programs) -> Iterator[PostgresServer]:
    """A server on which all scenes have been played."""
    with PostgresServer(programs=programs, settings=SETTINGS) as server:
        players.play(server)
        yield server


def live(programs: Programs) -> Trail:
    """The entries of a server that runs for this only."""
    with played(programs) as server:
        reader = LogReader(Server(server.version, server.host), mode=server.mode)
        entries = read_log(server.log_directory, reader)
        return Trail(server.mode, _major(server.version), entries)


def replayed(recording: Recording, log_directory: Path) -> Trail:
    entries = recording.entries(log_directory)
    return Trail(recording.mode, _major(recording.server.version), entries)


def _major(version: str) -> int:
    return int(version.partition(".")[0])
