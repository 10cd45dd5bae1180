"""Telling a wrong key from records that do not open: no accident, and no attacker, makes so many.

An activity stream brings a heartbeat every second or so. Whoever puts other records into it cannot
keep those away, so there are never many refused ones in a row, and for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dastream.errors import ConfigError
from dastream.record import Record, RecordBatch

__all__ = ["Opens", "Refusals", "opened"]

RECORDS_MIN = 100
MS_MIN = 300_000
BYTES_MIN = 64 * 1024 * 1024
"""It is the key if so many records in a row are refused, that arrived over so long a time, or that
have so many bytes."""

Opens = Callable[[Record], bool | None]
"""Whether a record decrypts, None where there is nothing to decrypt."""


class Refusals:
    """Records in a row that do not decrypt."""

    def __init__(self) -> None:
        self.count = 0
        self._bytes = 0
        self._arrivals_ms: tuple[int, int] | None = None

    def add(self, record: Record) -> None:
        """Count another one."""
        self.count += 1
        self._bytes += len(record.data)
        arrival_ms = record.arrival_ms or 0
        first, last = self._arrivals_ms or (arrival_ms, arrival_ms)
        self._arrivals_ms = min(first, arrival_ms), max(last, arrival_ms)

    @property
    def is_the_key(self) -> bool:
        """Whether these are too many for anything but a wrong key."""
        first, last = self._arrivals_ms or (0, 0)
        is_long = last - first >= MS_MIN or self._bytes >= BYTES_MIN
        return is_long and self.count >= RECORDS_MIN


def opened(
    batches: Iterator[RecordBatch], opens: Opens, is_stopped: Callable[[], bool]
) -> Iterator[RecordBatch]:
    """The same batches, held back at the start from the first refused record until one opens.

    Whoever is started again after each failure, as by systemd, would else make dead letters of a
    stream whose key is wrong, a few at each start. If all batches are read and nothing has opened,
    they are delivered where that may be an accident; but not if somebody stopped the run. Raises
    ConfigError if it is the key.
    """
    held: list[RecordBatch] = []
    refusals = Refusals()
    for batch in batches:
        held.append(batch)
        has_opened = any(_opens(record, opens, refusals) for record in batch.records)
        if has_opened or not refusals.count or _size(held) >= BYTES_MIN:
            yield from held
            held.clear()
        if has_opened:
            break
    if held and not is_stopped():
        if refusals.count >= RECORDS_MIN:
            raise _wrong_key(refusals)
        yield from held
    yield from batches


def _opens(record: Record, opens: Opens, refusals: Refusals) -> bool:
    is_open = opens(record)
    if is_open is False:
        refusals.add(record)
    if refusals.is_the_key:
        raise _wrong_key(refusals)
    return bool(is_open)


def _wrong_key(refusals: Refusals) -> ConfigError:
    return ConfigError(
        f"decrypt: none of the first {refusals.count} records opened; they are not delivered",
        hint="the resource id or the KMS key is not that of this stream",
    )


def _size(batches: list[RecordBatch]) -> int:
    return sum(len(record.data) for batch in batches for record in batch.records)
