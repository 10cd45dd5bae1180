import os
import stat
import threading

import pytest

from dastream.errors import ConfigError, ServiceError
from dastream.storage import FileStorage, S3Storage, open_storage
from dastream.testing import MemoryStorage

BUCKET = "a-bucket"


@pytest.fixture
def bucket(aws):
    """The name of an empty bucket."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield BUCKET
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["memory", "file", "s3", "s3 without prefix"])
def storage(request, tmp_path):
    """Every storage in turn: the contract is one."""
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "file":
        return open_storage((tmp_path / "a" / "lake").as_uri())
    prefix = "/some/lake/" if request.param == "s3" else ""
    return open_storage(f"s3://{request.getfixturevalue('bucket')}{prefix}")


def test_object_that_was_put_is_there(storage):
    assert storage.put_if_absent("events/cluster=c/x.jsonl.gz", b"data") is True
    assert storage.get("events/cluster=c/x.jsonl.gz") == b"data"


def test_first_writer_wins(storage):
    storage.put_if_absent("a/b", b"first")

    assert storage.put_if_absent("a/b", b"second") is False
    assert storage.get("a/b") == b"first"


def test_object_may_be_empty(storage):
    assert storage.put_if_absent("a/empty", b"") is True
    assert storage.put_if_absent("a/empty", b"x") is False
    assert (storage.get("a/empty"), storage.get("a/empty", 10)) == (b"", b"")


@pytest.mark.parametrize(("bytes_max", "data"), [(1, b"0"), (9, b"012345678"), (99, b"0123456789")])
def test_no_more_of_an_object_is_read_than_was_asked_for(storage, bytes_max, data):
    storage.put_if_absent("a/b", b"0123456789")

    assert storage.get("a/b", bytes_max) == data


@pytest.mark.parametrize("key", ["none", "a/none", "a/b/c"])
def test_what_is_not_there_is_none(storage, key):
    assert storage.get(key) is None
    assert storage.get(key, 10) is None


def test_two_writers_at_once_have_one_winner(storage):
    barrier = threading.Barrier(8)
    won = []

    def write(data):
        barrier.wait()
        if storage.put_if_absent("a/raced", data):
            won.append(data)

    threads = [threading.Thread(target=write, args=(b"%d" % i * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == [storage.get("a/raced")]
    assert [item.key for item in storage.list()] == ["a/raced"]


def test_list_is_in_the_order_of_keys_with_sizes(storage):
    keys = ["a/z", "a/b/c", "a/b-c", "a/b", "a/bb/x", "z", "A", "ä", "0/1/2/3"]
    keys.remove("a/b")  # a file cannot be where a directory is
    for size, key in enumerate(keys):
        storage.put_if_absent(key, bytes(size))

    assert list(storage.list()) == sorted((key, size) for size, key in enumerate(keys))


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("events/", ["events/cluster=a/1", "events/cluster=ab/2"]),
        ("events/cluster=a", ["events/cluster=a/1", "events/cluster=ab/2"]),
        ("events/cluster=a/", ["events/cluster=a/1"]),
        ("events/cluster=a/1", ["events/cluster=a/1"]),
        ("events/cluster=c/", []),
        ("nothing/at/all", []),
        ("", ["dead-letter/3", "events/cluster=a/1", "events/cluster=ab/2"]),
    ],
)
def test_list_is_of_keys_that_begin_with_a_prefix(storage, prefix, found):
    for key in ("events/cluster=a/1", "events/cluster=ab/2", "dead-letter/3"):
        storage.put_if_absent(key, b"x")

    assert [item.key for item in storage.list(prefix)] == found


def test_empty_storage_has_nothing_to_list(storage):
    assert list(storage.list()) == []
    assert list(storage.list("events/")) == []


def test_s3_lists_more_than_a_page(bucket, aws):
    pages = []

    class TwoKeysAPage:
        """The client, asking for small pages."""

        put_object = aws.client("s3").put_object

        @staticmethod
        def list_objects_v2(**request):
            pages.append(request)
            return aws.client("s3").list_objects_v2(MaxKeys=2, **request)

    storage = S3Storage(TwoKeysAPage(), bucket, "lake")
    for number in range(5):
        storage.put_if_absent(f"{number}", b"x")

    assert [item.key for item in storage.list()] == ["0", "1", "2", "3", "4"]
    assert len(pages) == 3


def test_keys_in_s3_lie_below_the_prefix(bucket, aws):
    open_storage(f"s3://{bucket}/my%20lake").put_if_absent("a/b", b"x")

    assert aws.client("s3").get_object(Bucket=bucket, Key="my lake/a/b")["Body"].read() == b"x"
    assert list(open_storage(f"s3://{bucket}/my").list()) == []


def test_bucket_that_is_not_there_is_a_service_error(aws):
    storage = open_storage("s3://no-such-bucket/lake")

    for failing in (
        lambda: storage.put_if_absent("a", b"x"),
        lambda: list(storage.list()),
        lambda: storage.get("a", 10),
    ):
        with pytest.raises(ServiceError, match=r"s3: cannot \w+ an object \(NoSuchBucket\)"):
            failing()


def test_files_and_directories_are_for_their_owner_only(tmp_path):
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        root = tmp_path / "new" / "lake"
        FileStorage(root).put_if_absent("events/cluster=c/x", b"x")
    finally:
        os.umask(before)

    below = [root.parent, root, *root.rglob("*")]
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in below}
    assert modes == {True: 0o700, False: 0o600}
    assert all(stat.S_IMODE(p.stat().st_mode) == (0o700 if p.is_dir() else 0o600) for p in below)


def test_no_temporary_file_is_left_or_listed(tmp_path):
    storage = FileStorage(tmp_path)
    storage.put_if_absent("a", b"x")
    storage.put_if_absent("a", b"y")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a"]

    (tmp_path / "_dastream" / "tmp" / "left-by-a-crash").write_bytes(b"half")

    assert [item.key for item in storage.list()] == ["a"]


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
        with pytest.raises(ServiceError, match=r"storage: cannot \w+ a file \(") as caught:
            failing()
        assert caught.value.hint


def test_file_where_a_directory_should_be_is_a_service_error(tmp_path):
    (tmp_path / "events").write_bytes(b"")
    storage = FileStorage(tmp_path)

    with pytest.raises(ServiceError, match="cannot write"):
        storage.put_if_absent("events/cluster=c/x", b"x")
    with pytest.raises(ServiceError, match="cannot read"):
        storage.get("events/cluster=c/x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///srv/my%20lake?format=jsonl", "file:///srv/my%20lake"),
        ("/srv/lake", "file:///srv/lake"),
        ("s3://bucket/some/lake/?format=jsonl", "s3://bucket/some/lake"),
    ],
)
def test_url_names_the_storage(aws, url, shown):
    assert open_storage(url).url == shown


@pytest.mark.parametrize("url", ["", "file://host/dir", "file:", "s3:///lake", "ftp://x/y", "s3://[x"])
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError, match="storage: the URL is neither"):
        open_storage(url)
