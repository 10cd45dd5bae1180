"""A Kinesis stream as a source: all shards, children after their parents.

Source of limits and answers: Kinesis API reference (ListShards, GetShardIterator, GetRecords).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import parse_qs

from dastream.clients import open_client
from dastream.errors import ConfigError, SourceError
from dastream.record import SHARD_END, Gap, Record, RecordBatch
from dastream.settings import split_url
from dastream.sources import StreamDescription
from dastream.sources.batcher import Batcher, BatchLimits
from dastream.sources.shard import TRIM_HORIZON, ShardReader, StartAt
from dastream.sources.shard_list import ListedShard, list_shards
from dastream.sources.standing import Standing

__all__ = ["KinesisSource", "open"]

_OPTIONS = frozenset({"region", "role_arn", "start"})


def open(url: str, *, once: bool = False, limits: BatchLimits | None = None) -> KinesisSource:
    """The source at `kinesis://NAME[?region=R][&role_arn=ARN][&start=trim_horizon|latest|TIME]`.

    `start` counts only for shards without progress; `role_arn` is a role that is assumed, for a
    stream of another account. Raises ConfigError.
    """
    parts = split_url(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.scheme != "kinesis" or not parts.netloc or options.keys() - _OPTIONS:
        raise ConfigError(
            "source: the URL is not kinesis://NAME",
            hint="write kinesis://aws-rds-das-cluster-…, with ?region= or ?start= if need be",
        )
    region, role_arn = options.get("region"), options.get("role_arn")
    return KinesisSource(
        open_client("kinesis", region=region, role_arn=role_arn),
        parts.netloc,
        reading=open_client("kinesis", region=region, role_arn=role_arn, attempts_max=1),
        start_ms=_start_ms(options.get("start", "trim_horizon")),
        once=once,
        limits=limits,
    )


def _start_ms(text: str) -> int | None:
    named = {"trim_horizon": 0, "latest": None}
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
    return max(0, round(moment.timestamp() * 1000))


def steady_seconds() -> float:
    """Seconds that never go back, and that pass also while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class KinesisSource:
    """Reads every shard in turn from one thread.

    `start_ms` is the time from which on records are asked for: 0 for all, None for from now on.
    `client` is boto3's. `reading` is one that does not try again by itself, for GetRecords: a
    shard whose read fails waits, and the others are read meanwhile.
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
        reading: Any = None,
        start_ms: int | None = 0,
        once: bool = False,
        limits: BatchLimits | None = None,
        poll_seconds: float = 0.25,
        clock: Callable[[], float] = steady_seconds,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.stream = stream
        self._client = client
        self._reading = reading or client
        self._start_ms = start_ms
        self._once = once
        self._limits = limits or BatchLimits()
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep
        self._is_stopped = False
        self._is_resharded = False
        self._horizon_ms = 0
        self._standing = Standing(client, stream, clock)
        self._readers: dict[str, ShardReader] = {}

    @property
    def lag_ms(self) -> Mapping[str, int]:
        # A copy: whoever asks is another thread, and shards come and go meanwhile.
        now = self._clock()
        return {shard: reader.lag_at(now) for shard, reader in self._readers.copy().items()}

    def ahead(self) -> Iterable[Record] | None:
        readers = self._readers.values()
        if self._is_resharded or not all(reader.is_at_tip for reader in readers):
            return None
        return chain.from_iterable(reader.batcher.ahead for reader in readers)

    def describe(self) -> StreamDescription:
        """Raises SourceError."""
        created_ms, retention_ms, now_ms = self._standing.describe()
        shards = list_shards(self._client, self.stream)
        described = StreamDescription(
            created_ms,
            now_ms,
            retention_ms,
            self._start_ms,
            {shard.id: shard.first for shard in shards.values()},
        )
        self._horizon_ms = described.horizon_ms
        return described

    def batches(
        self, progress: Mapping[str, str], start_ms: int = 0, lost_ms: int = 0
    ) -> Iterator[RecordBatch]:
        """Rounds over the open shards, until told to stop or, for `once`, at the tips."""
        self._standing.lost_ms = max(self._standing.lost_ms, lost_ms)
        shards = list_shards(self._client, self.stream)
        yield from self._expired(shards, progress)
        finished = {shard for shard, through in progress.items() if through == SHARD_END}
        self._open_readers(shards, progress, finished, start_ms)
        failure: SourceError | None = None
        try:
            yield from self._rounds(progress, finished, start_ms)
        except SourceError as error:
            failure = error
        # Also after a failure: an activity stream that was stopped is deleted, and then what has
        # been read is all that there is.
        for reader in self._readers.values():
            yield from reader.batcher.rest()
        if failure is not None:
            raise failure

    def _expired(
        self, shards: Mapping[str, ListedShard], progress: Mapping[str, str]
    ) -> Iterator[RecordBatch]:
        """The ends of the shards that went with all their records before they were read."""
        for shard, through in progress.items():
            if shard not in shards and through != SHARD_END:
                gap = Gap(shard, through, SHARD_END)
                yield RecordBatch(self.stream, shard, through, SHARD_END, (), gap)

    def _rounds(
        self, progress: Mapping[str, str], finished: set[str], start_ms: int
    ) -> Iterator[RecordBatch]:
        while self._readers and not self._is_stopped:
            yield from self._read_due()
            for reader in self._readers.values():
                yield from reader.batcher.ready()
            ended = [shard for shard, reader in self._readers.items() if reader.is_ended]
            self._is_resharded = bool(ended)  # until their children are open
            for shard in ended:
                reader = self._readers.pop(shard)
                yield from reader.batcher.end(reader.gap_at_end)
            if ended:
                finished.update(ended)
                shards = list_shards(self._client, self.stream)
                self._open_readers(shards, progress, finished, start_ms)
                self._is_resharded = False
            elif self._once and all(r.has_reached_tip for r in self._readers.values()):
                return

    def stop(self) -> None:
        self._is_stopped = True  # no lock, which a signal handler could find taken

    def close(self) -> None:
        self._client.close()
        self._reading.close()

    def _read_due(self) -> Iterator[RecordBatch]:
        """Read the shards whose time has come, or wait for the first of them, but not long."""
        now = self._clock()
        open_readers = [reader for reader in self._readers.values() if not reader.is_ended]
        due = [reader for reader in open_readers if reader.due <= now]
        for reader in due:
            if self._is_stopped:
                return
            reader.read()
            yield from reader.batcher.ready()
            yield from self._beyond_memory()
        if open_readers and not due:
            first = min(reader.due for reader in open_readers)
            self._sleep(min(first - now, self._poll_seconds))

    def _beyond_memory(self) -> Iterator[RecordBatch]:
        """What there is no room to keep until it is due, of the shard that has the most."""
        batchers = [reader.batcher for reader in self._readers.values()]
        if sum(batcher.waiting_bytes for batcher in batchers) >= self._limits.read_bytes_max:
            yield from max(batchers, key=lambda batcher: batcher.waiting_bytes).rest()

    def _open_readers(
        self,
        shards: Mapping[str, ListedShard],
        progress: Mapping[str, str],
        finished: set[str],
        start_ms: int,
    ) -> None:
        """Open every shard that is not open or finished, and whose parents are finished."""
        for shard in shards.values():
            is_known = shard.id in self._readers or shard.id in finished
            if not is_known and not (shard.parents & shards.keys()) - finished:
                after = progress.get(shard.id)
                self._readers[shard.id] = self._open_reader(shard, after, start_ms)
        self._standing.confirm()

    def _open_reader(self, shard: ListedShard, after: str | None, start_ms: int) -> ShardReader:
        return ShardReader(
            self._client,
            self._reading,
            self.stream,
            shard,
            Batcher(self.stream, shard.id, after or shard.first, self._limits, self._clock),
            after=after,
            start_ms=start_ms,
            start=self._start_at(start_ms),
            poll_seconds=self._poll_seconds,
            standing=self._standing,
            clock=self._clock,
        )

    def _start_at(self, start_ms: int) -> StartAt:
        if start_ms <= self._horizon_ms:
            return TRIM_HORIZON
        moment = datetime.fromtimestamp(start_ms / 1000, UTC)
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": moment}
