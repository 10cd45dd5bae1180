"""Unwrapping data keys: KMS behind a bounded, expiring cache, or fixed keys without KMS.

An *unwrap* is a function from an envelope's key (the KMS ciphertext) and the encryption context
to the 32-byte data key. It raises DecryptError when ciphertext or context are wrong, which is
the record's fault, and KeyServiceError when KMS does not tell.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any

from dastream.clients import CallError, call
from dastream.errors import ConfigError, DastreamError, DecryptError, KeyServiceError
from dastream.key_cache import CachingUnwrap, Unwrap
from dastream.settings import Settings

__all__ = [
    "CachingUnwrap",
    "Unwrap",
    "encryption_context",
    "fixed_unwrap",
    "kms_unwrap",
    "open_unwrap",
    "owner_of",
    "resource_id",
]

STREAM_PREFIX = "aws-rds-das-"
_RESOURCE_ID = re.compile(r"(cluster|db)-[A-Za-z0-9]{1,64}", re.ASCII)
_CONTEXT_NAMES = {"cluster": "aws:rds:dbc-id", "db": "aws:rds:db-id"}

_REFUSED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
"""KMS errors that are the ciphertext's or the context's fault (KMS API reference, Decrypt)."""


def resource_id(stream: str) -> str | None:
    """The resource id in the name of an activity stream, None for any other stream's name.

    `aws-rds-das-cluster-ABC` is the stream of `cluster-ABC` (Aurora), `aws-rds-das-db-ABC` that
    of `db-ABC` (RDS).
    """
    name = stream.removeprefix(STREAM_PREFIX)
    return name if name != stream and _RESOURCE_ID.fullmatch(name) else None


def owner_of(stream: str, given: str | None = None) -> str:
    """The cluster or instance whose stream it is: by its name, else the one that was `given`.

    Raises ConfigError if nothing tells, the two differ, or it is no resource id.
    """
    named = resource_id(stream)
    if named and given and named != given:
        raise ConfigError(
            f"resource id: the stream's name tells {named}, and another one is given",
            hint="leave --resource-id and DASTREAM_RESOURCE_ID out; a copy of a stream needs "
            "another name than aws-rds-das-…",
        )
    owner = named or given
    if owner is None:
        raise ConfigError(
            "resource id: the stream's name does not tell it",
            hint="the name is not aws-rds-das-…: give --resource-id or DASTREAM_RESOURCE_ID "
            "as cluster-… or db-…",
        )
    encryption_context(owner)
    return owner


def encryption_context(resource_id: str) -> dict[str, str]:
    """The KMS encryption context of a cluster's or an instance's data keys.

    Raises ConfigError if it is neither. Source: AWS's consumer samples for Aurora and RDS.
    """
    match = _RESOURCE_ID.fullmatch(resource_id)
    if match is None:
        raise ConfigError(
            "resource id: neither cluster-… nor db-…",
            hint="take DbClusterResourceId or DbiResourceId, not the cluster's or instance's name",
        )
    return {_CONTEXT_NAMES[match[1]]: resource_id}


def fixed_unwrap(data_keys: Mapping[str, str]) -> Unwrap:
    """An unwrap from known data keys: an envelope's key string to the base64 of its data key.

    Raises ConfigError if a data key is not the base64 of 32 bytes.
    """
    try:
        known = {_base64(key): _base64(data_key) for key, data_key in data_keys.items()}
    except ValueError:
        raise ConfigError("data keys: not base64") from None
    if any(len(data_key) != 32 for data_key in known.values()):
        raise ConfigError("data keys: a data key is 32 bytes")

    def unwrap(key: bytes, context: Mapping[str, str]) -> bytes:
        del context  # known keys need no proof
        if key not in known:
            raise DecryptError("data key: not among those given")
        return known[key]

    return unwrap


def _base64(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def kms_unwrap(client: Any, *, key_id: str | None = None) -> Unwrap:
    """An unwrap through KMS. `client` is boto3's; `key_id` pins the KMS key that may be used."""
    pinned = {} if key_id is None else {"KeyId": key_id}

    def unwrap(key: bytes, context: Mapping[str, str]) -> bytes:
        try:
            answer = call(
                client.decrypt, CiphertextBlob=key, EncryptionContext=dict(context), **pinned
            )
        except CallError as error:
            raise _kms_error(error) from None
        plaintext: bytes = answer["Plaintext"]
        return plaintext

    return unwrap


def _kms_error(error: CallError) -> DastreamError:
    if error.code in _REFUSED:
        return DecryptError(
            f"data key: kms refused it ({error.code})",
            hint="check the resource id: its encryption context must be that of the stream",
        )
    return KeyServiceError(
        f"kms decrypt: {error.code}",
        hint=error.hint
        or "check kms:Decrypt for this role, the key policy, and that the key is enabled",
    )


def open_unwrap(settings: Settings, client: Any) -> CachingUnwrap:
    """The unwrap of every production path: KMS behind the cache, as the settings say."""
    return CachingUnwrap(
        kms_unwrap(client, key_id=settings.kms_key_id),
        keys_max=settings.key_cache_keys_max,
        age_seconds_max=settings.key_cache_age_seconds_max,
    )
