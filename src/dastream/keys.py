"""Unwrapping data keys: KMS behind a bounded, expiring cache, or fixed keys without KMS.

An *unwrap* is a function from an envelope's key (the KMS ciphertext) and the encryption context
to the 32-byte data key. It raises DecryptError when ciphertext or context are wrong, which is
the record's fault, and KeyServiceError when KMS does not tell.
"""

from __future__ import annotations

import binascii
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dastream.clients import CallError, call
from dastream.errors import ConfigError, DastreamError, DecryptError, KeyServiceError
from dastream.format.message import DataKey
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

Unwrap = Callable[[bytes, Mapping[str, str]], bytes]

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


class _Failure(NamedTuple):
    """What a new error is made from.

    The old one is not kept: its frames hold the record, and what its callers have decrypted.
    """

    kind: type[DastreamError]
    message: str
    hint: str | None = None

    def error(self) -> DastreamError:
        return self.kind(self.message, hint=self.hint)


_BROKEN_OFF = _Failure(KeyServiceError, "data key: the call that was waited for failed")


@dataclass(slots=True)
class _Slot:
    """One key's outcome, good `until` then. `done` is set when `data_key` or `failure` is so."""

    until: float
    done: threading.Event = field(default_factory=threading.Event)
    data_key: DataKey | None = None
    failure: _Failure = _BROKEN_OFF


class CachingUnwrap:
    """An unwrap that asks another one once for each key, also when several threads ask at once.

    At most `keys_max` outcomes are kept, the least recently used go first. A data key is kept
    for `age_seconds_max`; a refused one (DecryptError) for `refusal_age_seconds_max`, so that a
    poison key costs one call. A KeyServiceError is not kept. What is too old goes at the next
    call, whatever that asks for. `hits` and `misses` count calls. What it gives is a `DataKey`,
    whose cipher goes with it.
    """

    def __init__(
        self,
        unwrap: Unwrap,
        *,
        keys_max: int = 1000,
        age_seconds_max: float = 300,
        refusal_age_seconds_max: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._unwrap = unwrap
        self._keys_max = keys_max
        self._age_seconds_max = age_seconds_max
        self._refusal_age_seconds_max = refusal_age_seconds_max
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[object, ...], _Slot] = OrderedDict()
        self._next_expiry = math.inf  # not after any slot's `until`

    def __call__(self, key: bytes, context: Mapping[str, str]) -> bytes:
        name = (key, frozenset(context.items()))
        with self._lock:
            self._expire(self._clock())
            slot = self._slots.get(name)
            is_new = slot is None
            if slot is None:
                slot = self._add(name)
            else:
                self.hits += 1
                self._slots.move_to_end(name)
        if is_new:
            self._fill(name, slot, key, context)
        if slot.data_key is None:
            slot.done.wait()
        if slot.data_key is None:
            raise slot.failure.error() from None
        return slot.data_key

    def _add(self, name: tuple[object, ...]) -> _Slot:
        self.misses += 1
        slot = self._slots[name] = _Slot(math.inf)
        self._keep_for(self._age_seconds_max, slot)
        while len(self._slots) > self._keys_max:
            self._slots.popitem(last=False)
        return slot

    def _fill(
        self, name: tuple[object, ...], slot: _Slot, key: bytes, context: Mapping[str, str]
    ) -> None:
        try:
            slot.data_key = DataKey.of(self._unwrap(key, context))
        except DecryptError as error:
            slot.failure = _Failure(type(error), str(error), error.hint)
            with self._lock:
                self._keep_for(self._refusal_age_seconds_max, slot)
        except BaseException as error:
            if isinstance(error, DastreamError):
                slot.failure = _Failure(type(error), str(error), error.hint)
            with self._lock:
                if self._slots.get(name) is slot:
                    del self._slots[name]
            raise
        finally:
            slot.done.set()

    def _keep_for(self, seconds: float, slot: _Slot) -> None:
        slot.until = self._clock() + seconds
        self._next_expiry = min(self._next_expiry, slot.until)

    def _expire(self, now: float) -> None:
        """Drop stale outcomes wherever they stand, so that no unused data key stays on."""
        if now < self._next_expiry:
            return
        for name in [name for name, slot in self._slots.items() if now >= slot.until]:
            del self._slots[name]
        self._next_expiry = min((slot.until for slot in self._slots.values()), default=math.inf)
