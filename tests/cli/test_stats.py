import json
import re

import pytest

import lakes
from dastream.cli.app import run_app
from dastream.sinks import formats


@pytest.fixture
def lake(tmp_path):
    lakes.deliver(
        tmp_path,
        *(lakes.event(n, f"SELECT a FROM t WHERE b = {n}") for n in range(1, 9)),
        lakes.event(20, "DELETE FROM t", dbUserName="ada\x1b[2J", exitCode="42501",
                    errorMessage="secret"),
        lakes.event(21, "SELECT slow FROM t WHERE c = 'secret'",
                    logTime="2026-11-23 07:28:35+00"),
        format=formats.PARQUET,
    )  # fmt: skip
    return tmp_path


@pytest.fixture
def stats(lake, capfdbinary):
    def run(*arguments):
        code = run_app(["stats", str(lake), "--utc", *arguments])
        out, err = (text.decode() for text in capfdbinary.readouterr())
        return code, re.sub(r"\x1b\[[0-9;]*m", "", out), err

    return run


def test_lists_have_bars_and_no_value_of_a_statement(stats):
    code, out, err = stats()
    assert code == 0
    rows = out.splitlines()
    assert rows[:2] == [
        "10 events, 10 statements, 1 failed",
        "from 2026-11-23 07:28:05 to 2026-11-23 07:28:05 UTC",
    ]
    assert re.search(r"\n  davide +9 +30\.0 s  █{24}\n", out)
    assert re.search(r"\n  ada\\x1b\[2J +1 +1 +█+[▉▊▋▌▍▎▏]?\n", out)
    assert re.search(r"\n  07:00 +10 +1 ", out)
    assert re.search(r"\n  SELECT a FROM t WHERE b = \? +8 .*\n    tables t; columns a, b\n", out)
    assert "    SELECT slow FROM t WHERE c = ?\n" in out
    assert re.search(r"\nnew\n  2026-11-23 07:28:05  \w+ ", out)
    assert "secret" not in out
    assert err.startswith("10 events · 1 object in the lake · ")


def test_json_has_the_same_for_programs(stats):
    found = json.loads(stats("--json")[1])
    assert found["total"]["events"] == 10
    assert found["users"][0]["name"] == "davide"
    assert found["users"][0]["first_seen"] == "2026-11-23T07:28:05.000000+00:00"
    assert found["shapes"][0]["tables"] == ["t"]
    assert found["shapes"][0]["columns"] == ["a", "b"]
    assert found["hours"] == [
        {"hour": 7} | {k: v for k, v in found["hours"][0].items() if k != "hour"}
    ]
    assert found["failures"][0]["exit_code"] == "42501"
    assert found["slowest"][0]["duration_us"] == 30_000_000
    assert {one["kind"] for one in found["new"]} == {"users", "applications", "hosts", "objects"}
    assert "secret" not in json.dumps(found)


def test_options_narrow_what_is_counted(stats):
    def events(*options):
        return json.loads(stats("--json", *options)[1])["total"]["events"]

    assert events("--user", "DAV*") == 9
    assert events("--failed") == 1
    assert events("--text", "slow") == 1
    assert events("--since", "2026-11-23T07:00") == 10
    assert len(json.loads(stats("--json", "--limit", "1")[1])["users"]) == 1


def test_an_empty_answer_says_why(stats, tmp_path, capfdbinary):
    code, out, err = stats("--user", "nobody")
    assert (code, out) == (0, "")
    assert err.startswith("nothing matched · 1 object in the lake")
    assert stats("--until", "2026-01-01")[2].startswith(
        "nothing is of that time: what was delivered arrived from 2026-11-23T00:00:00.000Z"
    )
    assert run_app(["stats", str(tmp_path / "nowhere")]) == 2
    assert b"stats: no delivered events" in capfdbinary.readouterr().err


def test_damage_is_reported_and_the_exit_code_is_3(lake, stats):
    lakes.put(lake, "2026/11/23/07/x", b"secret\n" + lakes.lines(lakes.event(90)))
    code, out, err = stats()
    assert code == 3
    assert out.startswith("11 events")
    assert "error: 2026/11/23/07/x: line 1: not a delivered line" in err
    assert "secret" not in out + err


def test_a_table_fits_its_terminal(stats, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PAGER", "")
    assert all(len(row) <= 80 for row in stats()[1].splitlines())
