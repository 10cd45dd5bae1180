"""The cache of data keys: bounded, expiring, and asked by several threads at once."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dastream.errors import DastreamError, DecryptError, KeyServiceError
from dastream.format.message import DataKey

__all__ = ["CachingUnwrap", "Unwrap"]

Unwrap = Callable[[bytes, Mapping[str, str]], bytes]


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
            if self._clock() >= self._next_expiry:
                self._expire()
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

    def _expire(self) -> None:
        """Drop stale outcomes wherever they stand, so that no unused data key stays on."""
        now = self._clock()
        for name in [name for name, slot in self._slots.items() if now >= slot.until]:
            del self._slots[name]
        self._next_expiry = min((slot.until for slot in self._slots.values()), default=math.inf)
