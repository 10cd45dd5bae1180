"""The lake as a sink: for each batch an object of events, and one of dead letters if it has any.

The first writer of a batch wins, and a second delivery finds it. The object of events is written
first, also if no event is left to be in it: so no two consumers, one of which does not know yet
that it was replaced, can deliver one record under two names; and the objects of a shard follow
one another without a hole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs

from dastream import dead_letter, line
from dastream.errors import ConfigError, ServiceError, SinkError
from dastream.notice import Notice, write
from dastream.record import BatchName, EventBatch, Extent
from dastream.settings import split_url
from dastream.sinks import jsonl
from dastream.storage import Storage, open_storage

__all__ = ["LakeSink", "open"]

_EVENTS, _DEAD_LETTERS = "events", "dead-letter"
_NAME = re.compile(r"(?P<shard>.+)-(?P<start>after-\d+)\.jsonl\.gz", re.ASCII)


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

    def names(self, resource_id: str, day: str) -> Iterator[BatchName]:
        """Listed, object by object."""
        folder = f"{_folder(_EVENTS, resource_id, day)}/"
        for key in self._keys(folder):
            if name := _NAME.fullmatch(key.removeprefix(folder)):
                yield BatchName(resource_id, day, name["shard"], name["start"])

    def extent(self, name: BatchName) -> Extent | None:
        """Read from the receipt of the events, which tells if there should be dead letters."""
        receipt = self._receipt(_key(_EVENTS, name))
        if receipt is None:
            return None
        lacks_letters = receipt.dead_letters and not self._receipt(_key(_DEAD_LETTERS, name))
        return Extent(receipt.through, is_whole=not lacks_letters)

    def deliver(self, batch: EventBatch) -> bool:
        """Put what is absent, and make sure that what is there is this batch."""
        receipt = jsonl.Receipt(
            start=batch.name.start,
            through=batch.through,
            records=batch.records,
            digest=batch.digest,
            events=len(batch.events),
            dropped=dict(batch.dropped),
            dead_letters=len(batch.dead_letters),
        )
        is_new = self._put(_EVENTS, batch, jsonl.pack(line.write_all(batch.events), receipt))
        if batch.dead_letters:
            data = jsonl.pack(map(dead_letter.write, batch.dead_letters), receipt)
            is_new |= self._put(_DEAD_LETTERS, batch, data)
        return is_new

    def notify(self, resource_id: str, notice: Notice) -> None:
        """Put it beside the events, where no reader of events looks."""
        key = f"_dastream/notices/cluster={resource_id}/{notice.name}.json"
        self._put_if_absent(key, write(notice))

    def close(self) -> None:
        """Nothing is open between batches."""

    def _put(self, kind: str, batch: EventBatch, data: bytes) -> bool:
        key = _key(kind, batch.name)
        if self._put_if_absent(key, data):
            return True
        held = self._receipt(key)
        if held is None or not batch.is_held_as(held.through, held.digest):
            raise SinkError(
                f"sink: {key} holds other records",
                hint="another consumer writes here: stop it, or deliver to another place",
            )
        return False

    def _put_if_absent(self, key: str, data: bytes) -> bool:
        try:
            return self._storage.put_if_absent(key, data)
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error

    def _keys(self, prefix: str) -> Iterator[str]:
        try:
            for item in self._storage.list(prefix):
                yield item.key
        except ServiceError as error:
            raise SinkError(str(error), hint=error.hint) from error

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


def _folder(kind: str, resource_id: str, day: str) -> str:
    return f"{kind}/cluster={resource_id}/day={day}"


def _key(kind: str, name: BatchName) -> str:
    folder = _folder(kind, name.resource_id, name.day)
    return f"{folder}/{name.shard}-{name.start}.jsonl.gz"
