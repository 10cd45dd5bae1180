"""The contract of every storage, and what only S3 has."""

import threading

import boto3
import pytest
from botocore.stub import Stubber

from dastream.errors import ConfigError, ServiceError
from dastream.storage import S3Storage, copy_objects, open_storage
from dastream.storage.s3 import CONFLICTS_MAX
from dastream.testing import MemoryStorage

BUCKET = "a-bucket"
ESCAPING = ["/etc/x", "../x", "a/../../x", "a/..", "..", ".", "a/./b", "a//b", "a/", "", "a\0b"]


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


@pytest.mark.parametrize("start", [0, 4, 9, 10, 99, -1, -4, -10, -99])
@pytest.mark.parametrize("bytes_max", [1, 5, 99, None])
def test_part_of_an_object_is_as_a_slice_of_it(storage, start, bytes_max):
    storage.put_if_absent("a/b", b"0123456789")

    assert storage.get("a/b", bytes_max, start=start) == b"0123456789"[start:][:bytes_max]


@pytest.mark.parametrize("start", [0, 3, -3])
def test_part_of_an_empty_object_is_empty(storage, start):
    storage.put_if_absent("a/empty", b"")

    assert storage.get("a/empty", start=start) == b""


@pytest.mark.parametrize("key", ["none", "a/none", "a/b/c"])
def test_what_is_not_there_is_none(storage, key):
    assert storage.get(key) is None
    assert storage.get(key, 10) is None


def refuses(operation):
    try:
        operation()
    except ServiceError:
        return True
    return False


@pytest.mark.parametrize("key", ESCAPING)
def test_key_that_is_no_path_is_refused_or_kept_as_it_is(storage, key):
    if refuses(lambda: storage.put_if_absent(key, b"x")):
        assert refuses(lambda: storage.get(key))
        assert list(storage.list()) == []
    else:
        assert storage.get(key) == b"x"
        assert list(storage.list()) == [(key, 1)]


def test_copying_takes_all_objects_and_says_how_many(storage):
    source = MemoryStorage()
    for key in ("a/b", "a/c", "d"):
        source.put_if_absent(key, key.encode())

    assert copy_objects(source, storage) == 3
    assert [(i.key, storage.get(i.key)) for i in storage.list()] == sorted(source.objects.items())


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


@pytest.fixture
def stubbed():
    """S3 with answers that were laid down before, and the storage on it."""
    client = boto3.client(
        "s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="s"
    )
    with Stubber(client) as stubber:
        yield stubber, S3Storage(client, BUCKET, "lake")
        stubber.assert_no_pending_responses()
    client.close()


def conflict(stubber):
    stubber.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)


@pytest.mark.parametrize("conflicts", [1, CONFLICTS_MAX - 1])
def test_s3_put_that_meets_another_is_tried_again(stubbed, conflicts):
    stubber, storage = stubbed
    for _ in range(conflicts):
        conflict(stubber)
    request = {"Bucket": BUCKET, "Key": "lake/a", "Body": b"x", "IfNoneMatch": "*"}
    stubber.add_response("put_object", {}, request)

    assert storage.put_if_absent("a", b"x") is True


def test_s3_put_that_loses_to_another_says_so(stubbed):
    stubber, storage = stubbed
    conflict(stubber)
    stubber.add_client_error("put_object", "PreconditionFailed", http_status_code=412)

    assert storage.put_if_absent("a", b"x") is False


def test_s3_put_that_always_meets_another_is_a_service_error(stubbed):
    stubber, storage = stubbed
    for _ in range(CONFLICTS_MAX):
        conflict(stubber)

    with pytest.raises(ServiceError, match="ConditionalRequestConflict") as caught:
        storage.put_if_absent("a", b"x")

    assert "another writer" in caught.value.hint


@pytest.mark.parametrize("operation", ["get_object", "list_objects_v2"])
def test_s3_read_that_is_denied_tells_which_permission_may_be_missing(stubbed, operation):
    """Without it, S3 denies access to an object that is not there."""
    stubber, storage = stubbed
    stubber.add_client_error(operation, "AccessDenied", http_status_code=403)

    with pytest.raises(ServiceError, match=r"\(AccessDenied\)") as caught:
        storage.get("a") if operation == "get_object" else list(storage.list())

    assert "s3:ListBucket" in caught.value.hint


def test_s3_write_that_is_denied_has_another_hint(stubbed):
    stubber, storage = stubbed
    stubber.add_client_error("put_object", "AccessDenied", http_status_code=403)

    with pytest.raises(ServiceError, match="cannot write") as caught:
        storage.put_if_absent("a", b"x")

    assert "s3:ListBucket" not in caught.value.hint


def test_bucket_that_is_not_there_is_a_config_error_for_who_lists(aws):
    """Whoever begins does; where a bucket goes later on, the outside has failed."""
    storage = open_storage("s3://no-such-bucket/lake")

    with pytest.raises(ConfigError, match="s3: there is no bucket no-such-bucket") as caught:
        list(storage.list())
    assert "check its name" in caught.value.hint

    for failing in (lambda: storage.put_if_absent("a", b"x"), lambda: storage.get("a", 10)):
        with pytest.raises(ServiceError, match=r"s3: cannot \w+ in .* \(NoSuchBucket\)"):
            failing()


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


@pytest.mark.parametrize("url", ["", "file://host/dir", "s3:///lake", "ftp://x/y"])
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError, match="storage: the URL is neither"):
        open_storage(url)
