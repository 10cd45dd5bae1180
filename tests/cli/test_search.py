import csv
import io
import json
import os
import pty
import re
import sys
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen

import boto3
import pytest
from botocore.stub import Stubber
from rich.cells import cell_len

import lakes
from dastream import line
from dastream.cli.app import run_app
from dastream.errors import ServiceError
from dastream.lake.matching import Query
from dastream.lake.search import Search
from dastream.sinks import formats
from dastream.storage import S3Storage
from entries import mysql, mysql_auxiliary

DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path):
    lakes.deliver(
        tmp_path,
        lakes.event(1, "SELECT 1", dbUserName="ada", at=lakes.MORNING - DAY),
        lakes.event(2, "SELECT *\n\tFROM orders", paramList=["42", None]),
        lakes.event(3, "SELECT * FROM nowhere", exitCode="42P01", rowCount=None,
                    errorMessage='relation "nowhere" does not exist\nLINE 1'),
    )  # fmt: skip
    return tmp_path


@pytest.fixture
def search(lake, capsys):
    """Runs a search; gives exit code, output without its styles, and standard error."""

    def run(*arguments):
        code = run_app(["search", str(lake), *arguments])
        out, err = capsys.readouterr()
        return code, re.sub(r"\x1b\[[0-9;]*m", "", out), err

    return run


@pytest.fixture
def terminal(monkeypatch):
    def be(columns):
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))

    return be


def test_in_a_pipe_there_is_a_line_an_event_with_tabs_and_nothing_cut(search):
    code, out, err = search("--utc")
    assert code == 0
    assert [row.split("\t") for row in out.splitlines()] == [
        ["2026-11-22T07:28:05.000+00:00", "ada", "postgres", "SELECT", "public.my_table", "10",
         "0.000", "ok", "", "SELECT 1", ""],
        ["2026-11-23T07:28:05.000+00:00", "davide", "postgres", "SELECT", "public.my_table", "10",
         "0.000", "ok", "", "SELECT * ↵ FROM orders", '["42",null]'],
        ["2026-11-23T07:28:05.000+00:00", "davide", "postgres", "SELECT", "public.my_table", "",
         "0.000", "failed", '42P01 relation "nowhere" does not exist ↵ LINE 1',
         "SELECT * FROM nowhere", ""],
    ]  # fmt: skip
    assert err.startswith("3 of 3 events matched · 2 objects read · 0.")
    assert err.count("\n") == 1


def test_every_option_narrows_the_answer(search):
    def found(*options):
        return search("--json", *options)[1].count("\n")

    assert found("--user", "ADA") == 1
    assert found("--db", "postgres") == 3
    assert found("--command", "sel*") == 3
    assert found("--object", "my_table") == 3
    assert found("--text", "from") == 2
    assert found("--app", "psql", "--host", "172.*") == 3
    assert found("--failed") == 1
    assert found("--since", "2026-11-23", "--utc") == 2
    assert found("--until", "2026-11-23", "--utc") == 1
    assert found("--limit", "2") == 2


def test_json_is_the_delivered_lines_byte_for_byte(lake, capsysbinary):
    delivered = lakes.event(9, "SELECT '\u009b31m é \u202e'")
    lakes.put(lake, "2026/11/23/07/x", lakes.lines(delivered))
    assert run_app(["search", str(lake), "--json", "--text", "é"]) == 0
    assert capsysbinary.readouterr().out == line.write(delivered) + b"\n"


def test_json_on_a_terminal_is_the_same_json_without_acting_characters(lake, capsys, terminal):
    terminal(80)
    delivered = lakes.event(9, "SELECT '\u009b31m é \u202e \U000e0001'")
    lakes.put(lake, "2026/11/23/07/x", lakes.lines(delivered))
    run_app(["search", str(lake), "--json", "--text", "é"])
    out = capsys.readouterr().out.rstrip("\n")
    assert out.isprintable()
    assert json.loads(out) == json.loads(line.write(delivered))


