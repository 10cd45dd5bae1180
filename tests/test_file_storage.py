"""What only files have: directories, modes, syncs, and names that lead elsewhere."""

import errno
import os
import re
import stat
import time
from pathlib import Path

import pytest

from dastream.errors import ConfigError, ServiceError
from dastream.storage import FileStorage, copy_objects, open_storage
from dastream.testing import MemoryStorage
from test_storage import ESCAPING


@pytest.mark.parametrize("key", [*ESCAPING, "_dastream/tmp/x"])
def test_no_key_leads_out_of_the_directory(tmp_path, key):
    (tmp_path / "x").write_bytes(b"not of the lake")
    storage = FileStorage(tmp_path / "lake")

    for refused in (
        lambda: storage.put_if_absent(key, b"mine"),
        lambda: storage.get(key),
        lambda: list(storage.list(f"../{key}")),
    ):
        with pytest.raises(ServiceError, match="a key is no path below the directory") as caught:
            refused()
        assert caught.value.hint

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "x"]


@pytest.mark.parametrize("key", ["{}/absolute", "../beside", "a/../../beside"])
def test_copying_writes_nothing_outside_the_directory(tmp_path, key):
    source = MemoryStorage()
    source.put_if_absent(key.format(tmp_path), b"hostile")

    with pytest.raises(ServiceError, match="a key is no path"):
        copy_objects(source, FileStorage(tmp_path / "lake"))

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_and_directories_are_for_their_owner_only(tmp_path):
    before = os.umask(0)
    try:
        root = tmp_path / "new" / "lake"
        FileStorage(root).put_if_absent("events/cluster=c/x", b"x")
    finally:
        os.umask(before)

    below = [root.parent, root, *root.rglob("*")]
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in below}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_no_temporary_file_is_left_or_listed(tmp_path):
    storage = FileStorage(tmp_path)
    storage.put_if_absent("a", b"x")
    storage.put_if_absent("a", b"y")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a"]

    (tmp_path / "_dastream" / "tmp" / "left-by-a-crash").write_bytes(b"half")

    assert [item.key for item in storage.list()] == ["a"]


def test_what_a_crash_left_is_removed_and_what_another_writes_is_not(tmp_path):
    """A temporary file holds plaintext."""
    FileStorage(tmp_path).put_if_absent("a", b"x")
    old, young = (tmp_path / "_dastream" / "tmp" / name for name in ("old", "young"))
    for path, age_seconds in ((old, 3700), (young, 3500)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_seconds,) * 2)

    FileStorage(tmp_path).get("a")
    assert old.exists()
    FileStorage(tmp_path).put_if_absent("a", b"x")

    assert (old.exists(), young.exists()) == (False, True)


@pytest.fixture
def sweeping_before_links(tmp_path, monkeypatch):
    """How often another process, whose clock is two hours ahead, sweeps before a link."""
    sweeps, original = [], os.link

    def link(source, target):
        if sweeps:
            sweeps.pop()()
        original(source, target)

    def sweep():
        with monkeypatch.context() as ahead:
            now = time.time()
            ahead.setattr(time, "time", lambda: now + 7200)
            FileStorage(tmp_path)._sweep()

    monkeypatch.setattr(os, "link", link)
    return lambda times: sweeps.extend([sweep] * times)


def test_object_whose_temporary_file_another_process_swept_is_written_again(
    tmp_path, sweeping_before_links
):
    sweeping_before_links(1)

    assert FileStorage(tmp_path).put_if_absent("a/b", b"x") is True

    assert FileStorage(tmp_path).get("a/b") == b"x"


def test_object_whose_temporary_file_goes_again_and_again_is_an_error(
    tmp_path, sweeping_before_links
):
    sweeping_before_links(2)

    with pytest.raises(ServiceError, match=r"cannot write .*_dastream/tmp/.* \(No such file"):
        FileStorage(tmp_path).put_if_absent("a/b", b"x")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_hard_links_is_told_and_nothing_is_left_there(
    tmp_path, monkeypatch, number
):
    def link(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)

    with pytest.raises(ServiceError, match=r"cannot write .*/a/b \(no hard links\)") as caught:
        FileStorage(tmp_path).put_if_absent("a/b", b"x")

    assert "take another place" in caught.value.hint
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.fixture
def synced(monkeypatch):
    """The paths of what is synced, in order."""
    paths = []
    original = os.fsync

    def fsync(descriptor):
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_object_is_durable_before_its_name_is_and_so_are_its_directories(tmp_path, synced):
    FileStorage(tmp_path / "lake").put_if_absent("a/b/c", b"x")

    directories = [str(tmp_path), f"{tmp_path}/lake", f"{tmp_path}/lake/a"]
    assert [path for path in dict.fromkeys(synced) if path in directories] == directories
    assert synced[-2].startswith(f"{tmp_path}/lake/_dastream/tmp/")
    assert synced[-1] == f"{tmp_path}/lake/a/b"


