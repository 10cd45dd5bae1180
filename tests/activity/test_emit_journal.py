"""What an emitter remembers, and for whom."""

from __future__ import annotations

import os
import sqlite3

import pytest

from dastream.activity.journal import Journal
from dastream.activity.log_files import Place
from dastream.activity.progress import Process, Progress
from dastream.activity.session import Kept
from dastream.errors import ConfigError, ServiceError

PLACE = Place("2026-01-02 03:04:05.678 UTC", "a.json", 7)
KEPT = Kept(PLACE, "2026-01-02 03:04:05.678 UTC", 5, "57P01", "terminating", [b"digest"])


@pytest.fixture
def path(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "emit.sqlite"


@pytest.fixture
def open_journal(path):
    journals = []

    def open_journal(publishes="s cluster-A"):
        journals.append(Journal(path, publishes=publishes))
        return journals[-1]

    yield open_journal
    for journal in journals:
        journal.close()


def test_what_was_stored_is_there_again(open_journal):
    journal = open_journal()
    assert (journal.progress(), journal.envelopes()) == (None, [])
    journal.store(Progress(PLACE, PLACE, 3, "p.1", ["f"], {"1.1": Process(4, KEPT)}), [b"a", b"b"])
    journal.close()
    journal = open_journal()
    assert journal.envelopes() == [b"a", b"b"]
    assert journal.progress() == Progress(PLACE, PLACE, 3, "p.1", ["f"], {"1.1": Process(4, KEPT)})


def test_processes_are_changed_one_by_one(open_journal):
    journal = open_journal()
    journal.store(Progress(processes={"1.1": Process(1), "1.2": Process(2)}))
    journal.store(Progress(PLACE, processes={"1.2": None, "1.3": Process(3, KEPT)}))
    assert journal.progress().through == PLACE
    assert journal.progress().processes == {"1.1": Process(1), "1.3": Process(3, KEPT)}


def test_envelopes_stay_until_they_are_put_or_others_come(open_journal):
    journal = open_journal()
    journal.store(Progress(), [b"a", b"b"])
    journal.store(Progress(), [b"c"])
    assert journal.envelopes() == [b"c"]
    journal.clear()
    assert journal.envelopes() == []


def test_only_the_owner_can_read_it(open_journal, path):
    open_journal().store(Progress(), [b"a"])
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}


def test_a_second_emitter_is_kept_out_until_the_first_ends(open_journal):
    journal = open_journal()
    with pytest.raises(ConfigError, match="another emitter"):
        open_journal()
    journal.close()
    open_journal()


def test_a_file_of_another_stream_is_refused(open_journal):
    open_journal().close()
    with pytest.raises(ConfigError, match="another stream"):
        open_journal(publishes="t cluster-A")
    open_journal().close()


def test_a_file_of_another_version_is_refused(open_journal, path):
    open_journal().close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE about SET value = ? WHERE name = 'version'", (b"\x63",))
    database.close()
    with pytest.raises(ConfigError, match="another version"):
        open_journal()


def test_what_is_no_journal_is_refused(open_journal, path):
    path.write_bytes(os.urandom(5000))
    with pytest.raises(ConfigError, match="cannot open"):
        open_journal()


def test_what_cannot_be_stored_stops_the_emitter(open_journal, path):
    journal = open_journal()
    other = sqlite3.connect(path)
    other.execute("DROP TABLE outbox")
    other.close()
    with pytest.raises(ServiceError, match="cannot commit"):
        journal.store(Progress(), [b"a"])
