"""Rows of a log directory, as a log collector writes them."""

from __future__ import annotations

import csv
import io
import json
import os
import time

import pytest

from dastream.activity.log_files import Place
from dastream.activity.log_rows import CUT
from dastream.activity.log_tail import CHUNK_BYTES, LogTail
from dastream.activity.log_time import LogClock
from dastream.activity.row_decoding import decode_csv_row, decode_row, recover_row
from dastream.errors import ConfigError, PayloadError, SourceError


def json_row(second, message="", **members):
    row = {"timestamp": f"2026-01-02 03:04:{second:02}.000 UTC", "message": message}
    return json.dumps(row | members, ensure_ascii=False, separators=(",", ":")).encode()


def csv_row(second, message="", **columns):
    """A row of the CSV log as csvlog.c writes it: text is quoted, numbers are not."""
    texts = {1: "u", 2: "d", 4: "10.0.0.1:5", 7: "SELECT", 13: message, 22: "app"}
    texts |= {23: "client backend"} | columns.get("texts", {})
    words = {0: f"2026-01-02 03:04:{second:02}.000 UTC", 3: "7", 5: "1.7", 6: "3", 11: "LOG"}
    words |= {12: "00000"} | columns.get("words", {})
    quoted = {at: '"' + text.replace('"', '""') + '"' for at, text in texts.items()}
    return ",".join((quoted | words).get(at, "") for at in range(26)).encode()


@pytest.fixture
def log(tmp_path):
    def write(name, *rows):
        with (tmp_path / name).open("ab") as file:
            file.write(b"".join(rows))

    return write


@pytest.fixture
def open_tail(tmp_path):
    tails = []

    def open_tail(**options):
        options = {"start": "beginning", "still_seconds": 0.0} | options
        tails.append(LogTail(tmp_path, **options))
        return tails[-1]

    yield open_tail
    for tail in tails:
        tail.close()


def rows(tail):
    """All rows that there are for now."""
    found = []
    while (lines := tail.read()).rows:
        found += lines.rows
    return found


A, B, C, D = (json_row(second) for second in range(4))


def test_rows_come_when_they_are_complete(open_tail, log):
    tail = open_tail()
    assert rows(tail) == []
    log("1.json", A, b"\n", B[:20])
    assert rows(tail) == [A]
    assert rows(tail) == []
    log("1.json", B[20:], b"\n", C, b"\n")
    assert rows(tail) == [B, C]


def test_files_are_read_in_the_order_of_their_first_rows(open_tail, log):
    log("z.json", A, b"\n")
    log("a.json", B, b"\n")
    log("m.json", C, b"\n")
    assert rows(open_tail()) == [A, B, C]


def test_what_a_file_gets_before_the_next_begins_is_read(open_tail, log):
    log("1.json", A, b"\n")
    tail = open_tail()
    assert rows(tail) == [A]
    log("1.json", B, b"\n")
    log("2.json", C, b"\n")
    assert rows(tail) == [B, C]


def test_a_file_that_is_still_written_to_is_not_left(open_tail, log):
    log("1.json", A, b"\n")
    log("2.json", C, b"\n")
    tail = open_tail(still_seconds=1.0)
    assert rows(tail) == [A]
    log("1.json", B, b"\n")
    assert rows(tail) == [B]
    time.sleep(1.05)
    assert rows(tail) == [C]


def test_a_name_that_comes_back_is_another_file(tmp_path, open_tail, log):
    log("mon.json", A, b"\n")
    log("tue.json", B, b"\n")
    tail = open_tail()
    assert rows(tail) == [A, B]
    (tmp_path / "mon.json").write_bytes(C + b"\n")
    tail.lag_bytes()
    assert rows(tail) == [C]
    assert tail.gaps == 0


def test_a_file_overwritten_while_it_is_read_is_a_gap_and_is_read_again(tmp_path, open_tail, log):
    log("1.json", A, b"\n", B, b"\n")
    tail = open_tail()
    assert rows(tail) == [A, B]
    (tmp_path / "1.json").write_bytes(C + b"\n" + D + b"\n" + D + b"\n")
    tail.lag_bytes()
    assert rows(tail) == [C, D, D]
    assert tail.gaps == 1


def test_a_file_deleted_while_it_is_read_is_read_to_its_end(tmp_path, open_tail, log):
    log("1.json", A, b"\n")
    tail = open_tail()
    assert rows(tail) == [A]
    log("1.json", B, b"\n")
    (tmp_path / "1.json").unlink()
    log("2.json", C, b"\n")
    assert rows(tail) == [B, C]
    assert tail.gaps == 0


def test_of_two_logs_json_is_read(open_tail, log):
    log("1.json", A, b"\n")
    log("1.csv", csv_row(0), b"\n")
    log("2.csv", csv_row(1), b"\n")
    assert rows(open_tail()) == [A, csv_row(1)]


