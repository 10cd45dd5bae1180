"""What the sinks of a run hold already: the truth about how far a stream is delivered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import chain
from typing import NamedTuple

from dastream.errors import SinkError
from dastream.record import BatchName, Extent, utc_day
from dastream.sinks import Sink
from dastream.sources import StreamDescription

__all__ = ["Held", "extent", "progress"]


def extent(sinks: Iterable[Sink], name: BatchName) -> Extent | None:
    """How much the sinks hold of a batch: it is whole if every sink has all of it.

    Raises SinkError also if they hold different batches under its name.
    """
    held = [sink.extent(name) for sink in sinks]
    extents = [extent for extent in held if extent is not None]
    if len({extent.through for extent in extents}) > 1:
        raise _different_batches()
    is_whole = len(extents) == len(held) and all(extent.is_whole for extent in extents)
    return extents[0]._replace(is_whole=is_whole) if extents else None


class Held(NamedTuple):
    """How far a shard is held: `through` a position, and to be gone on with after another one.

    `after` is earlier where the last batch is held in part, and None for the shard's beginning.
    """

    shard: str
    after: str | None
    through: str


def progress(
    sinks: Sequence[Sink], resource_id: str, stream: StreamDescription, shards: Iterable[str]
) -> Iterator[Held]:
    """How far each of some shards is held, for those of which something is.

    A shard's batches go into all sinks one after another, so all but the last are held by every
    sink, and the last tells how far that is. Raises SinkError also if the sinks were not filled
    together.
    """
    for shard, name in _last_batches(sinks, resource_id, stream, set(shards)):
        held = extent(sinks, name)
        if held is not None:
            start = name.start.removeprefix("after-")
            again = None if start == stream.shards[shard] else start
            yield Held(shard, held.through if held.is_whole else again, held.through)


def _last_batches(
    sinks: Sequence[Sink], resource_id: str, stream: StreamDescription, shards: set[str]
) -> Iterator[tuple[str, BatchName]]:
    """The last batch of each shard that any sink holds.

    From the last day back, until every sink has told a batch of every shard; what an earlier
    stream of the same name left is none.
    """
    found: dict[str, list[list[BatchName]]] = {shard: [[] for _ in sinks] for shard in shards}
    for day in _days(stream):
        for number, sink in enumerate(sinks):
            for name in sink.names(resource_id, day):
                if name.shard in shards and _sequence(name) >= int(stream.shards[name.shard]):
                    found[name.shard][number] = _last_two(*found[name.shard][number], name)
        if all(all(held) for held in found.values()):
            break
    for shard, held in found.items():
        if names := _last_two(*chain.from_iterable(held)):
            _check_filled_together(held, names)
            yield shard, names[-1]


def _last_two(*names: BatchName) -> list[BatchName]:
    """More need not be remembered of a day's batches, which may be many."""
    return sorted(set(names), key=_sequence)[-2:]


def _check_filled_together(held: Iterable[list[BatchName]], names: Sequence[BatchName]) -> None:
    """A crash leaves a sink one batch behind; one that holds nothing begins with the last."""
    for of_sink in held:
        if of_sink and not set(of_sink) & set(names):
            raise _different_batches()


def _days(stream: StreamDescription) -> Iterator[str]:
    """The UTC days of which the stream may have records, the last one first."""
    first, day = (date.fromisoformat(utc_day(ms)) for ms in (stream.horizon_ms, stream.now_ms))
    while day >= first:
        yield day.isoformat()
        day -= timedelta(days=1)


def _sequence(name: BatchName) -> int:
    return int(name.start.removeprefix("after-"))


def _different_batches() -> SinkError:
    return SinkError(
        "sink: the sinks hold different batches of the stream",
        hint="deliver to places that were filled together, or to new ones",
    )
