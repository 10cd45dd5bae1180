import errno
import fcntl
import os
import sqlite3
import stat

import pytest

from dastream.checkpoint import (
    Beginning,
    MemoryCheckpoints,
    SqliteCheckpoints,
    open_checkpoints,
    sqlite,
)
from dastream.errors import ConfigError, ServiceError
from dastream.record import SHARD_END


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def checkpoints(request, tmp_path):
    """Every store in turn: the contract is one."""
    if request.param == "memory":
        store = MemoryCheckpoints()
    elif request.param == "sqlite":
        store = open_checkpoints(f"sqlite://{tmp_path}/state.sqlite")
    else:
        store = open_checkpoints(f"dynamodb://{request.getfixturevalue('table')}")
    yield store
    store.close()


def test_new_store_has_no_progress(checkpoints):
    assert checkpoints.progress("stream") == {}


def test_last_commit_of_each_shard_is_the_progress(checkpoints):
    checkpoints.commit("stream", "shard-0", "10")
    checkpoints.commit("stream", "shard-1", "7")
    checkpoints.commit("stream", "shard-0", "9" * 56)
    checkpoints.commit("stream", "shard-1", SHARD_END)

    assert checkpoints.progress("stream") == {"shard-0": "9" * 56, "shard-1": SHARD_END}


def test_streams_do_not_know_each_other(checkpoints):
    checkpoints.commit("one", "shard-0", "1")
    checkpoints.commit("two", "shard-0", "2")

    assert checkpoints.progress("one") == {"shard-0": "1"}
    assert checkpoints.progress("two") == {"shard-0": "2"}


def test_progress_that_was_read_does_not_change(checkpoints):
    before = checkpoints.progress("stream")
    checkpoints.commit("stream", "shard-0", "1")

    assert before == {}


def test_last_arrivals_of_instances_go_with_a_commit(checkpoints):
    assert checkpoints.seen_ms("stream") == {}
    checkpoints.commit("stream", "shard-0", "1", {"writer": 1_795_332_485_123, "gone": 2})
    checkpoints.commit("stream", "shard-1", "1", {"writer": 1_795_332_485_124, "reader": 3})
    checkpoints.commit("stream", "shard-1", "2")
    checkpoints.commit("other", "shard-1", "2", {"db.x": 9})

    assert checkpoints.seen_ms("stream") == {"writer": 1_795_332_485_124, "reader": 3}
    assert checkpoints.seen_ms("other") == {"db.x": 9}


FIRST, SECOND = (
    Beginning(1_700_000_000_000, 0, 1, 2),
    Beginning(1_800_000_000_123, 5, 86_400_000, 9),
)


def test_stream_that_was_not_begun_has_no_beginning(checkpoints):
    checkpoints.begin("other", FIRST, aside="other@none")

    assert checkpoints.beginning("stream") is None


def test_beginning_stays_whatever_is_committed(checkpoints):
    checkpoints.begin("stream", SECOND, aside="stream@none")
    checkpoints.commit("stream", "shard-0", "1")

    assert checkpoints.beginning("stream") == SECOND
    assert checkpoints.progress("stream") == {"shard-0": "1"}


def test_progress_of_an_earlier_stream_is_kept_aside_when_its_name_is_begun_anew(checkpoints):
    checkpoints.begin("stream", FIRST, aside="stream@none")
    checkpoints.commit("stream", "shard-0", SHARD_END)
    checkpoints.commit("stream", "shard-1", "7")
    checkpoints.commit("other", "shard-0", "1")

    checkpoints.begin("stream", SECOND, aside="stream@first")

    assert checkpoints.beginning("stream") == SECOND
    assert checkpoints.progress("stream") == {}
    assert checkpoints.progress("stream@first") == {"shard-0": SHARD_END, "shard-1": "7"}
    assert checkpoints.progress("other") == {"shard-0": "1"}
    checkpoints.commit("stream", "shard-0", "8")
    assert checkpoints.progress("stream@first")["shard-0"] == SHARD_END


def test_progress_stays_when_more_is_known_of_the_same_stream(checkpoints):
    checkpoints.begin("stream", SECOND, aside="stream@none")
    checkpoints.commit("stream", "shard-0", "10")
    shorter = SECOND._replace(lost_ms=10)
    checkpoints.begin("stream", shorter, aside="stream@earlier")

    assert checkpoints.beginning("stream") == shorter
    assert checkpoints.progress("stream") == {"shard-0": "10"}
    assert checkpoints.progress("stream@earlier") == {}


