"""What tests are made from: entries, and records that the official SDK encrypted.

The writer is AWS's own, so our reader is never tested against itself.
"""

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aws_encryption_sdk
from aws_encryption_sdk.identifiers import (
    Algorithm,
    CommitmentPolicy,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

from dastream.record import Position, Record

CLUSTER = "cluster-4HNY5V4RRNPKKYB7ICFKE5JBQQ"
INSTANCE = "db-FZJTMYKCXQBUUZ6VLU7NW3ITCM"
STREAM = f"aws-rds-das-{CLUSTER}"
SHARD = "shardId-000000000000"
CONTEXT = {"aws:rds:dbc-id": CLUSTER}

ARRIVAL_MS = 1_795_418_885_123
ARRIVAL_TIME = "2026-11-23T07:28:05.123Z"
DAY = "2026-11-23"

DATA_KEY = hashlib.sha256(b"data key of the tests").digest()
WRAPPED_KEY = b"the ciphertext that kms would know"

SUITES = {
    0x0014: Algorithm.AES_128_GCM_IV12_TAG16,
    0x0046: Algorithm.AES_192_GCM_IV12_TAG16,
    0x0078: Algorithm.AES_256_GCM_IV12_TAG16,
    0x0114: Algorithm.AES_128_GCM_IV12_TAG16_HKDF_SHA256,
    0x0146: Algorithm.AES_192_GCM_IV12_TAG16_HKDF_SHA256,
    0x0178: Algorithm.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
    0x0214: Algorithm.AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256,
    0x0346: Algorithm.AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384,
    0x0378: Algorithm.AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384,
    0x0478: Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    0x0578: Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
}

HEARTBEAT: dict[str, Any] = {"type": "heartbeat"}


def shared(name: str) -> Path:
    """Published material that lies beside the repository, where it is present."""
    return Path(__file__).resolve().parents[2] / "shared" / name


def entry(text: str | None = "SELECT 1", **members: Any) -> dict[str, Any]:
    """An entry as Aurora PostgreSQL 1.1 writes it."""
    return {
        "startTime": "2026-11-23 07:28:04.920564+00",
        "logTime": "2026-11-23 07:28:04.940668+00",
        "statementId": 6,
        "substatementId": 1,
        "objectType": "TABLE",
        "command": "SELECT",
        "objectName": "public.my_table",
        "databaseName": "postgres",
        "dbUserName": "davide",
        "remoteHost": "172.31.3.195",
        "remotePort": "34534",
        "sessionId": "5ce73c6f.7e64",
        "rowCount": 10,
        "commandText": text,
        "paramList": [],
        "pid": 32356,
        "clientApplication": "psql",
        "exitCode": None,
        "class": "READ",
        "serverVersion": "2.3.1",
        "serverType": "PostgreSQL",
        "serviceName": "Amazon Aurora PostgreSQL-Compatible edition",
        "serverHost": "172.31.3.192",
        "netProtocol": "TCP",
        "dbProtocol": "Postgres 3.0",
        "type": "record",
        "errorMessage": None,
    } | members


class _OneKey(RawMasterKeyProvider):
    """The SDK's provider of one raw AES key; the SDK wants the namespace as a class variable."""

    provider_id = "BC"
    data_key = DATA_KEY

    def _get_raw_key(self, key_id: bytes) -> WrappingKey:
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=self.data_key,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


def key_provider(
    data_key: bytes = DATA_KEY, *, namespace: str = "BC", name: str = "DataKey"
) -> RawMasterKeyProvider:
    """The SDK's provider of one data key, as the producers of activity streams use it."""
    provider = type("_Named", (_OneKey,), {"provider_id": namespace, "data_key": data_key})()
    provider.add_master_key(name)
    return provider


def encrypt(
    plaintext: bytes,
    *,
    provider: RawMasterKeyProvider | None = None,
    suite: int = 0x0178,
    frame_bytes: int = 4096,
    context: Mapping[str, str] | None = None,
) -> bytes:
    """A message, written by the official SDK."""
    is_committing = suite in {0x0478, 0x0578}
    policy = (
        CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
        if is_committing
        else CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    )
    message, _ = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=policy).encrypt(
        source=plaintext,
        key_provider=provider or key_provider(),
        algorithm=SUITES[suite],
        frame_length=frame_bytes,
        encryption_context=dict(context or {}),
    )
    return message


def payload(entries: Sequence[Any], **members: Any) -> bytes:
    """The JSON inside a message."""
    return compact(
        {
            "type": "DatabaseActivityMonitoringRecord",
            "clusterId": CLUSTER,
            "instanceId": INSTANCE,
            "databaseActivityEventList": entries,
        }
        | members
    )


def envelope(message: bytes, *, key: bytes = WRAPPED_KEY, **members: Any) -> bytes:
    """The data of a Kinesis record."""
    return compact(
        {
            "type": "DatabaseActivityMonitoringRecords",
            "version": "1.1",
            "databaseActivityEvents": base64.b64encode(message).decode(),
            "key": base64.b64encode(key).decode(),
        }
        | members
    )


def sealed(
    entries: Sequence[Any], *, data_key: bytes = DATA_KEY, key: bytes = WRAPPED_KEY, **how: Any
) -> bytes:
    """Entries as the data of a Kinesis record."""
    message = encrypt(gzip.compress(payload(entries)), provider=key_provider(data_key), **how)
    return envelope(message, key=key)


def record(
    data: bytes, number: int = 1, *, shard: str = SHARD, arrival_ms: int = ARRIVAL_MS
) -> Record:
    """A record as it lay in the stream."""
    return Record(data, Position(STREAM, shard, str(number)), arrival_ms)


def unwrap(key: bytes, context: Mapping[str, str]) -> bytes:
    """The unwrap of all records above."""
    assert key == WRAPPED_KEY
    return DATA_KEY


def compact(value: Any) -> bytes:
    """JSON as the engines write it, without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def gunzip_lines(data: bytes) -> list[bytes]:
    """The lines of a gzip object, each ended by a line feed."""
    text = gzip.GzipFile(fileobj=io.BytesIO(data)).read()
    assert not text or text.endswith(b"\n")
    return text.splitlines()
