"""An emitter that is started again: on the same log, with peers in memory."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest

from dastream.activity import publisher as publisher_module
from dastream.activity.emitter import Emitter
from dastream.activity.entry import Server, encode
from dastream.activity.log_rows import CUT
from dastream.activity.log_tail import LogTail
from dastream.activity.log_time import LogClock
from dastream.activity.postgres_log import LogReader
from dastream.decode import decode_record
from dastream.errors import ConfigError, SourceError
from dastream.local.postgres import PostgresServer
from dastream.record import Record
from emitting import CLUSTER, Clients, execute
from servers import wait_until_logged

FIRST, SECOND, THIRD = (f"2026-01-02 03:04:0{n}.000 UTC" for n in range(3))


class Peers:
    """Kinesis and KMS. `fail_next` is raised by the next put, after the records were taken."""

    def __init__(self):
        self.taken = []
        self.fail_next = None
        self._data_keys = {}

    def put_records(self, *, StreamName, Records):  # noqa: N803 - boto3's names
        self.taken += [record["Data"] for record in Records]
        failure, self.fail_next = self.fail_next, None
        if failure:
            raise failure
        return {"Records": [{} for _ in Records]}

    def generate_data_key(self, **_):
        key = os.urandom(8)
        self._data_keys[key] = os.urandom(32)
        return {"CiphertextBlob": key, "Plaintext": self._data_keys[key]}

    def events(self):
        unwrap = lambda key, _: self._data_keys[key]  # noqa: E731 - an unwrap is a function
        return [
            event
            for data in self.taken
            for event in decode_record(Record(data), unwrap, resource_id=CLUSTER)
            if event.kind == "activity"
        ]

    def texts(self):
        return [json.loads(event.entry)["commandText"] for event in self.events()]


class Killed(BaseException):
    """Ends an emitter on the spot, like SIGKILL."""


@pytest.fixture
def peers():
    return Peers()


@pytest.fixture
def log(tmp_path):
    directory = tmp_path / "log"
    directory.mkdir()

    def write(name, *rows):
        with (directory / name).open("ab") as file:
            file.write(
                b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in rows)
            )

    write.directory = directory
    return write


def row(timestamp, line_num, text, **members):
    return {
        "timestamp": timestamp,
        "pid": 7,
        "session_id": "69573000.7",
        "line_num": line_num,
        "ps": "SELECT",
        "error_severity": "LOG",
        "message": f"duration: 1.000 ms  statement: {text}",
        "backend_type": "client backend",
    } | members


@pytest.fixture
def emit(log, peers, tmp_path):
    """Runs an emitter until it has read the log to its end."""

    def emit(**options):
        emitter = Emitter(
            log.directory,
            **{
                "stream": "s",
                "resource_id": CLUSTER,
                "kms_key_id": "k",
                "kinesis": peers,
                "kms": peers,
                "state": tmp_path / "state.sqlite",
                "start_at": "beginning",
                "mode": "statements",
            }
            | options,
        )
        emitter.stop()
        emitter.run()
        return emitter

    return emit


def test_what_has_been_published_is_not_published_again(log, emit, peers):
    log("1.json", row(FIRST, 1, "SELECT 1"))
    emit()
    emit()
    log("1.json", row(SECOND, 2, "SELECT 2"))
    emit()
    assert peers.texts() == ["SELECT 1", "SELECT 2"]


def test_numbers_of_statements_go_on(log, emit, peers):
    for number in range(1, 4):
        log("1.json", row(FIRST, number, "SELECT 1"))
        emit()
    assert [json.loads(event.entry)["statementId"] for event in peers.events()] == [2, 3, 4]


def test_records_of_which_nobody_knows_are_put_again_with_the_same_bytes(log, emit, peers):
    log("1.json", row(FIRST, 1, "SELECT 1"))
    peers.fail_next = Killed()
    with pytest.raises(Killed):
        emit()
    log("1.json", row(SECOND, 2, "SELECT 2"))
    assert emit().counters.repeated == 1
    assert peers.texts() == ["SELECT 1", "SELECT 1", "SELECT 2"]
    first, again, other = (event.id for event in peers.events())
    assert first == again != other
    assert peers.taken[0] == peers.taken[1]


def test_a_new_state_begins_at_the_end_and_remembers_where_that_was(log, emit, peers):
    log("1.json", row(FIRST, 1, "SELECT 1"))
    emit(start_at="end")
    log("1.json", row(SECOND, 2, "SELECT 2"))
    log("2.json", row(THIRD, 3, "SELECT 3"))
    emit(start_at="end")
    assert peers.texts() == ["SELECT 2", "SELECT 3"]


def test_a_new_state_before_there_is_a_log_publishes_all_of_it(log, emit, peers):
    emit(start_at="end")
    log("1.json", row(FIRST, 1, "SELECT 1"))
    emit(start_at="end")
    assert peers.texts() == ["SELECT 1"]


def test_files_that_came_and_were_filled_while_nobody_read_are_read(log, emit, peers):
    log("b.json", row(FIRST, 1, "SELECT 1"))
    emit()
    log("b.json", row(FIRST, 2, "SELECT 2"))
    log("a.json", row(SECOND, 3, "SELECT 3"))
    log("c.json", row(THIRD, 4, "SELECT 4"))
    emitter = emit()
    assert peers.texts() == ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4"]
    assert (emitter.missing, emitter.gaps) == (0, 0)


def test_files_that_are_missing_are_told(log, emit, peers, caplog):
    log("1.json", row(FIRST, 1, "SELECT 1"))
    emit()
    (log.directory / "1.json").unlink()
    log("3.json", row(THIRD, 5, "SELECT 5"))
    emitter = emit()
    assert (emitter.gaps, emitter.missing) == (1, 3)
    assert "gap: 1.json is gone" in caplog.text
    assert "gap: 3 rows of the log are missing" in caplog.text
    assert peers.texts() == ["SELECT 1", "SELECT 5"]
    assert "SELECT" not in caplog.text


def test_a_password_in_a_call_is_masked_though_the_function_was_made_long_ago(log, emit, peers):
    body = "BEGIN EXECUTE 'ALTER ROLE x PASSWORD ' || p; END"
    made = f"CREATE FUNCTION f(p text) RETURNS void AS $$ {body} $$ LANGUAGE plpgsql"
    log("1.json", row(FIRST, 1, made, ps="CREATE FUNCTION"))
    emit()
    log("1.json", row(SECOND, 2, "SELECT f('tr0ub4dor-and-3')"))
    emit()
    assert "tr0ub4dor" not in "".join(peers.texts())
    assert len(peers.texts()) == 2


def test_the_state_holds_no_sql_and_no_values(log, emit, peers, tmp_path):
    secret = "SELECT 'a secret of somebody'"
    audit = f'AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.t,"{secret}","value of somebody",1'
    log("1.json", row(FIRST, 1, secret, detail="Parameters: $1 = 'value of somebody'"))
    log("1.json", row(FIRST, 2, "", message=audit))
    peers.fail_next = Killed()
    with pytest.raises(Killed):
        emit(mode="pgaudit")
    with sqlite3.connect(tmp_path / "state.sqlite") as database:
        assert database.execute("SELECT count(*) FROM outbox").fetchone() == (1,)
    database.close()
    files = list(tmp_path.glob("state.sqlite*"))
    assert b"somebody" not in b"".join(file.read_bytes() for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_statement_too_long_to_be_read_whole_is_one_cut_entry(log):
    text = "SELECT '" + "many 'words' of it " * 20_000 + "'"
    quoted = text.replace('"', '""')
    log(
        "1.json", row(FIRST, 1, "", message=f'AUDIT: SESSION,1,1,READ,SELECT,,,"{quoted}",<none>,1')
    )
    log("1.json", row(FIRST, 2, text), row(SECOND, 3, "SELECT 'next'"))
    tail = LogTail(log.directory, start="beginning", line_bytes_max=250_000)
    reader = LogReader(Server("15", "h"), mode="pgaudit")
    found = []
    while (lines := tail.read()).rows:
        found += reader.read(*lines)
    tail.close()
    cut, following = found
    assert cut.command_text.endswith(CUT)
    assert text.startswith(cut.command_text.removesuffix(CUT))
    assert (following.command_text, following.statement_id, tail.cut) == ("SELECT 'next'", 3, 2)


def test_an_outage_at_the_end_is_no_loss(log, emit, peers, monkeypatch, caplog):
    monkeypatch.setattr(publisher_module, "WAIT_SECONDS_MAX", 0.01)
    monkeypatch.setattr(publisher_module, "LAST_SECONDS_MAX", 1.0)
    log("1.json", row(FIRST, 1, "SELECT 1"))
    put, peers.put_records = (
        peers.put_records,
        lambda **call: {"Records": [{"ErrorCode": "InternalFailure"} for _ in call["Records"]]},
    )
    emit()
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert "published after the next start" in caplog.text
    peers.put_records = put
    emit()
    assert peers.texts() == ["SELECT 1"]


def test_local_time_is_refused_without_its_zone_and_published_in_utc_with_it(log, emit, peers):
    log("1.json", row("2026-07-01 12:00:00.000 CEST", 1, "SELECT 1"))
    with pytest.raises(ConfigError, match="not in UTC") as caught:
        emit()
    assert "log_timezone" in caught.value.hint
    emit(log_timezone="Europe/Berlin")
    (event,) = peers.events()
    assert json.loads(event.entry)["logTime"] == "2026-07-01 10:00:00.000000+00"


def test_a_log_directory_that_goes_stops_the_emitter(log, emit, peers):
    log("1.json", row(FIRST, 1, "SELECT 1"))
    emitter = Emitter(
        log.directory, stream="s", resource_id=CLUSTER, kms_key_id="k", kinesis=peers, kms=peers
    )
    emitter.start()
    (log.directory / "1.json").unlink()
    log.directory.rmdir()
    time.sleep(0.5)
    with pytest.raises(SourceError):
        emitter.stop()


@pytest.mark.parametrize("flavour", ["pgaudit", "embedded"])
def test_the_csv_log_gives_what_the_json_log_gives(flavour, tmp_path):
    try:
        server = PostgresServer(flavour=flavour, settings={"log_destination": "jsonlog,csvlog"})
    except ConfigError as error:
        if os.environ.get("DASTREAM_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{error}")
    with server:
        execute(server, "CREATE TABLE t (a int, b text)")
        clients = Clients(server, 300, threads=2)
        clients.start()
        clients.join()
        execute(server, "/* a \"comment\",\nwith lines */ SELECT 'ünï', '\"', ',', E'\\\\n'")
        time.sleep(0.5)
        found = {kind: _entries(server, kind, tmp_path / kind) for kind in ("json", "csv")}
    assert len(found["json"]) > 300
    assert found["csv"] == found["json"]


def test_local_time_of_a_real_server_is_read():
    with PostgresServer(flavour="embedded", settings={"log_timezone": "Asia/Kolkata"}) as server:
        execute(server, "SELECT 'here'")
        wait_until_logged(server.log_directory, "SELECT 'here'")
        clock = LogClock("Asia/Kolkata")
        tail = LogTail(server.log_directory, start="beginning", clock=clock)
        reader = LogReader(Server("18", "h"), mode="statements", clock=clock)
        (entry,) = [e for e in reader.read(*tail.read()) if e.command == "SELECT"]
        tail.close()
    logged = datetime.fromisoformat(entry.log_time)
    assert abs(datetime.now(UTC) - logged) < timedelta(seconds=30)


def _entries(server, kind, directory):
    directory.mkdir()
    for path in server.log_directory.glob(f"*.{kind}"):
        (directory / path.name).write_bytes(path.read_bytes())
    tail = LogTail(directory, start="beginning", still_seconds=0.0)
    reader = LogReader(Server("15", "h"), mode=server.mode)
    found = []
    while (lines := tail.read()).rows:
        found += [encode(entry) for entry in reader.read(*lines)]
    tail.close()
    assert (reader.malformed, reader.missing) == (0, 0)
    # Rows of two processes may stand in another order.
    return sorted(found, key=lambda entry: json.loads(entry)["sessionId"])