def test_csv_has_a_header_and_cells_that_no_spreadsheet_calculates(lake, search):
    hostile = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\uff1d1"]
    lakes.deliver(lake, *(lakes.event(n, text, rowCount=-1) for n, text in enumerate(hostile, 20)))
    code, out, _ = search("--csv", "--utc", "--since", "2026-11-23")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert code == 0
    assert [row["statement"] for row in rows] == [
        "SELECT *\n\tFROM orders",
        "SELECT * FROM nowhere",
        *("'" + text for text in hostile),
    ]
    assert rows[0] | {"statement": ""} == {
        "time": "2026-11-23T07:28:05.000000+00:00", "user": "davide", "database": "postgres",
        "command": "SELECT", "command_class": "READ", "object_name": "public.my_table",
        "is_auxiliary": "false", "object_schema": "public", "object_detail": "",
        "statement_part": "",
        "object_type": "TABLE", "row_count": "10", "duration_us": "0", "succeeded": "true",
        "exit_code": "", "error": "", "statement": "", "params": '["42",null]',
        "client_application": "psql", "remote_host": "172.31.3.195", "remote_port": "34534",
        "session_id": "5ce73c6f.7e64", "statement_id": "6", "substatement_id": "1",
        "transaction_id": "", "pid": "32356", "server_host": "172.31.3.192",
        "engine": "aurora-postgresql", "cluster_id": "cluster-4HNY5V4RRNPKKYB7ICFKE5JBQQ",
        "instance_id": "db-FZJTMYKCXQBUUZ6VLU7NW3ITCM", "arrival_time": "2026-11-23T07:28:05.000Z",
        "event_id": f"{2:032x}-0",
    }  # fmt: skip
    assert rows[1]["succeeded"] == "false"
    assert rows[2]["row_count"] == "-1"


def test_csv_on_a_terminal_escapes_what_would_act_on_it(lake, search, terminal):
    terminal(80)
    lakes.deliver(lake, lakes.event(20, "\x1b[2J\u202e"))
    assert "\x1b" not in search("--csv")[1]


def test_a_table_on_a_terminal(search, terminal):
    terminal(100)
    code, out, _ = search("--utc")
    assert code == 0
    assert out == (
        "time (UTC)    user      command  object           rows  statement in postgres\n"
        "2026-11-22  Sunday\n"
        "07:28:05.000  ada       SELECT   public.my_table    10  SELECT 1\n"
        "2026-11-23  Monday\n"
        "07:28:05.000  davide    SELECT   public.my_table    10  "
        'SELECT * ↵ FROM orders  ["42",null]\n'
        "07:28:05.000  davide  ✗ SELECT   public.my_table        SELECT * FROM nowhere\n"
        '                      ╰ 42P01 relation "nowhere" does not exist ↵ LINE 1\n'
    )


def test_databases_are_told_apart_where_they_differ(lake, search, terminal):
    terminal(120)
    lakes.deliver(lake, lakes.event(9, databaseName="shop"), lakes.event(10, databaseName="davide"))
    _, out, _ = search("--utc")
    assert out.startswith("time (UTC)    user@database      command ")
    assert "  davide@shop  " in out
    assert "  davide@postgres  " in out
    assert "  davide             SELECT" in out


def test_the_reason_of_a_failure_takes_the_room_to_its_left(lake, search, terminal):
    terminal(80)
    reason = "x" * 65
    lakes.deliver(lake, lakes.event(9, exitCode="1", errorMessage=reason))
    assert f"╰ 1 {reason}\n" in search()[1]


def test_the_last_line_breaks_between_words(lake, search, terminal):
    terminal(80)
    lakes.deliver(lake, *(lakes.event(n) for n in range(100, 250)))
    lakes.write(lake, "dead-letter/cluster=x/day=2026-11-23/y.jsonl.gz", b"")
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", search("--user", "davide")[2])
    rows = err.splitlines()[-2:]
    assert rows[0].startswith("the newest 100 of 152 or more matches (--limit N shows more) · ")
    assert rows[1].endswith("1 object of dead letters not searched")
    assert all(len(row) <= 80 for row in rows)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120, 200])
