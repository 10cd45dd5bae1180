"""Where a run begins, settled and stored before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dastream import notice
from dastream.checkpoint import Beginning, Checkpoints
from dastream.delivery import Deliverer
from dastream.errors import ConfigError
from dastream.holdings import Held
from dastream.record import SHARD_END, is_reached, iso_time
from dastream.sources import Source, StreamDescription

__all__ = ["Start", "settle"]


class Start(NamedTuple):
    """From where a run reads: after the progress of each shard, and else from a time on.

    What arrived before `lost_ms` may have expired, whatever the stream says now. `retention_ms` is
    for how long it keeps a record, `seen_ms` when each instance was heard of last, of those within
    that time. `told` has a line for people about each thing that was not as the last run left it.
    """

    progress: Mapping[str, str]
    start_ms: int
    lost_ms: int
    retention_ms: int
    seen_ms: Mapping[str, int]
    told: tuple[str, ...]


def settle(source: Source, deliver: Deliverer, checkpoints: Checkpoints) -> Start:
    """Find the start, and store it if the checkpoints do not have it yet.

    A stream is known by its creation, so that one which was made again under its name is begun
    anew. What the sinks hold goes before a checkpoint that is behind it or was lost. Raises
    ServiceError, and ConfigError for a start that is to come.
    """
    name, stream = source.stream, source.describe()
    beginning = checkpoints.beginning(name)
    is_begun = beginning is not None and beginning.created_ms == stream.created_ms
    progress = dict(checkpoints.progress(name)) if is_begun else {}
    held = _held(deliver, stream, progress)
    told = []
    if beginning is not None and not is_begun:
        recreated = notice.recreated(name, beginning.created_ms, stream.created_ms)
        deliver.notify(recreated)
        told.append(recreated.text)
    if held:
        told.append(f"{name}: the sinks hold more than the state tells; going on where they end")
    if beginning is None or not is_begun:
        is_held = beginning is None and deliver.holds_anything()
        beginning = _begin(name, stream, checkpoints, beginning, is_held=is_held)
    else:
        beginning = _seen_again(beginning, stream)
        checkpoints.begin(name, beginning, aside=name)
    for one in held:
        progress.pop(one.shard, None)
        if one.after is not None:
            checkpoints.commit(name, one.shard, one.after)
            progress[one.shard] = one.after
    seen_ms = _recent(checkpoints.seen_ms(name) if is_begun else {}, stream.horizon_ms)
    return Start(
        progress, beginning.start_ms, beginning.lost_ms, stream.retention_ms, seen_ms, tuple(told)
    )


def _seen_again(beginning: Beginning, stream: StreamDescription) -> Beginning:
    """What is known of a stream at another start.

    If its retention was raised meanwhile, that may have been a moment ago, and brings nothing back.
    """
    lost_ms = stream.now_ms - min(beginning.retention_ms, stream.retention_ms)
    return beginning._replace(
        retention_ms=stream.retention_ms, lost_ms=max(beginning.lost_ms, lost_ms)
    )


def _recent(seen_ms: Mapping[str, int], horizon_ms: int) -> dict[str, int]:
    """An instance that was taken away is forgotten after a retention."""
    return {name: last_ms for name, last_ms in seen_ms.items() if last_ms >= horizon_ms}


def _held(deliver: Deliverer, stream: StreamDescription, progress: Mapping[str, str]) -> list[Held]:
    """The shards of which the sinks hold more than the progress tells."""
    unfinished = [shard for shard in stream.shards if progress.get(shard) != SHARD_END]
    return [
        held
        for held in deliver.held(stream, unfinished)
        if held.shard not in progress or not is_reached(held.through, by=progress[held.shard])
    ]


def _begin(
    name: str,
    stream: StreamDescription,
    checkpoints: Checkpoints,
    earlier: Beginning | None,
    *,
    is_held: bool,
) -> Beginning:
    """Begin a stream that the checkpoints do not know."""
    start_ms = _start_ms(stream, earlier, is_held=is_held)
    lost_ms = stream.now_ms - stream.retention_ms
    beginning = Beginning(stream.created_ms, start_ms, stream.retention_ms, lost_ms)
    aside = f"{name}@{iso_time(earlier.created_ms) if earlier else 'unknown'}"
    checkpoints.begin(name, beginning, aside=aside)
    return beginning


def _start_ms(stream: StreamDescription, earlier: Beginning | None, *, is_held: bool) -> int:
    """From when on records are wanted: of those that the stream has, or, later on, may have lost.

    Where sinks hold something, the stream was read before: then what has expired since is missing,
    and the time from which on that was is lost, so it is all records.
    """
    if stream.start_ms is not None and stream.start_ms > stream.now_ms:
        raise ConfigError(
            f"source: start is after {iso_time(stream.now_ms)}, the present time of Kinesis",
            hint="give a time that has been, or start=latest",
        )
    if earlier is not None:
        return max(earlier.start_ms, stream.created_ms)
    if is_held:
        return stream.created_ms
    return stream.now_ms if stream.start_ms is None else max(stream.start_ms, stream.lasting_ms)
