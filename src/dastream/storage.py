"""Objects under a root: put if absent, get and list, over `file://` and `s3://`.

An object is written once and never changed. `put_if_absent` returns when the object is durable,
and a reader sees all of it or nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from dastream.clients import CallError, call, open_client
from dastream.errors import ConfigError, ServiceError
from dastream.settings import split_url

__all__ = ["FileStorage", "S3Storage", "Storage", "StoredObject", "copy_objects", "open_storage"]

TEMPORARY = "_dastream/tmp"
"""Where a file is written before it gets its name; no reader looks there."""


class StoredObject(NamedTuple):
    """An object's key, relative to the root, and its size in bytes."""

    key: str
    size: int


class Storage(Protocol):
    """What sinks write through and the lake reads through. All raise ServiceError."""

    url: str

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store `data` durably under `key`; False, and nothing done, if the key is taken."""
        ...

    def get(self, key: str, bytes_max: int | None = None) -> bytes | None:
        """The object, or its first `bytes_max` bytes; None if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin with `prefix`, in the order of their keys."""
        ...


def open_storage(url: str) -> Storage:
    """The storage that a URL names: `file:///DIR`, a plain path, or `s3://BUCKET/PREFIX`.

    Query parameters are the sink's and are ignored. Raises ConfigError for any other URL.
    """
    parts = split_url(url)
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return FileStorage(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Storage(open_client("s3"), parts.netloc, unquote(parts.path).strip("/"))
    if "://" not in url and url:
        return FileStorage(Path(url))
    raise ConfigError(
        "storage: the URL is neither file:///DIR nor s3://BUCKET/PREFIX",
        hint="write file:///srv/lake, s3://my-bucket/lake, or the path of a directory",
    )


def copy_objects(source: Storage, target: Storage) -> int:
    """Copy all objects that the target does not have; returns how many there are."""
    count = 0
    for count, item in enumerate(source.list(), start=1):  # noqa: B007 - the last one is returned
        data = source.get(item.key)
        if data is not None:
            target.put_if_absent(item.key, data)
    return count


class FileStorage:
    """Objects as files of a directory: 0600, below directories of 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.url = self._root.as_uri()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write beside, sync, and link to the name: a link fails where the name is taken."""
        target = self._root / key
        try:
            _make_directory(target.parent)
            return self._link(data, target)
        except OSError as error:
            raise _file_error("write", error) from error

    def get(self, key: str, bytes_max: int | None = None) -> bytes | None:
        """The file's bytes."""
        try:
            with (self._root / key).open("rb") as file:
                return file.read(bytes_max)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _file_error("read", error) from error

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Walk the directory, only as much of it as the prefix leaves."""
        for path in _files(self._root / prefix.rpartition("/")[0]):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and not key.startswith(f"{TEMPORARY}/"):
                yield StoredObject(key, path.stat().st_size)

    def _link(self, data: bytes, target: Path) -> bool:
        temporary = self._write_temporary(data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync_directory(target.parent)
        return True

    def _write_temporary(self, data: bytes) -> Path:
        directory = self._root / TEMPORARY
        _make_directory(directory)
        path = directory / secrets.token_hex(16)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink()
            raise
        return path


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(directory: Path) -> Iterator[Path]:
    """The files below a directory in the order of their keys; links to directories are left out."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=_place)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _file_error("list", error) from error
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _place(entry: os.DirEntry[str]) -> str:
    """Where an entry stands among its neighbours: keys go on after a directory's name."""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _file_error(step: str, error: OSError) -> ServiceError:
    return ServiceError(
        f"storage: cannot {step} a file ({error.strerror})",
        hint="check the disk's free space and the owner of the directory",
    )


class S3Storage:
    """Objects of a bucket below a prefix. `client` is boto3's."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.url = f"s3://{bucket}/{prefix}"
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """A conditional put: S3 answers 412 where the key is taken."""
        try:
            call(
                self._client.put_object,
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=data,
                IfNoneMatch="*",
            )
        except CallError as error:
            if error.code == "PreconditionFailed":
                return False
            raise _s3_error("write", error) from None
        return True

    def get(self, key: str, bytes_max: int | None = None) -> bytes | None:
        """The object's bytes, or a range of it."""
        extent = {} if bytes_max is None else {"Range": f"bytes=0-{bytes_max - 1}"}
        try:
            answer = call(
                self._client.get_object, Bucket=self._bucket, Key=self._prefix + key, **extent
            )
            data: bytes = call(answer["Body"].read)
        except CallError as error:
            if error.code == "NoSuchKey":
                return None
            if error.code == "InvalidRange":
                return b""  # an empty object has not even a first byte
            raise _s3_error("read", error) from None
        return data

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All pages of ListObjectsV2."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        while True:
            try:
                page = call(self._client.list_objects_v2, **request)
            except CallError as error:
                raise _s3_error("list", error) from None
            for item in page.get("Contents", ()):
                yield StoredObject(item["Key"].removeprefix(self._prefix), item["Size"])
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]


def _s3_error(step: str, error: CallError) -> ServiceError:
    return ServiceError(
        f"s3: cannot {step} an object ({error.code})",
        hint="check the bucket's name and region, and what this role may do there",
    )