def test_a_table_fits_its_terminal_whatever_the_events_hold(lake, search, terminal, columns):
    terminal(columns)
    lakes.deliver(
        lake,
        lakes.event(20, "日本語" * 1000, dbUserName="ユーザー" * 20, paramList=["値" * 100] * 100),
        lakes.event(21, "\x1b[3m\u202e\u009b\x07" * 9, command="\x1b]0;\x07", objectName="\n" * 99),
        lakes.event(22, "x" * 3_000_000, rowCount=10**19),
        lakes.event(23, raw=b'["\\u001b[2J"]'),
        lakes.event(24, raw=b'{"type":"heartbeat"}'),
        lakes.event(25, None, logTime="9999-12-31 23:59:59-12", startTime=None),
        lakes.event(26, "[red]no markup[/red] :smile:"),
    )  # fmt: skip
    code, out, _ = search("--utc")
    assert code == 0
    rows = out.splitlines()
    assert all(row.isprintable() for row in rows)
    assert columns < 60 or all(cell_len(row) <= columns for row in rows)
    if columns >= 80:
        assert "[red]no markup" in out


def test_colour_is_for_terminals_only(lake, capsys, terminal):
    run_app(["search", str(lake)])
    assert "\x1b" not in capsys.readouterr().out
    terminal(80)
    run_app(["search", str(lake)])
    assert "\x1b[" in capsys.readouterr().out


def test_a_table_shows_the_newest_hundred_and_says_so(lake, search, terminal):
    terminal(100)
    lakes.deliver(lake, *(lakes.event(n, f"SELECT {n}") for n in range(100, 250)))
    _, out, err = search("--user", "davide")
    assert out.count("\n07:28:05") == 100
    assert "the newest 100 of 152 or more matches (--limit N shows more)" in err
    assert " · 1 older object not " in err
    for path in lake.glob("events/*/day=2026-11-22/*"):
        path.unlink()
    assert "the newest 100 of 152 matches (--limit N shows more)" in search()[2]


def test_a_time_that_ends_before_it_begins_is_an_error(search):
    code, _, err = search("--since", "2026-11-24", "--until", "2026-11-23")

    assert code == 2
    assert "--until is not after --since" in err


def test_an_empty_answer_says_why(search, tmp_path, capsys):
    code, out, err = search("--user", "nobody")
    assert (code, out) == (0, "")
    assert err.startswith("0 of 3 events matched · 2 objects read · 0.")
    code, _, err = search("--until", "2026-01-01")
    assert code == 0
    assert err.startswith(
        "nothing is of that time: what was delivered arrived from 2026-11-22T00:00:00.000Z"
        " to 2026-11-24T00:00:00.000Z · 0."
    )


def test_the_last_line_tells_what_was_not_searched(lake, search):
    lakes.write(lake, "dead-letter/cluster=x/day=2026-11-23/y.jsonl.gz", b"")
    assert search()[2].endswith(" s · 1 object of dead letters not searched\n")
    lakes.write(lake, "processing-failed/2026/11/23/07/z", b"")
    assert search()[2].endswith(" s · 2 objects of dead letters not searched\n")
    lakes.deliver(lake, lakes.event(9, at=lakes.MORNING - 9 * DAY))
    _, _, err = search("--since", "2026-11-23", "--utc")
    assert "2 of 3 events matched · 2 objects read · 1 object skipped by their time" in err
    _, _, err = search("--limit", "1")
    assert "the newest 1 of 2 or more matches (--limit N shows more) · 1 object read" in err
    assert " · 2 older objects not read · " in err


def test_matches_out_of_order_are_told(lake, search, monkeypatch):
    monkeypatch.setattr("dastream.lake.search.HELD_BYTES_MAX", 1)
    lakes.deliver(lake, lakes.event(9), lakes.event(8, at=lakes.MORNING - DAY / 24))
    assert "not all in order (--since, --until and --limit help)" in search()[2]


