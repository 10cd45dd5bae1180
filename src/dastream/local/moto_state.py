"""What moto's KMS, S3, DynamoDB and RDS hold, kept in a file and read back.

moto's request recorder cannot do this: replayed, its requests make other keys and other ids, and
all of them run again at every start. So the models themselves are written down, pickled, after
each request that changed them and before it is answered: S3 object by object, the others whole (a
few kilobytes). Multipart uploads that are under way are not kept.

A pickle can do anything when it is read, so the file is as trusted as the keys that it holds.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from moto.backends import get_backend
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.model_instances import reset_model_data
from moto.s3.models import MultipartDict, s3_backends
from moto.utilities.tagging_service import TaggingService

from dastream.errors import ConfigError
from dastream.local.database import open_database
from dastream.local.moto_mends import ObjectVersions

__all__ = ["MotoState"]

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS service (name TEXT PRIMARY KEY, state BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS object (
        bucket TEXT NOT NULL, key TEXT NOT NULL, versions BLOB NOT NULL,
        PRIMARY KEY (bucket, key))
"""


class MotoState:
    """moto's models, which belong to the process: empty, or as they were left at `path`.

    Who reads or changes them does it inside `using(service)`: one at a time, as moto's models
    need it, and what has changed is durable when the block ends. Raises ConfigError if the file
    is unusable.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._database = open_database(path, _SCHEMA) if path else None
        self._written: dict[str, bytes] = {}
        _forget_everything()
        if self._database:
            try:
                self._load(self._database)
            except ConfigError:
                self.close()
                raise

    def holds(self, service: str) -> bool:
        """Whether anything of a service is written down."""
        return service in self._written

    def close(self) -> None:
        """Close the file, and take everything out of the process."""
        with self._lock:
            if self._database:
                self._database.close()
            _forget_everything()

    @contextmanager
    def using(self, service: str, *, is_reading: bool = False) -> Iterator[None]:
        """Have a service's models for oneself. `is_reading` promises to change nothing."""
        with self._lock:
            try:
                yield
            finally:
                touched = [*_touched_objects()] if service == "s3" else []
                if self._database and not is_reading:
                    self._save(self._database, service, touched)
                for bucket, _ in touched:
                    bucket.keys.touched.clear()

    def _save(self, database: Connection, service: str, touched: list[tuple[Any, str]]) -> None:
        backends = _backends(service).iter_backends()
        state = _dump({(account, region): vars(backend) for account, region, backend in backends})
        if state == self._written.get(service) and not touched:
            return
        with database:
            database.execute("BEGIN")
            database.execute("REPLACE INTO service VALUES (?, ?)", (service, state))
            for bucket, key in touched:
                versions = bucket.keys.getlist(key)
                database.execute(
                    "REPLACE INTO object VALUES (?, ?, ?)"
                    if versions
                    else "DELETE FROM object WHERE bucket = ? AND key = ? AND ? IS NULL",
                    (bucket.name, key, _dump(versions) if versions else None),
                )
        self._written[service] = state

    def _load(self, database: Connection) -> None:
        try:
            for service, state in database.execute("SELECT name, state FROM service"):
                for (account, region), members in _load(state).items():
                    _backends(service)[account][region].__dict__.update(members)
                self._written[service] = state
            buckets = {bucket.name: bucket for bucket in _buckets()}
            for name, key, versions in database.execute("SELECT bucket, key, versions FROM object"):
                buckets[name].keys.setlist(key, _load(versions))
        except Exception as error:  # noqa: BLE001 - a pickle raises whatever it likes
            raise ConfigError(
                f"local endpoint: cannot read what an earlier one left: {type(error).__name__}",
                hint="use the versions of dastream and moto that wrote it, or another directory",
            ) from None
        for bucket in buckets.values():
            s3_backends.bucket_accounts[bucket.name] = (bucket.partition, bucket.account_id)
            bucket.keys.touched.clear()


class _Pickler(pickle.Pickler):
    """Pickles a backend's members, without those that are kept elsewhere or not at all."""

    def persistent_id(self, value: Any) -> Any:
        """A backend is referred to: there is one of each."""
        if isinstance(value, BaseBackend):
            return type(value).__module__.split(".")[1], value.account_id, value.region_name
        return None

    def reducer_override(self, value: Any) -> Any:
        """How the few things are written that cannot, or should not, be written as they are."""
        if isinstance(value, RSAPrivateKey | EllipticCurvePrivateKey):
            encoding = Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
            return _load_private_key, (value.private_bytes(*encoding),)
        if isinstance(value, ObjectVersions | MultipartDict):
            return type(value), ()
        if isinstance(value, TaggingService):
            # Each object ever put has an empty entry.
            tags = {arn: tags for arn, tags in value.tags.items() if tags}
            return object.__new__, (type(value),), vars(value) | {"tags": tags}
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, id: Any) -> Any:
        service, account, region = id
        return _backends(service)[account][region]


def _dump(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def _load(state: bytes) -> Any:
    return _Unpickler(io.BytesIO(state)).load()


def _load_private_key(der: bytes) -> Any:
    # A function of ours, as cryptography's own has no name that a pickle could find it by.
    return load_der_private_key(der, None)


def _backends(service: str) -> Any:
    get: Any = get_backend  # typed for the literal names of all services
    return get(service)


def _buckets() -> Iterator[Any]:
    s3: Any
    for _, _, s3 in s3_backends.iter_backends():
        yield from s3.buckets.values()


def _touched_objects() -> Iterator[tuple[Any, str]]:
    for bucket in _buckets():
        for key in bucket.keys.touched:
            yield bucket, key


def _forget_everything() -> None:
    BackendDict.reset()
    reset_model_data()
