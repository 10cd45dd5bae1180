"""The lake as a sink: for each batch one object of events and one of dead letters.

The first writer of a batch wins, and a second delivery finds it. Dead letters are written first,
and either object may be the only one: the first of the two fixes how far the batch goes. One
lake may hold the events of a batch in both formats; they are the same events, and readers count
them once.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from dastream import dead_letter
from dastream.errors import ServiceError, SinkError
from dastream.record import BatchName, EventBatch
from dastream.settings import split_url
from dastream.sinks import jsonl
from dastream.sinks.formats import JSON_LINES, PARQUET, Format, open_format
from dastream.storage import Storage, open_storage

__all__ = ["LakeSink", "open"]

_OBJECTS = (("dead-letter", JSON_LINES), ("events", JSON_LINES), ("events", PARQUET))
"""What a batch may have, under either format."""


def open(url: str) -> LakeSink:
    """A lake at `file:///DIR` or `s3://BUCKET/PREFIX`, `?format=jsonl` or `?format=parquet`.

    Parquet files leave the entries' bytes out with `&raw=no`. Raises ConfigError.
    """
    options = parse_qs(split_url(url).query, keep_blank_values=True)
    return LakeSink(open_storage(url), open_format(options))


class LakeSink:
    """Delivers batches into a storage, in the lake's layout. Dead letters are JSON lines."""

    def __init__(self, storage: Storage, format: Format = JSON_LINES) -> None:
        self._storage = storage
        self._format = format
        self.has_entries = format.has_entries

    def extent(self, name: BatchName) -> str | None:
        """Read from the receipt of whichever object of the batch is there, in either format."""
        for kind, format in _OBJECTS:
            receipt = self._receipt(_key(kind, name, format), format)
            if receipt is not None:
                return receipt.through
        return None

    def deliver(self, batch: EventBatch) -> None:
        """Put both objects if they are absent, and make sure that what is there is this batch."""
        receipt = jsonl.Receipt(
            start=batch.name.start,
            through=batch.through,
            records=batch.records,
            digest=batch.digest,
            events=len(batch.events),
            dropped=dict(batch.dropped),
            dead_letters=len(batch.dead_letters),
        )
        if batch.dead_letters:
            data = jsonl.pack(map(dead_letter.write, batch.dead_letters), receipt)
            self._put(_key("dead-letter", batch.name, JSON_LINES), data, receipt, JSON_LINES)
        if batch.events:
            data = self._format.pack(batch.events, receipt)
            self._put(_key("events", batch.name, self._format), data, receipt, self._format)

    def close(self) -> None:
        """Nothing is open between batches."""

    def _put(self, key: str, data: bytes, receipt: jsonl.Receipt, format: Format) -> None:
        try:
            if self._storage.put_if_absent(key, data):
                return
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error
        held = self._receipt(key, format)
        if held is None or (held.through, held.digest) != (receipt.through, receipt.digest):
            raise SinkError(
                f"sink: {key} holds other records",
                hint="the stream was recreated, or another consumer writes here: "
                "deliver to another place",
            )

    def _receipt(self, key: str, format: Format) -> jsonl.Receipt | None:
        try:
            data = self._storage.get(key, format.receipt_bytes_max, start=format.receipt_start)
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error
        if data is None:
            return None
        receipt = format.receipt(data)
        if receipt is None:
            raise SinkError(f"sink: {key} is there, but not as dastream writes it")
        return receipt


def _key(kind: str, name: BatchName, format: Format) -> str:
    folder = f"{kind}/cluster={name.resource_id}/day={name.day}"
    return f"{folder}/{name.shard}-{name.start}.{format.suffix}"
