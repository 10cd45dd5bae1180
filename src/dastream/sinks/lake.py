"""The lake as a sink: for each batch one object of events and one of dead letters.

The first writer of a batch wins, and a second delivery finds it. Dead letters are written first,
and either object may be the only one: the first of the two fixes how far the batch goes.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from dastream import dead_letter, line
from dastream.errors import ConfigError, ServiceError, SinkError
from dastream.record import BatchName, EventBatch
from dastream.settings import split_url
from dastream.sinks import jsonl
from dastream.storage import Storage, open_storage

__all__ = ["LakeSink", "open"]

_KINDS = ("dead-letter", "events")


def open(url: str) -> LakeSink:
    """A lake at `file:///DIR?format=jsonl` or `s3://BUCKET/PREFIX?format=jsonl`."""
    options = parse_qs(split_url(url).query, keep_blank_values=True)
    unknown = options.keys() - {"format"}
    if unknown or options.get("format", ["jsonl"]) != ["jsonl"]:
        raise ConfigError("sink: unknown option in the URL", hint="the only one is format=jsonl")
    return LakeSink(open_storage(url))


class LakeSink:
    """Delivers batches as gzip JSON lines into a storage, in the lake's layout."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def extent(self, name: BatchName) -> str | None:
        """Read from the receipt of whichever object of the batch is there."""
        for kind in _KINDS:
            receipt = self._receipt(_key(kind, name))
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
            self._put(_key("dead-letter", batch.name), data, receipt)
        if batch.events:
            data = jsonl.pack(line.write_all(batch.events), receipt)
            self._put(_key("events", batch.name), data, receipt)

    def close(self) -> None:
        """Nothing is open between batches."""

    def _put(self, key: str, data: bytes, receipt: jsonl.Receipt) -> None:
        try:
            if self._storage.put_if_absent(key, data):
                return
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error
        held = self._receipt(key)
        if held is None or (held.through, held.digest) != (receipt.through, receipt.digest):
            raise SinkError(
                f"sink: {key} holds other records",
                hint="the stream was recreated, or another consumer writes here: "
                "deliver to another place",
            )

    def _receipt(self, key: str) -> jsonl.Receipt | None:
        try:
            start = self._storage.get(key, jsonl.RECEIPT_BYTES_MAX)
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error
        if start is None:
            return None
        receipt = jsonl.receipt(start)
        if receipt is None:
            raise SinkError(f"sink: {key} is there, but not as dastream writes it")
        return receipt


def _key(kind: str, name: BatchName) -> str:
    return f"{kind}/cluster={name.resource_id}/day={name.day}/{name.shard}-{name.start}.jsonl.gz"
