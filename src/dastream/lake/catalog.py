"""What a lake holds, listed once: the objects of events in either format, and dead letters."""

from __future__ import annotations

from typing import NamedTuple

from dastream.lake.reader import DeliveredObject, is_dead_letter, once, recognise
from dastream.storage import Storage, StoredObject

__all__ = ["Catalog", "read_catalog"]


class Catalog(NamedTuple):
    """The objects of a lake, as one listing found them; none of them ever changes.

    `parquet` and `lines` are objects of events. A batch that was delivered in both formats is
    in `parquet` only. `dead_letters` are the lake's and Firehose's; `others` is how many
    were left alone.
    """

    parquet: tuple[DeliveredObject, ...]
    lines: tuple[DeliveredObject, ...]
    dead_letters: tuple[StoredObject, ...]
    others: int


def read_catalog(storage: Storage) -> Catalog:
    """List a lake. Raises ServiceError if the storage fails."""
    events, dead_letters, others = [], [], 0
    for stored in storage.list():
        item = recognise(stored)
        if item is not None:
            events.append(item)
        elif is_dead_letter(stored):
            dead_letters.append(stored)
        else:
            others += 1
    events = once(events, parquet_first=True)
    return Catalog(
        parquet=tuple(item for item in events if item.is_parquet),
        lines=tuple(item for item in events if not item.is_parquet),
        dead_letters=tuple(dead_letters),
        others=others,
    )