def test_a_place_without_delivered_events_is_exit_code_2(aws, tmp_path, capsys):
    def refused(place):
        assert run_app(["search", str(place), "--failed"]) == 2
        out, err = capsys.readouterr()
        assert "\nhint: give the place of delivery or one above it" in err
        assert (out, "\x1b" in err) == ("", False)
        return err

    assert "no\\x1bwhere, nothing below it\n" in refused(tmp_path / "no\x1bwhere")
    lakes.write(tmp_path, "README.md", b"")
    assert ", nothing below it\n" in refused(tmp_path / "README.md")
    assert ", 1 other object below it\n" in refused(tmp_path)
    lakes.write(tmp_path, "dead-letter/cluster=x/day=2026-11-23/y.jsonl.gz", b"")
    assert ", only 1 object of dead letters below it\n" in refused(tmp_path)
    aws.client("s3").create_bucket(Bucket="empty")
    assert "at s3://empty/nope, nothing below it" in refused("s3://empty/nope")


def test_damage_is_reported_without_its_text_and_the_exit_code_is_3(lake, search):
    lakes.put(lake, "2026/11/23/07/\x1bx", b"secret\nsecret\n" + lakes.lines(lakes.event(9)))
    code, out, err = search()
    assert code == 3
    assert out.count("\n") == 4
    assert "error: 2026/11/23/07/\\x1bx: line 1: not a delivered line (and 1 more)\n" in err
    assert "secret" not in out + err


@pytest.mark.parametrize(
    "options", [["--since", "soon"], ["--json", "--csv"], ["--limit", "0"], ["--unknown"]]
)
def test_wrong_usage_is_exit_code_2(search, options):
    assert search(*options)[0] == 2


def test_the_longest_and_the_largest_come_first(lake, search):
    lakes.deliver(
        lake,
        lakes.event(9, "SELECT 9", rowCount=99),
        lakes.event(10, "SELECT 10", logTime="2026-11-23 07:28:09+00", rowCount=5),
    )

    def first(*options):
        out, err = search(*options)[1:]
        return out.splitlines()[0].split("\t")[9], err

    assert first("--sort", "duration", "--limit", "2")[0] == "SELECT 10"
    assert "the longest 2 of 5 matches" in first("--sort", "duration", "--limit", "2")[1]
    assert first("--sort", "rows")[0] == "SELECT 9"
    assert first("--sort", "newest")[0] == "SELECT 10"
    assert first("--sort", "time")[0] == "SELECT 1"


def test_mysql_statements_are_one_line_and_in_csv_and_json_followed_by_their_objects(
    tmp_path, capsys
):
    text = "SELECT * FROM a JOIN b"
    lakes.deliver(
        tmp_path,
        lakes.mysql_event(1, mysql_auxiliary(objectName="b")),
        lakes.mysql_event(2, mysql(text, objectName="a")),
        lakes.mysql_event(3, mysql_auxiliary(objectName="a")),
    )

    def run(*options):
        assert run_app(["search", str(tmp_path), *options]) == 0
        return capsys.readouterr()

    (row,) = run().out.splitlines()
    assert row.split("\t")[4] == "a, b"
    rows = csv.DictReader(io.StringIO(run("--csv", "--object", "b").out, newline=""))
    assert [(row["is_auxiliary"], row["object_name"]) for row in rows] == [
        ("false", "a"), ("true", "b"), ("true", "a"),
    ]  # fmt: skip
    lines = map(json.loads, run("--json", "--object", "b").out.splitlines())
    assert [one["class"] for one in lines] == ["MAIN", "AUX", "AUX"]


def test_parquet_without_entries_is_shown_and_for_json_it_is_told(tmp_path, capsys):
    lakes.deliver(tmp_path, lakes.event(1), format=formats.PARQUET_WITHOUT_ENTRIES)
    assert run_app(["search", str(tmp_path)]) == 0
    assert "\tSELECT 1\t" in capsys.readouterr().out
    assert run_app(["search", str(tmp_path), "--json"]) == 3
    assert "written without the entries" in capsys.readouterr().err


