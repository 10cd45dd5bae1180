"""What moto's Kinesis and KMS need to tell the truth, each as small as it can be."""

from __future__ import annotations

import json
import time
from typing import Any, Self

from moto.core.exceptions import JsonRESTError
from moto.kinesis import models as kinesis_models
from moto.kms import responses as kms_responses
from moto.kms import urls as kms_urls

__all__ = ["mend"]


def mend() -> None:
    """Put the mended classes in the place of moto's. Once or often makes no difference."""
    vars(kinesis_models).update(Record=_Record, Shard=_Shard)
    kms_urls.url_paths["{0}/$"] = _KmsResponse.dispatch


class _Record(kinesis_models.Record):
    """A record that goes when its stream goes."""

    def __new__(cls, *_args: Any, **_values: Any) -> Self:
        # moto's own keeps every record that ever was in a class variable, for its dashboard.
        return object.__new__(cls)


class _Shard(kinesis_models.Shard):
    """A shard whose puts cost the same however many records it holds.

    Sequence numbers have 56 digits like those of AWS. They start from the shard's number and
    the time it was made, so they are unique in a stream, and a checkpoint of a deleted stream
    never skips records of one that has taken its name. moto's start from 1 in each shard.
    """

    def __init__(self, shard_id: int, *args: Any, **values: Any) -> None:
        super().__init__(shard_id, *args, **values)
        made_ms = time.time_ns() // 1_000_000
        self._start = int(f"49{made_ms:014d}{shard_id:012d}{0:028d}")

    def get_min_sequence_number(self) -> int:
        return next(iter(self.records), self._start)

    def get_max_sequence_number(self) -> int:
        return next(reversed(self.records), self._start)

    def put_record(self, partition_key: str, data: str, explicit_hash_key: str) -> str:
        sequence = self.get_max_sequence_number() + 1
        self.records[sequence] = _Record(partition_key, data, sequence, explicit_hash_key)
        return str(sequence)


class _KmsResponse(kms_responses.KmsResponse):
    """KMS whose disabled keys refuse to work, as the Decrypt API reference says."""

    def encrypt(self) -> str:
        return self._unless_disabled(super().encrypt())

    def decrypt(self) -> str:
        return self._unless_disabled(super().decrypt())

    def generate_data_key(self) -> str:
        return self._unless_disabled(super().generate_data_key())

    def _unless_disabled(self, reply: str) -> str:
        key = self.kms_backend.describe_key(json.loads(reply)["KeyId"])
        if key.key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        if not key.enabled:
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        return reply