def test_what_lies_aside_gives_way_only_to_other_progress(checkpoints):
    checkpoints.commit("stream", "shard-0", "1")
    checkpoints.begin("stream", FIRST, aside="stream@first")
    checkpoints.begin("stream", FIRST, aside="stream@first")
    assert checkpoints.progress("stream@first") == {"shard-0": "1"}

    checkpoints.commit("stream", "shard-1", "2")
    checkpoints.begin("stream", SECOND, aside="stream@first")
    assert checkpoints.progress("stream@first") == {"shard-1": "2"}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "of my own").mkdir()
    return tmp_path / "of my own" / "state.sqlite"


def test_progress_survives_reopening(path):
    first = SqliteCheckpoints(path)
    first.begin("stream", FIRST, aside="stream@none")
    first.commit("stream", "shard-0", "10", {"writer": 5})
    first.close()

    second = SqliteCheckpoints(path)

    assert second.beginning("stream") == FIRST
    assert second.progress("stream") == {"shard-0": "10"}
    assert second.seen_ms("stream") == {"writer": 5}
    second.close()


def test_commit_is_in_the_file_before_it_returns(path):
    store = SqliteCheckpoints(path)
    store.commit("stream", "shard-0", "10")

    reader = sqlite3.connect(path)
    assert reader.execute("SELECT * FROM checkpoint").fetchall() == [("stream", "shard-0", "10")]
    reader.close()
    store.close()


def test_second_consumer_is_refused_until_the_first_closes(path):
    first = SqliteCheckpoints(path)

    with pytest.raises(ConfigError, match="another consumer uses this file") as caught:
        SqliteCheckpoints(path)
    assert caught.value.hint

    first.close()
    SqliteCheckpoints(path).close()


def test_files_are_for_their_owner_only(path):
    store = SqliteCheckpoints(path)
    store.commit("stream", "shard-0", "10")

    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    store.close()


def test_file_that_is_no_store_is_refused_and_left_alone(path):
    path.write_bytes(b"something else entirely " * 100)

    for _ in range(2):  # the lock of the first attempt is not in the way of the second
        with pytest.raises(ConfigError, match="state: cannot open the file"):
            SqliteCheckpoints(path)

    assert path.read_bytes() == b"something else entirely " * 100


def test_damaged_store_is_refused(path):
    store = SqliteCheckpoints(path)
    for number in range(1000):
        store.commit("stream", f"shard-{number}", "10")
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)

    with pytest.raises(ConfigError, match="state: "):
        SqliteCheckpoints(path).progress("stream")


def test_database_of_another_program_is_refused(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE checkpoint (id INTEGER)")
    other.close()

    with pytest.raises(ConfigError, match="state: "):
        SqliteCheckpoints(path).progress("stream")


def test_directory_that_is_not_there_is_refused_and_not_made(tmp_path):
    with pytest.raises(ConfigError, match="state: cannot open the file") as caught:
        open_checkpoints(f"sqlite://{tmp_path}/mistyped/state.sqlite")

    assert "mistyped" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    for url in (f"sqlite://{tmp_path}", f"sqlite://{tmp_path}/file/state.sqlite"):
        with pytest.raises(ConfigError, match="state: "):
            open_checkpoints(url)


@pytest.mark.parametrize(
    "url", ["", "state.sqlite", "sqlite:state", "sqlite://host/state", "sqlite:///", "s3://b/x"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError, match=r"state: .* sqlite:///FILE"):
        open_checkpoints(url)


def test_store_that_another_program_has_locked_may_be_free_later(path):
    SqliteCheckpoints(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(ServiceError, match="locked") as caught:
        SqliteCheckpoints(path)

    assert "another program" in caught.value.hint
    other.close()
    SqliteCheckpoints(path).close()


def test_commit_into_a_store_that_another_program_has_locked_says_so(path, monkeypatch):
    monkeypatch.setattr(sqlite, "LOCK_SECONDS_MAX", 0)
    store = SqliteCheckpoints(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(ServiceError, match="cannot commit") as caught:
        store.commit("stream", "shard-0", "10")
    assert "another program" in caught.value.hint

    other.close()
    store.commit("stream", "shard-0", "10")
    store.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_not_taken_for_another_consumer(path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(ConfigError, match="cannot open the file") as caught:
        SqliteCheckpoints(path)
    assert "has no locks" in caught.value.hint


def test_spaces_in_a_url_are_escaped(tmp_path):
    open_checkpoints(f"sqlite://{tmp_path}/my%20state").close()

    assert (tmp_path / "my state").exists()
