"""Entries to records of the stream: packed, sealed and put, and put again where that failed.

Nothing is given up while the publisher runs: the log is the buffer, and as long as Kinesis or
KMS has trouble nothing more is read from it. An envelope that is put again is the same bytes, so
its events have the same ids. The limits are those of PutRecords in the Kinesis API reference.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dastream.activity.entry import HEARTBEAT, Entry, encode
from dastream.activity.shorten import shorten
from dastream.clients import CallError, call
from dastream.errors import ConfigError, KeyServiceError, ServiceError, SinkError

__all__ = ["Counters", "Publisher"]

_log = logging.getLogger(__name__)

RECORD_BYTES_MAX = 1024 * 1024 - 1024
"""What a record may take in the stream, with room for the partition key."""

PUT_RECORDS_MAX = 500
PUT_BYTES_MAX = 5 * 1024 * 1024 - 64 * 1024
WAIT_SECONDS_MIN = 0.1
WAIT_SECONDS_MAX = 10.0
LAST_SECONDS_MAX = 3.0
LAST_WAIT_SECONDS_MAX = 1.0
"""How long attempts go on once the publisher is to stop, and the pauses between them."""

TOLD_SECONDS = 60.0
"""How often the same trouble is told."""

_UNUSABLE = ("ResourceNotFoundException", "ValidationException", "InvalidArgumentException")


@dataclass
class Counters:
    """What has been published: `entries` by command; `cut` entries were too large for a record.

    `retries` counts attempts at KMS and Kinesis after a first one, `repeated` the records of an
    emitter before, which may have put them.
    """

    entries: Counter[str] = field(default_factory=Counter)
    heartbeats: int = 0
    records: int = 0
    bytes: int = 0
    retries: int = 0
    repeated: int = 0
    cut: int = 0


class Publisher:
    """Puts entries into a stream, several to a record.

    `seal` makes an envelope of a payload and may raise KeyServiceError. A record holds entries
    up to `record_bytes_max` (before compression). After `stop`, KeyServiceError and SinkError
    come out as soon as an attempt fails and `LAST_SECONDS_MAX` are over. Raises ConfigError if
    the stream refuses the first record in a way that waiting does not mend.
    """

    def __init__(
        self,
        seal: Callable[[bytes], bytes],
        *,
        kinesis: Any,
        stream: str,
        cluster_id: str,
        instance_id: str,
        record_bytes_max: int,
        record_age_seconds_max: float,
    ) -> None:
        self.counters = Counters()
        self.stopping = threading.Event()
        """Set by `stop`."""
        self._seal = seal
        self._kinesis = kinesis
        self._stream = stream
        self._head = _payload_head(cluster_id, instance_id)
        self._record_bytes_max = record_bytes_max
        self._record_age_seconds_max = record_age_seconds_max
        self._give_up_at = float("inf")
        self._told: tuple[str, float] = ("", 0.0)
        self._packed: list[bytes] = []
        self._packed_bytes = 0
        self._since: float | None = None
        self._sealed: list[bytes] = []

    def add(self, entry: Entry) -> None:
        """Pack an entry; seals the record that it does not fit into."""
        data = encode(entry)
        if self._packed and self._packed_bytes + len(data) > self._record_bytes_max:
            self._seal_packed()
        self._since = self._since or time.monotonic()
        self._packed.append(data)
        self._packed_bytes += len(data)
        self.counters.entries[entry.command] += 1

    def stop(self) -> None:
        """Try for a moment longer only, from another thread or a signal handler."""
        self._give_up_at = time.monotonic() + LAST_SECONDS_MAX
        self.stopping.set()

    def is_due(self) -> bool:
        """Whether a record is full, or the first entry has waited long enough."""
        if self._sealed:
            return True
        age_seconds = 0.0 if self._since is None else time.monotonic() - self._since
        return self._since is not None and age_seconds >= self._record_age_seconds_max

    def take(self) -> list[bytes]:
        """The envelopes of all entries so far, to be put."""
        self._seal_packed()
        self._since = None
        envelopes, self._sealed = self._sealed, []
        return envelopes

    def put(self, envelopes: Sequence[bytes]) -> None:
        """Put envelopes until the stream has taken all of them."""
        left = list(envelopes)
        attempt = 0
        while left:
            count = _count_to_put(left)
            refused, code = self._put_records(left[:count])
            left[:count] = refused
            if refused:
                self._wait(attempt, SinkError(f"kinesis: {len(refused)} records refused ({code})"))
                attempt += 1

    def put_heartbeat(self) -> None:
        """Put a record of its own with a heartbeat."""
        self.put([self._envelope([HEARTBEAT])])
        self.counters.heartbeats += 1

    def flush(self) -> None:
        """Put all there is."""
        self.put(self.take())

    def _seal_packed(self) -> None:
        packed, self._packed, self._packed_bytes = self._packed, [], 0
        if packed:
            self._seal_entries(packed)

    def _seal_entries(self, entries: list[bytes]) -> None:
        envelope = self._envelope(entries)
        if len(envelope) <= RECORD_BYTES_MAX:
            self._sealed.append(envelope)
        elif len(entries) > 1:
            half = len(entries) // 2
            self._seal_entries(entries[:half])
            self._seal_entries(entries[half:])
        else:
            self._sealed.append(self._shortened_envelope(entries[0]))
            self.counters.cut += 1

    def _shortened_envelope(self, data: bytes) -> bytes:
        entry = msgspec.json.decode(data, type=Entry)
        while True:
            shorten(entry)
            envelope = self._envelope([encode(entry)])
            if len(envelope) <= RECORD_BYTES_MAX:
                return envelope

    def _envelope(self, entries: Sequence[bytes]) -> bytes:
        payload = b"%b%b]}" % (self._head, b",".join(entries))
        attempt = 0
        while True:
            try:
                return self._seal(payload)
            except KeyServiceError as error:
                self._wait(attempt, error)
                attempt += 1

    def _put_records(self, envelopes: list[bytes]) -> tuple[list[bytes], str]:
        """The envelopes that were refused, in their order, and the code of the last refusal."""
        records = [{"Data": one, "PartitionKey": str(uuid.uuid4())} for one in envelopes]
        try:
            answer = call(self._kinesis.put_records, StreamName=self._stream, Records=records)
        except CallError as error:
            self._check_stream(error.code)
            return envelopes, error.code
        both = list(zip(envelopes, answer["Records"], strict=True))
        refused = [(one, result) for one, result in both if result.get("ErrorCode")]
        self.counters.records += len(both) - len(refused)
        self.counters.bytes += sum(len(one) for one, result in both if not result.get("ErrorCode"))
        return [one for one, _ in refused], refused[-1][1]["ErrorCode"] if refused else ""

    def _check_stream(self, code: str) -> None:
        if code in _UNUSABLE and not self.counters.records:
            raise ConfigError(
                f"kinesis: the stream cannot be used ({code})",
                hint="check its name and the region; `aws kinesis create-stream` makes one",
            )

    def _tell(self, error: ServiceError) -> None:
        text, at = self._told
        if str(error) != text or time.monotonic() >= at + TOLD_SECONDS:
            self._told = str(error), time.monotonic()
            _log.warning("activity: %s; trying again", error)

    def _wait(self, attempt: int, error: ServiceError) -> None:
        if time.monotonic() >= self._give_up_at:
            raise error
        if attempt == 0:
            self._tell(error)
        self.counters.retries += 1
        seconds = min(WAIT_SECONDS_MAX, WAIT_SECONDS_MIN * 2 ** min(attempt, 16))
        seconds *= random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        if self.stopping.is_set():
            time.sleep(min(seconds, LAST_WAIT_SECONDS_MAX))
        else:
            self.stopping.wait(seconds)


def _payload_head(cluster_id: str, instance_id: str) -> bytes:
    members = {
        "type": "DatabaseActivityMonitoringRecord",
        "clusterId": cluster_id,
        "instanceId": instance_id,
        "databaseActivityEventList": [],
    }
    return msgspec.json.encode(members).removesuffix(b"]}")


def _count_to_put(envelopes: Sequence[bytes]) -> int:
    """How many of the first envelopes one PutRecords takes."""
    total = 0
    for count, envelope in enumerate(envelopes[:PUT_RECORDS_MAX]):
        total += len(envelope)
        if total > PUT_BYTES_MAX:
            return max(count, 1)
    return min(len(envelopes), PUT_RECORDS_MAX)
