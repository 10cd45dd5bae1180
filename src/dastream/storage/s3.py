"""Objects of a bucket, below a prefix."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import ConfigError, ServiceError
from dastream.storage.contract import StoredObject

__all__ = ["S3Storage"]

CONFLICTS_MAX = 5
"""Answers 409 to one put, one after another, before it has failed."""

CONFLICT_WAIT_SECONDS = 0.1
"""The longest wait after the first of them; each wait is up to twice as long as the last."""


class S3Storage:
    """Objects of a bucket below a prefix. `client` is boto3's."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.url = f"s3://{bucket}/{prefix}"
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """A conditional put: S3 answers 412 where the key is taken.

        Where another request for the key is under way it answers 409, which says nothing about
        whose object will be there: ask again (S3 API reference, PutObject, If-None-Match).
        """
        for conflicts in range(CONFLICTS_MAX):
            if conflicts:
                time.sleep(_wait_seconds(conflicts))
            try:
                self._put(key, data)
            except CallError as error:
                if error.code == "PreconditionFailed":
                    return False
                if error.code != "ConditionalRequestConflict":
                    raise _s3_error("write", self._bucket, error) from None
            else:
                return True
        raise ServiceError(
            "s3: cannot write an object (ConditionalRequestConflict)",
            hint="another writer is at the same place: stop it, or deliver elsewhere",
        )

    def get(self, key: str, bytes_max: int | None = None, *, start: int = 0) -> bytes | None:
        """The object's bytes, or a range of it."""
        extent = _extent(start, bytes_max)
        try:
            answer = call(
                self._client.get_object, Bucket=self._bucket, Key=self._prefix + key, **extent
            )
            data: bytes = call(answer["Body"].read)
        except CallError as error:
            if error.code == "NoSuchKey":
                return None
            if error.code == "InvalidRange":
                return b""  # it has no byte there, an empty object not even a first one
            raise _s3_error("read", self._bucket, error) from None
        return data[:bytes_max]

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All pages of ListObjectsV2."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        while True:
            try:
                page = call(self._client.list_objects_v2, **request)
            except CallError as error:
                if error.code == "NoSuchBucket":  # who lists begins, so nothing is under way
                    raise _no_bucket(self._bucket) from None
                raise _s3_error("list", self._bucket, error) from None
            for item in page.get("Contents", ()):
                yield StoredObject(item["Key"].removeprefix(self._prefix), item["Size"])
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _put(self, key: str, data: bytes) -> None:
        call(
            self._client.put_object,
            Bucket=self._bucket,
            Key=self._prefix + key,
            Body=data,
            IfNoneMatch="*",
        )


def _extent(start: int, bytes_max: int | None) -> dict[str, str]:
    """The argument that names a range (RFC 9110, 14.1.2); from the end it has a start only."""
    if start < 0:
        return {"Range": f"bytes={start}"}
    if bytes_max is not None:
        return {"Range": f"bytes={start}-{start + bytes_max - 1}"}
    return {"Range": f"bytes={start}-"} if start else {}


def _wait_seconds(conflicts: int) -> float:
    longest = CONFLICT_WAIT_SECONDS * 2 ** (conflicts - 1)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads writers, guards nothing


def _no_bucket(bucket: str) -> ConfigError:
    return ConfigError(
        f"s3: there is no bucket {bucket} (NoSuchBucket)",
        hint="check its name, and whether AWS_ENDPOINT_URL leads to where it is; or create it",
    )


def _s3_error(step: str, bucket: str, error: CallError) -> ServiceError:
    hint = error.hint or "check the bucket's name and region, and what this role may do there"
    if error.code == "AccessDenied" and step != "write":
        # S3 API reference, GetObject: without s3:ListBucket a missing object is 403, not 404.
        hint = (
            "allow s3:GetObject on the objects and s3:ListBucket on the bucket: without the "
            "latter S3 denies access to what is not there"
        )
    return ServiceError(f"s3: cannot {step} in {bucket} ({error.code})", hint=hint)