def test_other_files_are_not_read(open_tail, log):
    log("1.log", A, b"\n")
    log(
        "package.json",
        b'{"name": "something else entirely, and long enough to be a first row of it"}',
    )
    log("2.json", B, b"\n")
    assert rows(open_tail()) == [B]


def test_a_tail_from_the_end_begins_with_the_next_row(open_tail, log):
    log("1.json", A, b"\n")
    log("2.json", B, b"\n", C[:9])
    tail = open_tail(start="end")
    log("2.json", C[9:], b"\n", D, b"\n")
    assert rows(tail) == [D]


def test_a_tail_from_a_place_goes_on_there(open_tail, log):
    log("1.json", A, b"\n")
    log("2.json", B, b"\n", C, b"\n")
    tail = open_tail()
    lines = [tail.read(), tail.read()]
    places = [Place(*one.file, offset) for one in lines for offset in one.offsets]
    assert places == sorted(places)
    assert tail.place() > places[-1]
    for place, following in zip(places, ([A, B, C], [B, C], [C]), strict=True):
        assert rows(open_tail(start=place)) == following
    assert rows(open_tail(start=tail.place())) == []


def test_a_file_that_went_while_nobody_read_is_a_gap(tmp_path, open_tail, log, caplog):
    log("1.json", A, b"\n", B, b"\n")
    tail = open_tail()
    rows(tail)
    (tmp_path / "1.json").unlink()
    log("2.json", C, b"\n")
    tail = open_tail(start=tail.place())
    assert (rows(tail), tail.gaps) == ([C], 1)
    assert "gap: 1.json is gone" in caplog.text


def test_a_file_overwritten_while_nobody_read_is_a_gap(tmp_path, open_tail, log):
    log("1.json", A, b"\n", B, b"\n")
    tail = open_tail()
    rows(tail)
    (tmp_path / "1.json").write_bytes(b"")
    log("1.json", C, b"\n", D, b"\n", D, b"\n")
    tail = open_tail(start=tail.place())
    assert (rows(tail), tail.gaps) == ([C, D, D], 1)


def test_rows_longer_than_a_chunk_are_whole(open_tail, log):
    row = json_row(1, "x" * (3 * CHUNK_BYTES + 1))
    log("1.json", A, b"\n", row, b"\n", B, b"\n")
    assert rows(open_tail()) == [A, row, B]


def test_the_lag_is_what_has_been_written_and_not_read(open_tail, log):
    log("1.json", A, b"\n")
    log("2.json", B, b"\n")
    tail = open_tail()
    assert tail.lag_bytes() == len(A + B) + 2
    tail.read()
    assert tail.lag_bytes() == len(B) + 1
    rows(tail)
    assert tail.lag_bytes() == 0


@pytest.mark.parametrize("text", ["x", "\\", "é", '"', "\n", "\u0001", "日", "''"])
@pytest.mark.parametrize("offset", range(6))
@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_row_too_long_is_cut_and_is_a_row_all_the_same(open_tail, log, form, text, offset):
    whole = "m" * offset + text * 300
    make, decode = {"json": (json_row, decode_row), "csv": (csv_row, decode_csv_row)}[form]
    log(f"1.{form}", make(1, whole), b"\n", make(2, "next"), b"\n")
    tail = open_tail(line_bytes_max=256)
    cut, following = map(decode, rows(tail))
    assert cut.message.endswith(CUT)
    assert whole.startswith(cut.message.removesuffix(CUT))
    assert cut.backend_type == "client backend"
    assert (following.message, tail.cut) == ("next", 1)


def test_columns_of_the_csv_log_are_members_of_the_json_log():
    texts = {14: "the detail", 16: "inner", 18: "context", 19: "query", 15: "hint"}
    row = decode_csv_row(csv_row(5, 'a "quoted"\ntext, ""', texts=texts))
    assert (row.timestamp, row.user, row.dbname) == ("2026-01-02 03:04:05.000 UTC", "u", "d")
    assert (row.pid, row.remote_host, row.remote_port) == (7, "10.0.0.1", 5)
    assert (row.session_id, row.line_num, row.ps) == ("1.7", 3, "SELECT")
    assert (row.error_severity, row.state_code) == ("LOG", "00000")
    assert row.message == 'a "quoted"\ntext, ""'
    assert (row.detail, row.internal_query) == ("the detail", "inner")
    assert (row.context, row.statement) == ("context", "query")
    assert (row.application_name, row.backend_type) == ("app", "client backend")


@pytest.mark.parametrize(
    ("connection", "host", "port"),
    [("[local]", "[local]", None), ("::1:5432", "::1", 5432), ("db.example:1", "db.example", 1)],
)
def test_the_csv_log_has_host_and_port_in_one(connection, host, port):
    row = decode_csv_row(csv_row(1, texts={4: connection}))
    assert (row.remote_host, row.remote_port) == (host, port)


