"""Objects under a root: put if absent, get and list, over `file://` and `s3://`.

An object is written once and never changed. `put_if_absent` returns when the object is durable,
and a reader sees all of it or nothing.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from dastream.clients import open_client
from dastream.errors import ConfigError
from dastream.settings import split_url
from dastream.storage.contract import Storage, StoredObject
from dastream.storage.files import FileStorage
from dastream.storage.s3 import S3Storage

__all__ = ["FileStorage", "S3Storage", "Storage", "StoredObject", "copy_objects", "open_storage"]


def open_storage(url: str) -> Storage:
    """The storage that a URL names: `file:///DIR`, a plain path, or `s3://BUCKET/PREFIX`.

    Query parameters are the sink's and are ignored. Raises ConfigError for any other URL.
    """
    parts = split_url(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FileStorage(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Storage(open_client("s3"), parts.netloc, unquote(parts.path).strip("/"))
    if url and "://" not in url and parts.scheme not in {"file", "s3"}:
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
