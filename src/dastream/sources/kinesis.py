"""A Kinesis stream as a source: all shards, children after their parents.

Source of limits and answers: Kinesis API reference (ListShards, GetShardIterator, GetRecords).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from dastream.clients import open_client
from dastream.errors import ConfigError, SourceError
from dastream.record import SHARD_END, RecordBatch
from dastream.settings import split_url
from dastream.sources.batcher import Batcher, BatchLimits
from dastream.sources.shard import AFTER_SEQUENCE_NUMBER, ShardReader, StartAt
from dastream.sources.shard_list import ListedShard, check_progress, list_shards

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


def _closed(shards: Mapping[str, ListedShard]) -> list[str]:
    """The shards that LATEST passes over whole: what they hold came before it.

    Every shard that is left has no parents to wait for. A timestamp in the place of LATEST would
    need a clock that never goes before that of Kinesis, which refuses a time that is to come.
    """
    return [shard.id for shard in shards.values() if shard.is_closed]


class KinesisSource:
    """Reads every shard in turn from one thread.

    `once` ends at the tip of all shards, and at the end of those that are closed. `poll_seconds`
    lie between two reads of a shard: at 0.25 s there are four of the five a second that a shard
    allows, and one is left for Firehose. `clock` tells seconds that never go back, and `sleep`
    lets them pass.
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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.stream = stream
        self._client = client
        self._start = start or _TRIM_HORIZON
        self._once = once
        self._limits = limits or BatchLimits()
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep
        self._is_stopped = False
        self._readers: dict[str, ShardReader] = {}

    @property
    def lag_ms(self) -> Mapping[str, int]:
        # A copy: whoever asks is another thread, and shards come and go meanwhile.
        return {shard: reader.lag_ms for shard, reader in self._readers.copy().items()}

    def batches(self, progress: Mapping[str, str]) -> Iterator[RecordBatch]:
        """Rounds over the open shards, until told to stop or, for `once`, at the tips.

        Raises SourceError also if the progress is that of an earlier stream of the same name.
        """
        shards = list_shards(self._client, self.stream)
        check_progress(shards, progress)
        finished = {shard for shard, through in progress.items() if through == SHARD_END}
        # Later on, a shard without progress has records that nobody has seen: LATEST would skip
        # them. It is new, or there was nothing in it when the last run ended.
        later = _TRIM_HORIZON if self._start == _LATEST else self._start
        start = later if progress else self._start
        passed = _closed(shards) if start == _LATEST else []
        finished.update(passed)
        self._open_readers(shards, progress, finished, start)
        for shard in passed:
            yield RecordBatch(self.stream, shard, None, SHARD_END, ())
        failure: SourceError | None = None
        try:
            yield from self._rounds(progress, finished, later)
        except SourceError as error:
            failure = error
        # Also after a failure: an activity stream that was stopped is deleted, and then what has
        # been read is all that there is.
        for reader in self._readers.values():
            yield from reader.batcher.rest()
        if failure is not None:
            raise failure

    def _rounds(
        self, progress: Mapping[str, str], finished: set[str], later: StartAt
    ) -> Iterator[RecordBatch]:
        while self._readers and not self._is_stopped:
            self._read_due()
            for reader in self._readers.values():
                yield from reader.batcher.ready()
            ended = [shard for shard, reader in self._readers.items() if reader.is_ended]
            for shard in ended:
                yield from self._readers.pop(shard).batcher.rest(is_ended=True)
            if ended:
                finished.update(ended)
                shards = list_shards(self._client, self.stream)
                self._open_readers(shards, progress, finished, later)
            elif self._once and all(r.has_reached_tip for r in self._readers.values()):
                return

    def stop(self) -> None:
        self._is_stopped = True  # no lock, which a signal handler could find taken

    def close(self) -> None:
        self._client.close()

    def _read_due(self) -> None:
        """Read the shards whose time has come, or wait for the first of them, but not long."""
        now = self._clock()
        due = [reader for reader in self._readers.values() if reader.due <= now]
        for reader in due:
            reader.read()
        if not due:
            first = min(reader.due for reader in self._readers.values())
            self._sleep(min(first - now, self._poll_seconds))

    def _open_readers(
        self,
        shards: Mapping[str, ListedShard],
        progress: Mapping[str, str],
        finished: set[str],
        start: StartAt,
    ) -> None:
        """Open every shard that is not open or finished, and whose parents are finished."""
        for shard in shards.values():
            is_known = shard.id in self._readers or shard.id in finished
            if not is_known and not (shard.parents & shards.keys()) - finished:
                self._readers[shard.id] = self._open_reader(shard, progress.get(shard.id), start)

    def _open_reader(self, shard: ListedShard, after: str | None, start: StartAt) -> ShardReader:
        batcher = Batcher(self.stream, shard.id, after, self._limits, self._clock)
        if after is not None:
            start = {"ShardIteratorType": AFTER_SEQUENCE_NUMBER, "StartingSequenceNumber": after}
        return ShardReader(
            self._client,
            self.stream,
            shard,
            start,
            batcher,
            poll_seconds=self._poll_seconds,
            clock=self._clock,
        )
