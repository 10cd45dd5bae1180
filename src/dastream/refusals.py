"""Telling a wrong key from records that do not open: no accident, and no attacker, makes so many.

An activity stream brings a heartbeat every second or so, while its database runs. Whoever puts
other records into it cannot keep those away, so there are not many refused ones in a row, and for
long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dastream.errors import KeyServiceError, SourceError
from dastream.record import Record, RecordBatch, memory_bytes
from dastream.sources import Source

__all__ = ["Opens", "Refusals", "opened"]

RECORDS_MIN = 100
MS_MIN = 300_000
BYTES_MIN = 64 * 1024 * 1024
"""It is the key if so many records in a row are refused that arrived over so long a time, with
nothing behind them; or so many bytes, which is as much as is held back."""

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
        self._bytes += memory_bytes([record])
        arrival_ms = record.arrival_ms or 0
        first, last = self._arrivals_ms or (arrival_ms, arrival_ms)
        self._arrivals_ms = min(first, arrival_ms), max(last, arrival_ms)

    @property
    def are_too_many(self) -> bool:
        """Whether they are many over a long time, or as large as all that is held back."""
        first, last = self._arrivals_ms or (0, 0)
        return (last - first >= MS_MIN and self.count >= RECORDS_MIN) or self.are_too_large

    @property
    def are_too_large(self) -> bool:
        """Whether there is no room to hold back more."""
        return self._bytes >= BYTES_MIN


def opened(
    source: Source,
    batches: Iterator[RecordBatch],
    opens: Opens,
    is_stopped: Callable[[], bool],
    tell: Callable[[str], None],
) -> Iterator[RecordBatch]:
    """The batches of a source, held back where all records are refused, until one opens.

    Whoever is started again after each failure, as by systemd, would else make dead letters of a
    stream whose key is wrong, a few at each start. Held back they wait in the stream, and a record
    that opens may be behind them, or come once the database runs again. What is left at the end is
    delivered if it is little, or if the stream has gone, as there is no more of it; but not if
    somebody stopped the run. Raises KeyServiceError if it is the key.
    """
    held: list[RecordBatch] = []
    refusals = Refusals()
    try:
        for batch in batches:
            held.append(batch)
            has_opened = any(_opens(record, opens, refusals) for record in batch.records)
            if not has_opened and refusals.are_too_many and not _may_open(source, opens, refusals):
                raise _wrong_key(refusals)
            if not has_opened and refusals.count and len(held) == 1:
                tell(f"decrypt: {refusals.count} records did not open; held back until one does")
            if has_opened or not refusals.count or _is_full(held):
                refusals = Refusals()
                yield from held
                held.clear()
    except SourceError as error:
        if error.is_gone:
            yield from held
        raise
    if is_stopped():
        return
    if refusals.count >= RECORDS_MIN:
        raise _wrong_key(refusals)
    yield from held


def _may_open(source: Source, opens: Opens, refusals: Refusals) -> bool:
    """Whether a record that opens is behind those that were refused, or may be."""
    ahead = source.ahead()
    if ahead is None:
        return not refusals.are_too_large
    return any(opens(record) for record in ahead)


def _is_full(held: Iterable[RecordBatch]) -> bool:
    return sum(memory_bytes(batch.records) for batch in held) >= BYTES_MIN


def _opens(record: Record, opens: Opens, refusals: Refusals) -> bool:
    is_open = opens(record)
    if is_open is False:
        refusals.add(record)
    return bool(is_open)


def _wrong_key(refusals: Refusals) -> KeyServiceError:
    return KeyServiceError(
        f"decrypt: {refusals.count} records in a row did not open; they are not delivered",
        hint="the resource id or the KMS key is not that of this stream, or its messages are of a "
        "new kind",
    )
