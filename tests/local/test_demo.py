"""The demo, as a user runs it: what it shows, what it leaves, and that it would notice."""

import ctypes
import gzip
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from dastream.errors import ConfigError
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.local import demo
from dastream.local.postgres_programs import find_programs
from dastream.local.processes import children
from dastream.local.workload import SCRIPT, Sent, Statement

PASSWORD = b"secret"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PROGRAM = (sys.executable, "-m", "dastream")


@pytest.fixture(scope="module")
def temporary():
    """A directory for temporary files that every user can go through; empty at the end."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module", params=["pgaudit", "embedded"])
def done(request, temporary, tmp_path_factory):
    """A demo that has run: its directory and its result. It left no process and no file."""
    try:
        find_programs(request.param)
    except ConfigError as error:
        if os.environ.get("DASTREAM_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("demo") / "here"
    arguments = ["--dir", directory, "--statements", "300", "--postgres", request.param]
    # What the demo leaves behind would become a child of this process.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = set(children(os.getpid()))
    result = subprocess.run(
        [*PROGRAM, "demo", *arguments],
        env=os.environ | {"COLUMNS": "120", "TMPDIR": str(temporary)},
        capture_output=True,
        check=False,
        timeout=100,
    )
    left = set(children(os.getpid())) - before
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert not left
    assert not list(temporary.iterdir())
    return directory, result


def objects(directory):
    return sorted(path for path in directory.rglob("*.gz"))


def lines(directory):
    return [text for path in objects(directory) for text in gzip.open(path).read().splitlines()]


def test_everything_that_was_sent_arrived_once(done):
    _, result = done
    assert result.returncode == 0, result.stdout + result.stderr
    assert b"every statement is there exactly once" in result.stdout
    assert b"CREATE USER davide WITH PASSWORD <REDACTED>" in result.stdout
    assert not result.stderr


def test_both_ways_deliver_the_same_lines(done):
    directory, _ = done
    firehose, lake = lines(directory / "firehose"), lines(directory / "lake")
    assert len(lake) > 300
    assert Counter(firehose) == Counter(lake)


def test_the_password_is_nowhere(done):
    directory, result = done
    assert PASSWORD not in result.stdout + result.stderr
    for path in directory.rglob("*"):
        if path.is_file():
            assert PASSWORD not in path.read_bytes()
    assert not [text for text in lines(directory) if PASSWORD in text]


def test_what_is_left_is_private(done):
    directory, _ = done
    assert objects(directory)
    for path in objects(directory):
        assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_the_commands_that_it_prints_work_on_what_it_leaves(done):
    directory, result = done
    for way in ("firehose", "lake"):
        assert f"search {directory}/{way}".encode() in result.stdout
        found = subprocess.run(
            [*PROGRAM, "search", directory / way, "--text", "salaries", "--json"],
            capture_output=True,
            check=True,
        )
        assert b"SELECT * FROM salaries" in found.stdout


def test_a_directory_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    result = subprocess.run([*PROGRAM, "demo", "--dir", tmp_path], capture_output=True, check=False)
    assert result.returncode == 2
    assert (tmp_path / "thesis.txt").exists()


class TestComparison:
    """The check can fail: each kind of difference is found."""

    sent = Sent([Statement("SELECT $1", ("1",)), Statement("SELECT $1", ("2",))])

    @staticmethod
    def event(number, param, text="SELECT $1", **members):
        entry = {
            "clientApplication": SCRIPT,
            "commandText": text,
            "command": "SELECT",
            "paramList": [param],
            "sessionId": "s",
            "statementId": number,
        } | members
        blank = Event(f"id-{number}", b"{}", Origin(ENGINES["postgresql"]))
        return blank.replace(**entry)

    def differences(self, *events):
        return list(demo._compare(self.sent, events))

    def test_nothing_differs(self):
        assert self.differences(self.event(1, "1"), self.event(2, "2")) == []

    def test_a_missing_statement(self):
        assert "missing 1" in self.differences(self.event(1, "1"))[0]

    def test_a_statement_too_often(self):
        events = self.event(1, "1"), self.event(2, "2"), self.event(3, "2")
        assert "1 time(s) too often" in self.differences(*events)[0]

    def test_another_bind_value(self):
        assert len(self.differences(self.event(1, "1"), self.event(2, "3"))) == 2

    def test_a_failed_login_that_is_not_there(self):
        sent = Sent(list(self.sent.statements), failed_logins=1)
        events = self.event(1, "1"), self.event(2, "2")
        assert "0 failed logins" in next(demo._compare(sent, events))

    def test_an_event_id_twice(self):
        events = self.event(1, "1"), self.event(2, "2"), self.event(2, "2")
        assert "ids are there more than once" in self.differences(*events)[-1]