@pytest.mark.parametrize("message", ["", "one\ntwo", '"', '""', 'a,"b"\n,,"', "\n\n", "é\n日"])
def test_rows_of_the_csv_log_may_have_lines(open_tail, log, message):
    written = [csv_row(second, message) for second in range(3)]
    log("1.csv", *(row + b"\n" for row in written))
    assert rows(open_tail()) == written
    assert [decode_csv_row(row).message for row in written] == [message] * 3
    (fields,) = csv.reader(io.StringIO(written[0].decode(), newline=""), strict=True)
    assert fields[13] == message


@pytest.mark.parametrize("torn", [1, 30, 60, 100, 112, 120, 130, -20, -1])
@pytest.mark.parametrize("following", ["plain", "two\nlines", 'quotes "x"\n'])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_torn_row_takes_no_other_with_it(open_tail, log, form, torn, following):
    make, decode = {"json": (json_row, decode_row), "csv": (csv_row, decode_csv_row)}[form]
    first = make(1, "SELECT 'a torn one'")
    others = [make(2, following), make(3, "last"), make(4, "two\nlines"), make(5, "end")]
    log(f"1.{form}", first[:torn], *(row + b"\n" for row in others))
    found = []
    for line in rows(open_tail()):
        try:
            found.append(decode(line))
        except PayloadError:
            found.append(recover_row(line, LogClock(), is_csv=form == "csv"))
    assert [row.message for row in found if row] == [following, "last", "two\nlines", "end"]


def test_a_statement_that_looks_like_a_row_is_none(open_tail, log):
    fake = csv_row(9, "DROP TABLE t").decode()
    written = [csv_row(1, f"SELECT '\n{fake}\n{fake}\n'"), csv_row(2, "last")]
    log("1.csv", *(row + b"\n" for row in written))
    assert rows(open_tail()) == written


def test_a_row_torn_at_the_end_of_a_file_is_given_as_it_is(open_tail, log):
    log("1.json", A, b"\n", B[:9])
    log("2.json", C, b"\n")
    assert rows(open_tail()) == [A, B[:9], C]


def test_a_file_that_may_not_be_read_says_what_to_do(tmp_path, open_tail, log, monkeypatch):
    log("1.json", A, b"\n")
    opened = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(".json"):
            raise PermissionError
        return opened(path, *arguments, **options)

    # Root, as whom tests may run, is refused nothing.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError) as caught:
        open_tail()
    assert "log_file_mode" in caught.value.hint


def test_a_directory_that_goes_is_an_error(tmp_path, open_tail, log):
    log("1.json", A, b"\n")
    tail = open_tail()
    (tmp_path / "1.json").unlink()
    tmp_path.rmdir()
    with pytest.raises(SourceError, match="directory"):
        rows(tail)


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        (None, "2026-07-01 12:00:00.123 GMT", "2026-07-01 12:00:00.123 GMT"),
        (None, "2026-07-01 12:00:00.123 +03", "2026-07-01 09:00:00.123 UTC"),
        (None, "2026-07-01 02:00:00.123 +0530", "2026-06-30 20:30:00.123 UTC"),
        (None, "2026-07-01 22:00:00.123 -0330", "2026-07-02 01:30:00.123 UTC"),
        ("Europe/Berlin", "2026-07-01 12:00:00.123 CEST", "2026-07-01 10:00:00.123 UTC"),
        ("Europe/Berlin", "2026-10-25 02:30:00.123 CEST", "2026-10-25 00:30:00.123 UTC"),
        ("Europe/Berlin", "2026-10-25 02:30:00.123 CET", "2026-10-25 01:30:00.123 UTC"),
        ("Asia/Kolkata", "2026-07-01 05:30:00.123 IST", "2026-07-01 00:00:00.123 UTC"),
        ("Europe/Berlin", "2026-07-01 12:00:00.123 UTC", "2026-07-01 12:00:00.123 UTC"),
    ],
)
def test_times_are_read_in_utc(zone, local, utc):
    assert LogClock(zone).utc(local) == utc


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        (None, "2026-07-01 12:00:00.123 CEST"),
        (None, "2026-07-01 12:00:00.123 IST"),
        ("Europe/Berlin", "2026-07-01 12:00:00.123 IST"),
        ("Europe/Berlin", "2026-07-01 12:00:00.123 CET"),
    ],
)
def test_a_zone_that_is_not_certain_is_refused(zone, local):
    with pytest.raises(ConfigError) as caught:
        LogClock(zone).utc(local)
    assert "log_timezone = 'UTC'" in caught.value.hint


def test_a_zone_that_there_is_none_of_is_refused():
    with pytest.raises(ConfigError, match="no time zone"):
        LogClock("Europe/Atlantis")