def test_name_that_is_taken_is_made_durable_before_that_is_said(tmp_path, synced):
    """Its first writer may have been killed between the link and the sync."""
    storage = FileStorage(tmp_path)
    storage.put_if_absent("a/b", b"x")
    synced.clear()

    assert storage.put_if_absent("a/b", b"x") is False

    assert synced[-1] == f"{tmp_path}/a"


def test_directory_that_another_process_made_is_made_durable_once(tmp_path, synced):
    storage = FileStorage(tmp_path / "lake")
    (tmp_path / "lake" / "a" / "b").mkdir(parents=True)

    storage.put_if_absent("a/b/c", b"x")
    assert {str(tmp_path), f"{tmp_path}/lake", f"{tmp_path}/lake/a"} <= set(synced)

    synced.clear()
    storage.put_if_absent("a/b/d", b"x")
    assert len(synced) == 2  # the file, and the directory that has its name


def test_directory_that_was_removed_is_made_again(tmp_path):
    storage = FileStorage(tmp_path)
    storage.put_if_absent("a/b", b"x")
    (tmp_path / "a" / "b").unlink()
    (tmp_path / "a").rmdir()

    assert storage.put_if_absent("a/b", b"y") is True


def test_other_objects_of_ours_are_listed(tmp_path):
    storage = FileStorage(tmp_path)
    storage.put_if_absent("_dastream/tmp-1", b"x")

    assert [item.key for item in storage.list("_dastream/")] == ["_dastream/tmp-1"]


def test_directory_that_cannot_be_read_is_a_service_error(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    storage = FileStorage(loop)

    for failing in (
        lambda: storage.put_if_absent("a", b"x"),
        lambda: list(storage.list()),
        lambda: storage.get("a"),
    ):
        with pytest.raises(ServiceError, match=r"storage: cannot \w+ .* \(") as caught:
            failing()
        assert caught.value.hint


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "let this user read and write"),
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "make room"),
    ],
)
def test_hint_is_about_what_the_system_says(tmp_path, monkeypatch, number, hint):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "open", refuse)

    for failing in (
        lambda: list(FileStorage(tmp_path).list()),
        lambda: FileStorage(tmp_path).put_if_absent("a", b"x"),
    ):
        with pytest.raises(ServiceError, match=re.escape(os.strerror(number))) as caught:
            failing()
        assert hint in caught.value.hint


def test_file_whose_size_cannot_be_read_is_a_service_error(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(ServiceError, match="storage: cannot list "):
        list(FileStorage(tmp_path).list())


def test_file_that_goes_while_a_directory_is_listed_is_left_out(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x")
    listed = FileStorage(tmp_path).list()

    found = [next(listed).key]
    (tmp_path / "b").unlink()

    assert found + [item.key for item in listed] == ["a", "c"]


def test_file_where_a_directory_should_be_is_a_service_error(tmp_path):
    (tmp_path / "events").write_bytes(b"")
    storage = FileStorage(tmp_path)

    with pytest.raises(ServiceError, match="cannot write"):
        storage.put_if_absent("events/cluster=c/x", b"x")
    with pytest.raises(ServiceError, match="cannot read"):
        storage.get("events/cluster=c/x")


@pytest.mark.parametrize("url", ["s3:/bucket/lake", "s3:bucket/lake", "file:lake", "s3:", "file:"])
def test_url_that_lacks_a_slash_is_no_name_of_a_directory(url, tmp_path, monkeypatch):
    """An audit trail would go where nobody looks for it."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match="neither file:///DIR nor s3://BUCKET/PREFIX"):
        open_storage(url)
