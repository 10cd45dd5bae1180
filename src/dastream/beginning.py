"""Where a run begins, settled and stored before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dastream import notice
from dastream.checkpoint import Beginning, Checkpoints
from dastream.delivery import Deliverer
from dastream.record import SHARD_END, is_reached, iso_time
from dastream.sources import Source, StreamDescription

__all__ = ["Start", "settle"]


class Start(NamedTuple):
    """From where a run reads: after the progress of each shard, and else from a time on.

    `retention_ms` is for how long the stream keeps a record. `told` has a line for people about
    each thing that was not as the last run left it.
    """

    progress: Mapping[str, str]
    start_ms: int
    retention_ms: int
    told: tuple[str, ...]


def settle(source: Source, deliver: Deliverer, checkpoints: Checkpoints) -> Start:
    """Find the start, and store it if the checkpoints do not have it yet.

    A stream is known by its creation, so that one which was made again under its name is begun
    anew. What the sinks hold goes before a checkpoint that is behind it or was lost. Raises
    ServiceError.
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
        beginning = _begin(name, stream, checkpoints, beginning, is_held=bool(held))
    for shard, through in held.items():
        checkpoints.commit(name, shard, through)
    return Start(progress | held, beginning.start_ms, stream.retention_ms, tuple(told))


def _held(
    deliver: Deliverer, stream: StreamDescription, progress: Mapping[str, str]
) -> dict[str, str]:
    """How far the sinks hold the shards of which they hold more than the progress tells."""
    unfinished = [shard for shard in stream.shards if progress.get(shard) != SHARD_END]
    return {
        shard: through
        for shard, through in deliver.held(stream, unfinished)
        if shard not in progress or not is_reached(through, by=progress[shard])
    }


def _begin(
    name: str,
    stream: StreamDescription,
    checkpoints: Checkpoints,
    earlier: Beginning | None,
    *,
    is_held: bool,
) -> Beginning:
    """Begin a stream that the checkpoints do not know."""
    beginning = Beginning(stream.created_ms, _start_ms(stream, earlier, is_held=is_held))
    aside = f"{name}@{iso_time(earlier.created_ms) if earlier else 'unknown'}"
    checkpoints.begin(name, beginning, aside=aside)
    return beginning


def _start_ms(stream: StreamDescription, earlier: Beginning | None, *, is_held: bool) -> int:
    """From when on records are wanted, of those that the stream has.

    Where sinks hold something, the time of an earlier `latest` is lost: then it is all of them.
    """
    if earlier is not None:
        return max(earlier.start_ms, stream.horizon_ms)
    if stream.start_ms is None:
        return stream.horizon_ms if is_held else stream.now_ms
    return max(stream.start_ms, stream.horizon_ms)
