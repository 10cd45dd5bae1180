"""Payloads to envelopes, encrypted as Aurora encrypts them, by the official SDK.

The message is an AWS Encryption SDK message under a raw AES key, provider `BC`, name `DataKey`,
frame length 4096, empty context, as in real messages of Aurora; the raw key is a data key of
KMS under the encryption context of the cluster or instance.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

from dastream.clients import CallError, call
from dastream.errors import ConfigError, KeyServiceError
from dastream.keys import encryption_context

__all__ = ["DATA_KEY_AGE_SECONDS_MAX", "DATA_KEY_RECORDS_MAX", "SUITES", "Sealer"]

DATA_KEY_RECORDS_MAX = 1000
DATA_KEY_AGE_SECONDS_MAX = 300.0
"""A data key is replaced after so many records or so much time, whichever comes first."""

SUITES: Mapping[int, AlgorithmSuite] = {
    0x0178: AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
    0x0378: AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384,
    0x0478: AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    0x0578: AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
}
"""Aurora PostgreSQL has been seen with 0x0178, Aurora MySQL with the signed 0x0378."""

FRAME_BYTES = 4096
_UNUSABLE = (
    "InvalidArnException",
    "InvalidKeyUsageException",
    "NotFoundException",
    "ValidationException",
)
_GZIP = zlib.MAX_WBITS | 16
_FASTEST = 1  # SQL in JSON repeats itself so much that more effort gains little


class _DataKey(NamedTuple):
    master_key: RawMasterKey
    wrapped: bytes
    made: float


class Sealer:
    """Makes envelopes for one cluster or instance.

    Raises ConfigError if `resource_id` is neither or the suite is not in `SUITES`, and when
    KMS says of the first data key that waiting does not mend it.
    """

    def __init__(self, kms: Any, *, key_id: str, resource_id: str, suite: int = 0x0178) -> None:
        if suite not in SUITES:
            raise ConfigError(f"seal: no algorithm suite {suite:#06x}")
        self._kms = kms
        self._key_id = key_id
        self._context = encryption_context(resource_id)
        self._suite = SUITES[suite]
        policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
        if self._suite.is_committing():
            policy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        self._client = EncryptionSDKClient(commitment_policy=policy)
        self._data_key: _DataKey | None = None
        self._records = 0

    def seal(self, payload: bytes) -> bytes:
        """The envelope for a payload.

        Raises KeyServiceError if KMS gives no data key, ConfigError if it never will.
        """
        data_key = self._current_data_key()
        message, _ = self._client.encrypt(
            source=_gzip(payload),
            key_provider=data_key.master_key,
            algorithm=self._suite,
            frame_length=FRAME_BYTES,
        )
        self._records += 1
        envelope = {
            "type": "DatabaseActivityMonitoringRecords",
            "version": "1.1",
            "databaseActivityEvents": message,
            "key": data_key.wrapped,
        }
        return msgspec.json.encode(envelope)

    def _current_data_key(self) -> _DataKey:
        current = self._data_key
        if (
            current is None
            or self._records >= DATA_KEY_RECORDS_MAX
            or time.monotonic() - current.made >= DATA_KEY_AGE_SECONDS_MAX
        ):
            current = self._data_key = self._new_data_key()
            self._records = 0
        return current

    def _new_data_key(self) -> _DataKey:
        try:
            answer = call(
                self._kms.generate_data_key,
                KeyId=self._key_id,
                KeySpec="AES_256",
                EncryptionContext=self._context,
            )
        except CallError as error:
            if error.code in _UNUSABLE and self._data_key is None:
                raise ConfigError(
                    f"kms: the key cannot be used ({error.code})",
                    hint="give --kms-key a symmetric key of this region: its id, ARN or alias",
                ) from None
            raise KeyServiceError(f"kms: no data key ({error.code})") from None
        wrapping_key = WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=answer["Plaintext"],
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )
        master_key = RawMasterKey(provider_id="BC", key_id="DataKey", wrapping_key=wrapping_key)
        return _DataKey(master_key, answer["CiphertextBlob"], time.monotonic())


def _gzip(payload: bytes) -> bytes:
    return zlib.compress(payload, _FASTEST, _GZIP)
