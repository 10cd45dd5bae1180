"""Where events go, opened by URL.

A sink takes batches of events and makes them durable. It commits nothing and keeps no state
between batches: that a batch is there is told by the object that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol

from dastream.errors import ConfigError
from dastream.notice import Notice
from dastream.record import BatchName, EventBatch, Extent
from dastream.settings import split_url

__all__ = ["Sink", "open_sink", "require_entries"]

ENTRY_POINTS = "dastream.sinks"

_BUILT_IN = {"file": "dastream.sinks.lake", "s3": "dastream.sinks.lake"}


class Sink(Protocol):
    """The contract of every sink. All methods raise SinkError when the outside fails.

    What a sink holds is the truth, and a checkpoint only says where to look: a run begins where
    the batches end that its sinks hold. So a sink can tell them.
    """

    def names(self, resource_id: str, day: str) -> Iterable[BatchName]:
        """The batches of a day of which anything is held, in any order.

        Asked at the start of a run for the days that the stream may still have records of.
        """
        ...

    def holds(self, resource_id: str) -> bool:
        """Whether anything is held of a stream, of whatever day.

        Asked at the start of a run that has no state.
        """
        ...

    def extent(self, name: BatchName) -> Extent | None:
        """How much is held of the batch of that name, None for nothing.

        Of a batch that is not whole, `through` is what it was to be: it is formed anew with
        exactly this extent, and delivered again.
        """
        ...

    def deliver(self, batch: EventBatch) -> bool:
        """Make a batch durable before returning; False, and nothing done, if it is there already.

        Which of its records are dead letters is settled by the first delivery that left anything,
        and what is missing is completed as that had it (`EventBatch.settled`). Raises SinkError
        if something other than this batch (`EventBatch.is_held_as`) is held under its name.
        """
        ...

    def notify(self, resource_id: str, notice: Notice) -> None:
        """Make a notice durable before returning; do nothing if it is there already."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def open_sink(url: str) -> Sink:
    """The sink that a URL names, built in or from the entry-point group `dastream.sinks`.

    A sink's module, or entry point, has a function `open(url) -> Sink`. Raises ConfigError.
    """
    scheme = split_url(url).scheme
    if scheme in _BUILT_IN:
        sink: Sink = import_module(_BUILT_IN[scheme]).open(url)
        return sink
    for entry_point in entry_points(group=ENTRY_POINTS, name=scheme):
        opened: Sink = entry_point.load().open(url)
        return opened
    raise ConfigError(
        f"sink: no sink for {scheme or 'a URL without a scheme'}",
        hint="use file:///DIR or s3://BUCKET/PREFIX",
    )


def require_entries(sinks: Iterable[Sink]) -> None:
    """Make sure that one of the sinks keeps the entries' bytes: they are the evidence.

    A sink that leaves them out says so by `has_entries`. Raises ConfigError.
    """
    if not any(getattr(sink, "has_entries", True) for sink in sinks):
        raise ConfigError(
            "sink: with raw=no no sink keeps the entries as the database wrote them",
            hint="add a sink of JSON lines, which may have the same place, or leave raw=no out",
        )
