import csv
import io
import re
from datetime import timedelta

import pytest

import lakes
from dastream.cli.app import run_app

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def session(first, *, start=lakes.MORNING, **members):
    """A login, two statements, the end."""
    steps = [
        {"command": "CONNECT", "text": None, "objectName": None, "rowCount": None},
        {"command": "SELECT", "text": "SELECT * FROM orders"},
        {"command": "DELETE", "text": "DELETE FROM orders", "exitCode": "42501",
         "errorMessage": "permission denied", "rowCount": None},
        {"command": "DISCONNECT", "text": None, "objectName": None, "rowCount": None},
    ]  # fmt: skip
    return [
        lakes.event(first + n, step.pop("text"), at=start + n * MINUTE, **(step | members))
        for n, step in enumerate(steps)
    ]


@pytest.fixture
def lake(tmp_path):
    lakes.deliver(
        tmp_path,
        *session(10, sessionId="a"),
        *session(20, sessionId="71", start=lakes.MORNING - DAY),
        *session(30, sessionId="71", dbUserName="ada\x1b[2J"),
    )
    return tmp_path


@pytest.fixture
def shown(lake, capsys):
    def run(*arguments):
        code = run_app(["session", *arguments, "--lake", str(lake), "--utc"])
        out, err = capsys.readouterr()
        return code, re.sub(r"\x1b\[[0-9;]*m", "", out), err

    return run


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "90")


def test_a_session_is_shown_from_its_login_to_its_end(shown, terminal):
    code, out, _ = shown("a")
    assert code == 0
    assert out.splitlines() == [
        "session a of davide@postgres",
        "  from    172.31.3.195:34534 psql",
        "  on      db-FZJTMYKCXQBUUZ6VLU7NW3ITCM, 172.31.3.192, aurora-postgresql, 2.3.1",
        "  began   2026-11-23 07:28:05 UTC",
        "  ran     2 statements, 1 failed",
        "",
        "time (UTC)      command     object           rows  statement in postgres",
        "2026-11-23  Monday",
        "07:28:05.000    CONNECT                            from 172.31.3.195:34534 psql",
        "07:29:05.000    SELECT      public.my_table    10  SELECT * FROM orders",
        "07:30:05.000  ✗ DELETE      public.my_table        DELETE FROM orders",
        "              ╰ 42501 permission denied",
        "07:31:05.000    DISCONNECT                         from 172.31.3.195:34534 psql",
        "ended 2026-11-23 07:31:05 UTC, after 3m 00s",
        "",
    ]


def test_elsewhere_it_is_lines_and_what_is_told_is_on_standard_error(shown):
    code, out, err = shown("a")
    assert code == 0
    assert [row.split("\t")[3] for row in out.splitlines()] == [
        "CONNECT", "SELECT", "DELETE", "DISCONNECT",
    ]  # fmt: skip
    assert "session a of davide@postgres\n" in err
    assert err.splitlines()[-1].startswith("4 of 12 events matched · 2 objects read · ")


def test_several_sessions_of_one_id_are_each_shown_and_told(shown, terminal):
    _, out, err = shown("71")
    assert "2 sessions have this id: --cluster, --since and --until choose" in err
    assert out.count("\nended ") == 2
    assert r"session 71 of ada\x1b[2J@postgres" in out
    assert "\x1b" not in out
    assert out.index("2026-11-22 07:28:05") < out.index("2026-11-23 07:28:05")


def test_one_of_them_can_be_chosen(shown):
    _, out, err = shown("71", "--since", "2026-11-23")
    assert out.count("\n") == 4
    assert "sessions have this id" not in err
    assert shown("71", "--cluster", "cluster-OTHER")[1] == ""
    assert shown("71", "--cluster", lakes.support.INSTANCE)[1].count("\n") == 8


def test_csv_and_json_are_those_of_search(shown):
    rows = list(csv.DictReader(io.StringIO(shown("a", "--csv")[1], newline="")))
    assert [row["session_id"] for row in rows] == ["a"] * 4
    assert shown("a", "--json")[1].count('"sessionId":"a"') == 4


def test_an_id_that_is_not_there_says_so(shown):
    code, out, err = shown("nobody")
    assert (code, out) == (0, "")
    assert err.startswith("0 of 12 events matched")


def test_what_is_missing_of_a_session_is_said(tmp_path, lake, shown, terminal):
    lakes.deliver(tmp_path, lakes.event(90, sessionId="cut"))
    out = shown("cut")[1]
    assert "began   2026-11-23 07:28:05 UTC, the login is not among the events" in out
    assert "no logout among the events; the last one is of 2026-11-23 07:28:05 UTC" in out


def test_a_place_without_delivered_events_is_exit_code_2(tmp_path, capsys):
    assert run_app(["session", "x", "--lake", str(tmp_path / "nowhere")]) == 2
    assert "session: no delivered events" in capsys.readouterr().err


def test_both_formats_at_once_are_wrong_usage(shown):
    assert shown("a", "--json", "--csv")[0] == 2