def test_what_is_delivered_later_is_shown_until_the_signal(lake):
    program = "from dastream.cli import main; main()"
    process = Popen(
        [sys.executable, "-c", program, "search", str(lake), "--utc", "--follow"],
        stdout=PIPE,
        stderr=PIPE,
        text=True,
    )
    for _ in range(3):
        process.stdout.readline()
    lakes.deliver(lake, lakes.event(9, "SELECT 'later'"))
    assert "SELECT 'later'" in process.stdout.readline()
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "following, ctrl-c ends" in err


def test_following_has_no_other_order(search):
    assert search("--follow", "--sort", "rows")[0] == 2


def test_a_directory_that_may_not_be_read_is_exit_code_1(lake, search):
    assert search()[0] == 0  # so that nothing is left to be imported
    is_root = os.geteuid() == 0
    lake.chmod(0)
    try:
        if is_root:
            os.seteuid(65534)  # root may read everything
        code, _, err = search()
    finally:
        if is_root:
            os.seteuid(0)
        lake.chmod(0o700)
    assert code == 1
    assert "cannot list" in err
    assert "(Permission denied)" in err


def test_a_bucket_that_may_not_be_listed_says_so():
    """As S3 answers; the endpoint here refuses nobody."""
    client = Stubber(boto3.client("s3", region_name="eu-central-1"))
    client.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
    with client:
        storage = S3Storage(client.client, "b", "p")
        with pytest.raises(ServiceError, match=r"cannot list in b \(AccessDenied\)") as raised:
            list(Search(storage, Query(), on_damage=pytest.fail))
    assert "s3:ListBucket" in raised.value.hint


def test_a_pager_gets_a_long_table_and_the_summary_comes_after_it(lake, tmp_path):
    lakes.deliver(lake, *(lakes.event(n, f"SELECT {n}") for n in range(100, 190)))
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ncat > {tmp_path}/paged\necho PAGED\n")
    pager.chmod(0o755)
    shown = on_a_terminal("search", str(lake), "--utc", PAGER=str(pager))
    assert (tmp_path / "paged").read_text().count("SELECT") > 90
    assert shown.index(b"PAGED") < shown.index(b"events matched")
    plain = on_a_terminal("search", str(lake), "--utc", PAGER="")
    assert plain.count(b"SELECT") > 90


def on_a_terminal(*arguments, **environment):
    """What the program shows on a terminal of its own."""
    leader, follower = pty.openpty()
    program = "from dastream.cli import main; main()"
    process = Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=follower,
        stderr=follower,
        env=os.environ | {"COLUMNS": "90", "TERM": "xterm"} | environment,
    )
    os.close(follower)
    shown = b""
    try:
        while data := os.read(leader, 65536):
            shown += data
    except OSError:  # how Linux tells that the other side is closed
        pass
    os.close(leader)
    assert process.wait() == 0
    return shown


def test_a_url_of_no_storage_is_exit_code_2(capsys):
    assert run_app(["search", "ftp://somewhere"]) == 2
    assert "hint:" in capsys.readouterr().err


def test_a_storage_that_fails_is_exit_code_1(tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert run_app(["search", str(tmp_path / "loop")]) == 1
    assert "storage: cannot list" in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_exit_code_2(aws, capsys):
    assert run_app(["search", "s3://no-such-bucket/lake"]) == 2
    assert "s3: there is no bucket no-such-bucket" in capsys.readouterr().err


def test_a_lake_in_s3_is_searched_by_its_url(aws, lake, capsys):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="searched")
    for path in filter(Path.is_file, lake.rglob("*")):
        s3.put_object(Bucket="searched", Key=f"a/{path.relative_to(lake)}", Body=path.read_bytes())
    assert run_app(["search", "s3://searched/a", "--failed", "--json"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_real_terminal_gets_a_table_and_a_spinner_that_goes_again(lake):
    shown = on_a_terminal("search", str(lake), "--utc")
    assert "✗ SELECT".encode() in shown
    assert b"3 of 3 events matched" in shown
    assert b"\x1b[?25h" in shown  # the cursor is back
