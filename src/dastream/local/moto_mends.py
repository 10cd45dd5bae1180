"""What moto's KMS and S3 need to tell the truth, each as small as it can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms import urls as kms_urls
from moto.kms import utils as kms_utils
from moto.kms.responses import KmsResponse
from moto.s3 import models as s3_models
from moto.s3.utils import _VersionedKeyStore

__all__ = ["ObjectVersions", "mend"]


def mend() -> None:
    """Put the mended classes in the place of moto's. Once or often makes no difference."""
    vars(kms_utils)["_serialize_encryption_context"] = _serialize_encryption_context
    vars(s3_models)["_VersionedKeyStore"] = ObjectVersions
    kms_urls.url_paths["{0}/$"] = _KmsResponse.dispatch


class ObjectVersions(_VersionedKeyStore):
    """The objects of a bucket, each a list of versions, with the keys that were touched."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.touched.add(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.touched.add(key)
        super().__setitem__(key, value)

    def getlist(self, key: str, default: Any = None) -> Any:
        """All versions of an object."""
        self.touched.add(key)
        return super().getlist(key, default)

    def setlist(self, key: str, list_: Any) -> None:
        """Replace all versions of an object."""
        self.touched.add(key)
        super().setlist(key, list_)

    def pop(self, key: str) -> None:  # type: ignore[override]  # as moto has it
        """Remove all versions of an object."""
        self.touched.add(key)
        super().pop(key)


def _serialize_encryption_context(encryption_context: dict[str, str]) -> bytes:
    # moto's own joins names and values without anything in between: many contexts are as one.
    return json.dumps(sorted(encryption_context.items())).encode()


def _with_usable_key(operation: Callable[[Any], str]) -> Callable[[Any], str]:
    """The operation, refused by keys that are disabled or to be deleted.

    "Key states of AWS KMS keys", Developer Guide; moto looks at the state of none.
    """

    def checked(self: KmsResponse) -> str:
        reply = operation(self)
        members = json.loads(reply)
        for name in ("KeyId", "SourceKeyId"):
            if name in members:
                _check_usable(self.kms_backend.describe_key(members[name]))
        return reply

    return checked


def _check_usable(key: Any) -> None:
    _check_not_pending_deletion(key)
    if not key.enabled:
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")


def _check_not_pending_deletion(key: Any) -> None:
    if key.key_state == "PendingDeletion":
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")


class _KmsResponse(KmsResponse):
    """moto's KMS with the states of keys, and signatures that do not match as an error."""

    encrypt = _with_usable_key(KmsResponse.encrypt)
    decrypt = _with_usable_key(KmsResponse.decrypt)
    re_encrypt = _with_usable_key(KmsResponse.re_encrypt)
    generate_data_key = _with_usable_key(KmsResponse.generate_data_key)
    generate_mac = _with_usable_key(KmsResponse.generate_mac)
    verify_mac = _with_usable_key(KmsResponse.verify_mac)
    get_public_key = _with_usable_key(KmsResponse.get_public_key)

    def enable_key(self) -> str:
        self._validate_cmk_id(self._get_param("KeyId"))
        key = self.kms_backend.describe_key(self._get_param("KeyId"))
        _check_not_pending_deletion(key)
        reply: str = super().enable_key()
        return reply

    def sign(self) -> str:
        self._check_raw_message()
        return _with_usable_key(KmsResponse.sign)(self)

    def verify(self) -> str:
        self._check_raw_message()
        reply = _with_usable_key(KmsResponse.verify)(self)
        if not json.loads(reply)["SignatureValid"]:
            raise JsonRESTError("KMSInvalidSignatureException", "The signature does not match.")
        return reply

    def _check_raw_message(self) -> None:
        if self._get_param("MessageType") == "DIGEST":  # moto would hash the digest once more
            message = "The local endpoint signs whole messages: MessageType RAW."
            raise JsonRESTError("UnsupportedOperationException", message)

    def _get_param(self, param_name: str, if_none: Any = None) -> Any:
        value = super()._get_param(param_name, if_none)
        # Where AWS takes a key's ARN, some of moto's operations want its id.
        return self.kms_backend.get_key_id(value) if param_name == "KeyId" and value else value
