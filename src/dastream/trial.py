"""Nothing is delivered before a record has opened: a wrong key would make dead letters of all.

Whoever is started again after each failure, as by systemd, would go on with the next records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dastream.errors import ConfigError
from dastream.record import Record, RecordBatch

__all__ = ["REFUSED_RECORDS_MAX", "Opens", "tried"]

REFUSED_RECORDS_MAX = 100
"""Records in a row that do not decrypt, before a run stops."""

Opens = Callable[[Record], bool | None]
"""Whether a record decrypts, None where there is nothing to decrypt."""


def tried(
    batches: Iterator[RecordBatch], opens: Opens, is_stopped: Callable[[], bool]
) -> Iterator[RecordBatch]:
    """The same batches, held back from the first record that is refused until one opens.

    If all batches are read and none has, they are delivered after all: there are not many; but
    not if somebody stopped the run. Raises ConfigError if too many records are refused.
    """
    held: list[RecordBatch] = []
    refused = 0
    for batch in batches:
        held.append(batch)
        has_opened, refused_here = _try(batch, opens)
        refused += refused_here
        if refused >= REFUSED_RECORDS_MAX:
            raise ConfigError(
                f"decrypt: none of the first {refused} records opened; nothing was delivered",
                hint="the resource id or the KMS key is not that of this stream",
            )
        if has_opened or not refused:
            yield from held
            held.clear()
        if has_opened:
            break
    if not is_stopped():
        yield from held
    yield from batches


def _try(batch: RecordBatch, opens: Opens) -> tuple[bool, int]:
    """Whether a record of a batch opens, and how many do not before it."""
    refused = 0
    for record in batch.records:
        outcome = opens(record)
        if outcome:
            return True, refused
        refused += outcome is False
    return False, refused
