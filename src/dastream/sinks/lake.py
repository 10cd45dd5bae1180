"""The lake as a sink: for each batch an object of events, and one of dead letters if it has any.

The first writer of a batch wins, and a second delivery finds it. The object of events is written
first, also if no event is left to be in it: so no two consumers, one of which does not know yet
that it was replaced, can deliver one record under two names; and the objects of a shard follow
one another without a hole.

One lake may hold the events of a batch in both formats. Readers count them once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs

from dastream import dead_letter
from dastream.errors import ServiceError, SinkError
from dastream.notice import Notice, write
from dastream.record import BatchName, EventBatch, Extent
from dastream.settings import split_url
from dastream.sinks import jsonl
from dastream.sinks.formats import FORMATS, JSON_LINES, Format, open_format
from dastream.storage import Storage, open_storage

__all__ = ["LakeSink", "open"]

_EVENTS, _DEAD_LETTERS = "events", "dead-letter"
_NAME = re.compile(
    rf"(?P<shard>.+)-(?P<start>after-\d+)\.(?:{'|'.join(re.escape(f.suffix) for f in FORMATS)})",
    re.ASCII,
)


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

    def names(self, resource_id: str, day: str) -> Iterator[BatchName]:
        """Listed, object by object, in either format."""
        folder = f"{_folder(_EVENTS, resource_id, day)}/"
        for key in self._keys(folder):
            if name := _NAME.fullmatch(key.removeprefix(folder)):
                yield BatchName(resource_id, day, name["shard"], name["start"])

    def holds(self, resource_id: str) -> bool:
        """Looked for among the events: a batch has such an object, if it has any."""
        return any(True for _ in self._keys(f"{_EVENTS}/cluster={resource_id}/"))

    def extent(self, name: BatchName) -> Extent | None:
        """Read from the receipt of the events, which tells if there should be dead letters.

        In the other format only, as after a change of the URL, a batch is not whole.
        """
        for format, receipt in self._receipts(name):
            if receipt is not None:
                is_ours = format is self._format
                is_whole = is_ours and self._has_letters(name, receipt)
                return Extent(receipt.through, receipt.records, is_whole)
        return None

    def deliver(self, batch: EventBatch) -> bool:
        """Put what is absent, and make sure that what is there is this batch.

        If its events are there, their receipt tells which of its records are dead letters.
        """
        if batch.is_again:
            batch = self._settled_by_any(batch)
        key = _key(_EVENTS, batch.name, self._format)
        is_new = self._put_if_absent(key, self._format.pack(batch.events, _receipt_of(batch)))
        if not is_new:
            batch = _settled(batch, key, self._receipt(key, self._format))
        return self._put_letters(batch) or is_new

    def notify(self, resource_id: str, notice: Notice) -> None:
        """Put it beside the events, where no reader of events looks."""
        key = f"_dastream/notices/cluster={resource_id}/{notice.name}.json"
        self._put_if_absent(key, write(notice))

    def close(self) -> None:
        """Nothing is open between batches."""

    def _has_letters(self, name: BatchName, receipt: jsonl.Receipt) -> bool:
        """Whether all dead letters of a batch are there that its events' receipt counts."""
        key = _key(_DEAD_LETTERS, name, JSON_LINES)
        return not receipt.dead_letters or self._receipt(key, JSON_LINES) is not None

    def _put_letters(self, batch: EventBatch) -> bool:
        if not batch.dead_letters:
            return False
        key = _key(_DEAD_LETTERS, batch.name, JSON_LINES)
        lines = (dead_letter.write(letter) + b"\n" for letter in batch.dead_letters)
        is_new = self._put_if_absent(key, jsonl.pack(lines, _receipt_of(batch)))
        if not is_new:
            _check(batch, key, self._receipt(key, JSON_LINES))
        return is_new

    def _settled_by_any(self, batch: EventBatch) -> EventBatch:
        """A batch as its events are there, in whatever format, if they are."""
        for format, receipt in self._receipts(batch.name):
            if receipt is not None:
                key = _key(_EVENTS, batch.name, format)
                settled = _settled(batch, key, receipt)
                if format is not self._format:
                    _check_complete(batch, settled, key)
                return settled
        return batch

    def _receipts(self, name: BatchName) -> Iterator[tuple[Format, jsonl.Receipt | None]]:
        for format in (self._format, *FORMATS):
            yield format, self._receipt(_key(_EVENTS, name, format), format)

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


def _receipt_of(batch: EventBatch) -> jsonl.Receipt:
    return jsonl.Receipt(
        start=batch.name.start,
        through=batch.through,
        records=len(batch.records),
        digest=batch.digest,
        events=len(batch.events),
        dropped=dict(batch.dropped),
        dead_letters=len(batch.dead_letters),
        dead_spans=tuple(batch.dead_spans),
    )


def _settled(batch: EventBatch, key: str, held: jsonl.Receipt | None) -> EventBatch:
    """A batch with the dead letters that it had when its events were put.

    Raises SinkError if the events of another batch are held under its name.
    """
    held = _check(batch, key, held)
    if held.dead_letters and not held.dead_spans:
        return batch  # by a version that did not tell which: as good as what is dead now
    try:
        return batch.settled(held.dead_spans)
    except ValueError:
        raise SinkError(f"sink: the receipt of {key} is not as dastream writes it") from None


def _check_complete(batch: EventBatch, settled: EventBatch, key: str) -> None:
    """Raise SinkError if a record whose events are there in another format gives none now.

    Readers take one format of a batch, so its events would be gone for them.
    """
    settled_now = {letter.record.position for letter in settled.dead_letters}
    if any(letter.record.position not in settled_now for letter in batch.dead_letters):
        raise SinkError(
            f"sink: {key} has events of a record that does not decode now",
            hint="deliver in its format, or mend what keeps the record from decoding",
        )


def _check(batch: EventBatch, key: str, held: jsonl.Receipt | None) -> jsonl.Receipt:
    if held is None or not batch.is_held_as(held.through, held.digest):
        raise SinkError(
            f"sink: {key} holds other records",
            hint="another consumer writes here: stop it, or deliver to another place",
        )
    return held


def _folder(kind: str, resource_id: str, day: str) -> str:
    return f"{kind}/cluster={resource_id}/day={day}"


def _key(kind: str, name: BatchName, format: Format) -> str:
    folder = _folder(kind, name.resource_id, name.day)
    return f"{folder}/{name.shard}-{name.start}.{format.suffix}"
