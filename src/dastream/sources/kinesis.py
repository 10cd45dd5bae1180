"""A Kinesis stream as a source: all shards, children after their parents.

Source of limits and answers: Kinesis API reference (ListShards, GetShardIterator, GetRecords).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from dastream.clients import CallError, call, open_client
from dastream.errors import ConfigError
from dastream.record import SHARD_END, RecordBatch
from dastream.settings import split_url
from dastream.sources.batcher import Batcher, BatchLimits
from dastream.sources.shard import ShardReader, StartAt, source_error

__all__ = ["KinesisSource", "open"]

_OPTIONS = frozenset({"region", "start"})
_TRIM_HORIZON: StartAt = {"ShardIteratorType": "TRIM_HORIZON"}
_LATEST: StartAt = {"ShardIteratorType": "LATEST"}


def open(url: str, *, once: bool = False, limits: BatchLimits | None = None) -> KinesisSource:
    """The source at `kinesis://NAME[?region=R][&start=trim_horizon|latest|TIMESTAMP]`.

    `start` counts only for shards without progress. Raises ConfigError.
    """
    parts = split_url(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.scheme != "kinesis" or not parts.netloc or options.keys() - _OPTIONS:
        raise ConfigError(
            "source: the URL is not kinesis://NAME",
            hint="write kinesis://aws-rds-das-cluster-…, with ?region= or ?start= if need be",
        )
    client = open_client("kinesis", region=options.get("region"))
    start = _start(options.get("start", "trim_horizon"))
    return KinesisSource(client, parts.netloc, start=start, once=once, limits=limits)


def _start(text: str) -> StartAt:
    named = {"trim_horizon": _TRIM_HORIZON, "latest": _LATEST}
    if text in named:
        return named[text]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "source: start is not trim_horizon, latest or a time",
            hint="write a time as 2026-01-31T23:59:00Z",
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": moment}


class KinesisSource:
    """Reads every shard in turn from one thread.

    `once` ends at the tip of all shards. `poll_seconds` is the pause after a round in which no
    shard had anything: at 0.25 s it stays within the five reads a second that a shard allows.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        start: StartAt | None = None,
        once: bool = False,
        limits: BatchLimits | None = None,
        poll_seconds: float = 0.25,
    ) -> None:
        self.stream = stream
        self._client = client
        self._start = start or _TRIM_HORIZON
        self._once = once
        self._limits = limits or BatchLimits()
        self._poll_seconds = poll_seconds
        self._is_stopped = False
        self._readers: dict[str, ShardReader] = {}

    @property
    def lag_ms(self) -> Mapping[str, int]:
        # A copy: whoever asks is another thread, and shards come and go meanwhile.
        return {shard: reader.lag_ms for shard, reader in self._readers.copy().items()}

    def batches(self, progress: Mapping[str, str]) -> Iterator[RecordBatch]:
        """Rounds over the open shards, until told to stop or, for `once`, at the tips."""
        finished = {shard for shard, through in progress.items() if through == SHARD_END}
        # Later on, a shard without progress has records that nobody has seen: LATEST would skip
        # them. It is new, or there was nothing in it when the last run ended.
        later = _TRIM_HORIZON if self._start == _LATEST else self._start
        self._open_readers(progress, finished, later if progress else self._start)
        while self._readers and not self._is_stopped:
            found = sum([reader.read() for reader in self._readers.values()])
            for reader in self._readers.values():
                yield from reader.batcher.ready()
            ended = [shard for shard, reader in self._readers.items() if reader.is_ended]
            for shard in ended:
                yield from self._readers.pop(shard).batcher.rest(is_ended=True)
            if ended:
                finished.update(ended)
                self._open_readers(progress, finished, later)
            elif self._once and all(r.has_reached_tip for r in self._readers.values()):
                break
            elif not found:
                time.sleep(self._poll_seconds)
        for reader in self._readers.values():
            yield from reader.batcher.rest()

    def stop(self) -> None:
        self._is_stopped = True  # no lock, which a signal handler could find taken

    def close(self) -> None:
        self._client.close()

    def _open_readers(
        self, progress: Mapping[str, str], finished: set[str], start: StartAt
    ) -> None:
        """Open every shard that is not open or finished, and whose parents are finished."""
        shards = self._list_shards()
        for shard, parents in shards.items():
            is_known = shard in self._readers or shard in finished
            if not is_known and not (parents & shards.keys()) - finished:
                self._readers[shard] = self._open_reader(shard, progress.get(shard), start)

    def _open_reader(self, shard: str, after: str | None, start: StartAt) -> ShardReader:
        batcher = Batcher(self.stream, shard, after, self._limits)
        if after is not None:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        return ShardReader(self._client, self.stream, shard, start, batcher)

    def _list_shards(self) -> dict[str, set[str]]:
        """Every shard with its parents."""
        shards: dict[str, set[str]] = {}
        request: dict[str, str] = {"StreamName": self.stream}
        while request:
            try:
                answer = call(self._client.list_shards, **request)
            except CallError as error:
                raise source_error(error) from None
            for shard in answer["Shards"]:
                parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")}
                shards[shard["ShardId"]] = parents - {None}
            request = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
        return shards
