"""Rows that a real server writes only for clients that psycopg cannot be made into."""

from __future__ import annotations

import json

import pytest

from dastream.activity import postgres_log
from dastream.activity.entry import Server
from dastream.activity.postgres_log import LogReader
from dastream.activity.redact import MASK
from dastream.errors import ConfigError

ROW = {
    "timestamp": "2026-01-02 03:04:05.678 UTC",
    "user": "u",
    "dbname": "d",
    "pid": 7,
    "remote_host": "10.0.0.1",
    "remote_port": 5,
    "session_id": "1.7",
    "ps": "SELECT",
    "error_severity": "LOG",
    "application_name": "app",
    "backend_type": "client backend",
}


def lines(*rows):
    return [json.dumps(ROW | row).encode() for row in rows]


def completed(text, kind="statement", **row):
    return {"message": f"duration: 1.500 ms  {kind}: {text}"} | row


def audit(statement_id, text, command="READ,SELECT,TABLE,public.t"):
    return {"message": f"AUDIT: SESSION,{statement_id},1,{command},{text},<none>,3"}


@pytest.fixture
def read():
    def read(*rows, mode="pgaudit"):
        reader = LogReader(Server("15", "10.0.0.9"), mode=mode)
        entries = [*reader.read(lines(*rows)), *reader.flush()]
        return [(entry.statement_id, entry.command, entry.command_text) for entry in entries]

    return read


NAMED = completed("SELECT a", "execute <unnamed>/C_1")
FETCH = completed("SELECT a", "execute fetch from <unnamed>/C_1")
INSERT = [
    audit(2, "INSERT b", "WRITE,INSERT,TABLE,public.t"),
    completed("INSERT b", ps="INSERT"),
]
COMMIT = [audit(3, "COMMIT", "MISC,COMMIT,,"), completed("COMMIT", ps="COMMIT")]


@pytest.mark.parametrize("mode", ["pgaudit", "statements"])
def test_a_portal_that_is_fetched_from_is_one_statement(read, mode):
    assert read(NAMED, FETCH, FETCH, mode=mode) == [(2, "SELECT", "SELECT a")]


def test_a_portal_that_stays_open_is_audited_when_it_is_closed(read):
    assert read(NAMED, *INSERT, FETCH, audit(4, "SELECT a"), *COMMIT) == [
        (3, "INSERT", "INSERT b"),
        (2, "SELECT", "SELECT a"),
        (4, "COMMIT", "COMMIT"),
    ]


def test_a_portal_that_pgaudit_forgets_is_there_at_the_end_of_its_transaction(read):
    assert read(NAMED, *INSERT, *COMMIT) == [
        (3, "INSERT", "INSERT b"),
        (2, "SELECT", "SELECT a"),
        (4, "COMMIT", "COMMIT"),
    ]


def test_a_statement_that_only_looks_like_a_fetch_is_one(read):
    row = completed("DELETE", "execute fetch from x", ps="DELETE")
    assert read(row, mode="statements") == [(2, "DELETE", "DELETE")]


def test_a_function_of_the_fast_path_is_a_call(read):
    row = completed('"loread" (OID 954)', "fastpath function call", ps="<FASTPATH>")
    assert read(row, mode="statements") == [(2, "EXECUTE", '"loread" (OID 954)')]


def test_a_select_is_not_kept_back_when_its_session_ends(read):
    row = completed("SELECT a", "execute <unnamed>")
    end = {"message": "disconnection: session time: 0:00:01", "ps": "idle"}
    assert [command for _, command, _ in read(row, end)] == ["SELECT", "DISCONNECT"]


def test_rows_of_other_processes_are_not_read(read):
    worker = completed("SELECT a", backend_type="parallel worker")
    assert read(worker, {"message": "checkpoint starting", "backend_type": "checkpointer"}) == []


def test_a_line_of_pgaudit_that_was_cut_is_an_entry(read):
    row = {"message": 'AUDIT: SESSION,1,1,READ,SELECT,,,"SELECT ""x<CUT>'}
    assert read(row) == [(2, "SELECT", 'SELECT "x<CUT>')]


def test_sessions_that_never_end_do_not_fill_memory(monkeypatch):
    monkeypatch.setattr(postgres_log, "SESSIONS_MAX", 3)
    reader = LogReader(Server("15", "10.0.0.9"), mode="pgaudit")
    rows = [audit(1, f"SELECT {n}") | {"session_id": f"1.{n}"} for n in range(10)]
    entries = [*reader.read(lines(*rows)), *reader.flush()]
    assert [entry.command_text for entry in entries] == [f"SELECT {n}" for n in range(10)]
    assert reader.statements == 10


def test_a_connection_string_in_the_wrong_place_is_masked():
    row = {
        "message": 'database "host=h password=hunter2" does not exist',
        "error_severity": "FATAL",
        "ps": "startup",
        "state_code": "3D000",
        "dbname": "host=h password=hunter2",
    }
    (entry,) = LogReader(Server("15", "10.0.0.9"), mode="pgaudit").read(lines(row))
    assert (entry.database_name, entry.error_message, entry.db_user_name) == (MASK, MASK, "u")


def test_a_session_over_a_socket_has_no_port():
    row = {"message": "connection authorized: user=u", "remote_host": "[local]"}
    row |= {"remote_port": None, "ps": "authentication"}
    (entry,) = LogReader(Server("15", "10.0.0.9"), mode="pgaudit").read(lines(row))
    assert (entry.net_protocol, entry.remote_port) == ("Unix", None)


def test_a_log_in_local_time_is_refused():
    row = completed("SELECT 1", timestamp="2026-01-02 03:04:05.678 CET")
    with pytest.raises(ConfigError, match="UTC"):
        list(LogReader(Server("", ""), mode="statements").read(lines(row)))


def test_a_duration_goes_back_over_midnight():
    row = completed("SELECT 1", timestamp="2026-01-02 00:00:00.001 UTC")
    (entry,) = LogReader(Server("", ""), mode="statements").read(lines(row))
    assert entry.start_time == "2026-01-01 23:59:59.999500+00"
    assert entry.log_time == "2026-01-02 00:00:00.001000+00"


def test_bytes_that_are_no_text_are_replaced():
    line = lines(completed("SELECT 'X'"))[0].replace(b"X", b"\xff")
    (entry,) = LogReader(Server("", ""), mode="statements").read([line])
    assert entry.command_text == "SELECT '\ufffd'"
