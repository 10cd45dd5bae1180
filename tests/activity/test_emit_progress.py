"""A reader that goes on where another one stopped gives what one alone would give."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dastream.activity import log_tail
from dastream.activity.entry import Server, encode
from dastream.activity.journal import Journal
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader
from dastream.activity.progress import Progress

RECORDED = sorted((Path(__file__).parents[1] / "golden" / "recorded").glob("*/server.json"))
SERVER = Server("15", "h")


def unpack(recording, to):
    for packed in recording.parent.glob("postgresql*.gz"):
        (to / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return recording.parent.name.partition("-")[2]


def entries(directory, mode):
    """The entries of a whole log."""
    tail = LogTail(directory, start="beginning", still_seconds=0.0)
    reader = LogReader(SERVER, mode=mode)
    found = []
    while (lines := tail.read()).rows:
        found += [encode(entry) for entry in reader.read(*lines)]
    tail.close()
    return found


def piece(directory, mode, journal, chunks):
    """The entries of the next chunks, by a reader of their own, and whether they are the last."""
    progress = journal.progress() or Progress()
    tail = LogTail(directory, start=progress.begin or "beginning", still_seconds=0.0)
    reader = LogReader(SERVER, mode=mode, progress=progress)
    found = []
    while chunks and (lines := tail.read()).rows:
        found += [encode(entry) for entry in reader.read(*lines)]
        chunks -= progress.through is None or tail.place() > progress.through
    journal.store(reader.take_progress(tail.place()))
    tail.close()
    return found, chunks > 0


def entries_in_pieces(directory, mode, chunks):
    journal = Journal(None, publishes="")
    found, is_last = [], False
    while not is_last:
        more, is_last = piece(directory, mode, journal, chunks)
        found += more
    journal.close()
    return found


@pytest.mark.parametrize("recording", RECORDED, ids=lambda one: one.parent.name)
@pytest.mark.parametrize(("chunk_bytes", "chunks"), [(1009, 1), (2003, 3), (10007, 1)])
def test_readers_one_after_another_give_what_one_alone_gives(
    recording, chunk_bytes, chunks, tmp_path, monkeypatch
):
    monkeypatch.setattr(log_tail, "CHUNK_BYTES", chunk_bytes)
    mode = unpack(recording, tmp_path)
    assert entries_in_pieces(tmp_path, mode, chunks) == entries(tmp_path, mode)


def row(line_num, message="", **members):
    whole = {
        "timestamp": f"2026-01-02 03:04:{line_num:02}.000 UTC",
        "pid": 7,
        "session_id": "69573000.7",
        "line_num": line_num,
        "ps": "SELECT",
        "error_severity": "LOG",
        "message": message,
        "backend_type": "client backend",
    }
    return json.dumps(whole | members, separators=(",", ":")).encode() + b"\n"


def test_what_pgaudit_says_late_of_a_second_relation_is_of_the_same_statement(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(log_tail, "CHUNK_BYTES", 64)
    rows = [
        row(1, "duration: 1.000 ms  execute s/p: SELECT a"),
        row(2, "AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.t,SELECT a,<none>,1"),
        row(3, "AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.u,SELECT a,<none>,1"),
        row(4, "duration: 1.000 ms  bind s/p: SELECT b"),
        row(5, "duration: 1.000 ms  execute s/p: SELECT b"),
        row(6, "disconnection: session time: 0:00:01"),
    ]
    (tmp_path / "1.json").write_bytes(b"".join(rows))
    found = [json.loads(one) for one in entries_in_pieces(tmp_path, "pgaudit", 1)]
    assert [(e["statementId"], e["command"], e["objectName"]) for e in found] == [
        (2, "SELECT", "public.t"),
        (2, "SELECT", "public.u"),
        (3, "SELECT", None),
        (4, "DISCONNECT", None),
    ]
    assert [json.dumps(one) for one in found] == [
        json.dumps(json.loads(one)) for one in entries(tmp_path, "pgaudit")
    ]


def read_rows(reader, *rows):
    return [entry.command_text for entry in reader.read([one.strip() for one in rows])]


def statement(line_num, text, **members):
    return row(line_num, f"duration: 1.000 ms  statement: {text}", **members)


def test_rows_that_are_missing_are_counted():
    reader = LogReader(SERVER, mode="statements")
    assert read_rows(reader, statement(7, "SELECT 1"), statement(8, "SELECT 2")) != []
    assert reader.missing == 0, "what was before the first row that was read is not asked for"
    read_rows(reader, statement(12, "SELECT 3"), statement(13, "SELECT 4"))
    assert reader.missing == 3


def test_rows_that_are_missing_from_the_beginning_of_a_session_are_counted():
    since = int("69573000", 16) - 1
    reader = LogReader(SERVER, mode="statements", progress=Progress(since=since))
    read_rows(reader, statement(3, "SELECT 1"))
    read_rows(reader, statement(3, "SELECT 1", session_id=f"{since:x}.8"))
    assert reader.missing == 2


def test_rows_of_all_processes_are_counted():
    reader = LogReader(SERVER, mode="statements")
    checkpoint = {"backend_type": "checkpointer", "session_id": "69573000.9"}
    read_rows(reader, row(1, "checkpoint starting", **checkpoint))
    read_rows(reader, row(4, "checkpoint complete", **checkpoint))
    assert reader.missing == 2


AUDITED = row(3, "AUDIT: SESSION,1,1,MISC,DO,,,DO $$ $$,<none>,0", ps="DO")


@pytest.mark.parametrize(
    "end",
    [
        {"session_id": "69573001.2", "message": "starting PostgreSQL 15.18 on anything"},
        {"message": "all server processes terminated; reinitializing"},
    ],
    ids=["another server", "reinitialized"],
)
def test_what_a_lost_session_was_doing_is_published_when_the_server_comes_back(end):
    reader = LogReader(SERVER, mode="pgaudit")
    postmaster = {"session_id": "69572000.1", "backend_type": "postmaster"}
    assert read_rows(reader, row(1, "ready", **postmaster), AUDITED) == []
    assert read_rows(reader, row(2, "reloading", **postmaster)) == []
    assert read_rows(reader, row(3, **(postmaster | end))) == ["DO $$ $$"]
