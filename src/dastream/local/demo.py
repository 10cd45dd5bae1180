"""The demo: the whole system, a session of real SQL, and whether all of it arrived."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dastream.errors import ConfigError
from dastream.event import Event
from dastream.lake.reader import read_event, read_lines, recognise
from dastream.local.postgres import Flavour
from dastream.local.system import LocalSystem
from dastream.local.workload import (
    PASSWORD,
    SCRIPT,
    WORKLOAD,
    Sent,
    Statement,
    run_script,
    run_workload,
)
from dastream.storage import FileStorage, Storage, copy_objects

__all__ = ["WAYS", "Outcome", "run_demo"]

WAYS = ("firehose", "lake")
"""The two ways of delivery, by the prefix of their objects."""

_MARKER = ".dastream-demo"
"""Says that a directory was made by a demo, so that the next one may replace it."""

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found, all in `directory`.

    `events` are those that our consumer delivered, in order of time; `delivered` counts by way.
    `differences` says in words what is not as it should be: empty if all is well.
    """

    directory: Path
    server: str
    sent: Sent
    events: Sequence[Event]
    delivered: dict[str, int]
    differences: Sequence[str]


def run_demo(
    directory: Path, *, statements: int, flavour: Flavour | None, suite: int, tell: Tell
) -> Outcome:
    """Run the system, send SQL, stop it, and compare. `tell` hears of each step: name, result.

    Raises ConfigError if the directory holds something else.
    """
    _make_empty(directory)
    sent = Sent()
    with LocalSystem(flavour=flavour, suite=suite) as system:
        tell("server", system.server.description)
        tell("AWS endpoint", f"{system.endpoint.url} (Kinesis, KMS, S3, DynamoDB, RDS)")
        tell("activity stream", system.start_activity_stream().stream or "")
        run_script(system.server, sent)
        tell("scripted session", f"{len(sent.statements)} statements")
        run_workload(system.server, sent, statements=statements)
        tell("workload", f"{statements:,} statements from two clients")
        system.stop_activity_stream()
        tell("delivery", "all that was published is delivered")
        for way in WAYS:
            copy_objects(system.storage(way), FileStorage(directory / way))
        server = system.server.description
    delivered = {way: list(_events(FileStorage(directory / way))) for way in WAYS}
    return Outcome(
        directory=directory,
        server=server,
        sent=sent,
        events=sorted(delivered["lake"], key=_order),
        delivered={way: len(events) for way, events in delivered.items()},
        differences=tuple(_differences(directory, sent, delivered)),
    )


def _make_empty(directory: Path) -> None:
    if directory.exists():
        if not (directory / _MARKER).exists() and any(directory.iterdir()):
            raise ConfigError(
                f"demo: {directory} holds something that is not a demo's",
                hint="give another directory with --dir",
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    (directory / _MARKER).touch()


def _events(storage: Storage) -> Iterator[Event]:
    for stored in storage.list():
        item = recognise(stored)
        if item is not None:
            yield from (read_event(text) for _, text in read_lines(storage, item))


def _order(event: Event) -> tuple[int, str, int]:
    """By time; within its millisecond by session and statement."""
    columns = event.columns
    return columns.log_time_us or 0, columns.session_id or "", int(columns.statement_id or 0)


def _differences(directory: Path, sent: Sent, delivered: dict[str, list[Event]]) -> Iterator[str]:
    failed = sum(1 for _ in FileStorage(directory / "firehose").list("processing-failed/"))
    if failed:
        yield f"firehose: {failed} objects of records that failed, in firehose/processing-failed"
    for way, events in delivered.items():
        yield from (f"{way}: {difference}" for difference in _compare(sent, events))
    ids = {way: {event.id: event.entry for event in events} for way, events in delivered.items()}
    if ids["firehose"] != ids["lake"]:
        yield "the two ways delivered different events"
    for path in _files_holding(PASSWORD.encode(), directory):
        yield f"{path}: holds the password"


def _compare(sent: Sent, events: Sequence[Event]) -> Iterator[str]:
    """Each statement that a client sent is there once, by text and bind values."""
    ours = [event for event in events if event.columns.client_application in (SCRIPT, WORKLOAD)]
    arrived = Counter(_statements(ours))
    expected = Counter(sent.statements)
    for statement, count in (expected - arrived).items():
        yield f"missing {count} time(s): {statement.text}"
    for statement, count in (arrived - expected).items():
        yield f"there {count} time(s) too often: {statement.text}"
    failed_logins = sum(event.columns.command == "AUTH FAILURE" for event in events)
    if failed_logins != sent.failed_logins:
        yield f"{failed_logins} failed logins instead of {sent.failed_logins}"
    doubles = [id for id, count in Counter(event.id for event in events).items() if count > 1]
    if doubles:
        yield f"{len(doubles)} event ids are there more than once"


def _statements(events: Iterable[Event]) -> Iterator[Statement]:
    """The statements of events. One that touches several objects has an event for each."""
    seen: set[tuple[str | None, str | None]] = set()
    for event in events:
        columns = event.columns
        number = (columns.session_id, columns.statement_id)
        if columns.statement is not None and number not in seen:
            seen.add(number)
            yield Statement(columns.statement, tuple(p or "" for p in columns.params))


def _files_holding(needle: bytes, directory: Path) -> Iterator[Path]:
    """Files that hold some bytes, as they are or in the lines that they decompress to."""
    storage = FileStorage(directory)
    for stored in storage.list():
        item = recognise(stored)
        texts = [storage.get(stored.key) or b""]
        if item is not None:
            texts += [text for _, text in read_lines(storage, item)]
        if any(needle in text for text in texts):
            yield directory / stored.key
