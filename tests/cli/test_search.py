import csv
import io
import json
import os
import pty
import re
import sys
from datetime import timedelta
from pathlib import Path
from subprocess import Popen

import pytest
from rich.cells import cell_len

import lakes
from dastream import line
from dastream.cli.app import run_app

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
    assert err.startswith("3 of 3 events matched · 2 objects read, 0 pruned · ")
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
    terminal(110)
    code, out, _ = search("--utc")
    assert code == 0
    assert out == (
        "time (UTC)    user@database      command  object           rows  statement\n"
        "2026-11-22  Sunday\n"
        "07:28:05.000  ada@postgres       SELECT   public.my_table    10  SELECT 1\n"
        "2026-11-23  Monday\n"
        "07:28:05.000  davide@postgres    SELECT   public.my_table    10  "
        'SELECT * ↵ FROM orders  ["42",null]\n'
        "07:28:05.000  davide@postgres  ✗ SELECT   public.my_table        SELECT * FROM nowhere\n"
        '                               ╰ 42P01 relation "nowhere" does not exist ↵ LINE 1\n'
    )  # fmt: skip


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
    terminal(80)
    lakes.deliver(lake, *(lakes.event(n, f"SELECT {n}") for n in range(100, 250)))
    _, out, err = search("--user", "davide")
    assert out.count("\n07:28:05") == 100
    assert "the newest 100 of 152 or more matches; --limit N shows more" in err


def test_an_empty_answer_says_why(search, tmp_path, capsys):
    code, out, err = search("--user", "nobody")
    assert (code, out) == (0, "")
    assert err.startswith("0 of 3 events matched · 2 objects read")
    assert search("--until", "2026-01-01")[2] == (
        "nothing is of that time: what was delivered arrived from 2026-11-22T00:00:00.000Z"
        " to 2026-11-24T00:00:00.000Z\n"
    )
    assert run_app(["search", str(tmp_path / "no\x1bwhere")]) == 0
    err = capsys.readouterr().err
    assert err.startswith("nothing was delivered at ")
    assert "\\x1b" in err
    assert "\x1b" not in err


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


def test_a_url_of_no_storage_is_exit_code_2(capsys):
    assert run_app(["search", "ftp://somewhere"]) == 2
    assert "hint:" in capsys.readouterr().err


def test_a_storage_that_fails_is_exit_code_1(aws, capsys):
    assert run_app(["search", "s3://no-such-bucket/lake"]) == 1
    assert "s3: cannot list" in capsys.readouterr().err


def test_a_lake_in_s3_is_searched_by_its_url(aws, lake, capsys):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="searched")
    for path in filter(Path.is_file, lake.rglob("*")):
        s3.put_object(Bucket="searched", Key=f"a/{path.relative_to(lake)}", Body=path.read_bytes())
    assert run_app(["search", "s3://searched/a", "--failed", "--json"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_real_terminal_gets_a_table_and_a_spinner_that_goes_again(lake):
    leader, follower = pty.openpty()
    program = "from dastream.cli import main; main()"
    process = Popen(
        [sys.executable, "-c", program, "search", str(lake), "--utc"],
        stdout=follower,
        stderr=follower,
        env=os.environ | {"COLUMNS": "90", "TERM": "xterm"},
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
    assert "✗ SELECT".encode() in shown
    assert b"3 of 3 events matched" in shown
    assert b"\x1b[?25h" in shown  # the cursor is back
