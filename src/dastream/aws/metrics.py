"""Metrics of an invocation as lines of a Lambda function's log.

CloudWatch makes metrics of what is written in its embedded metric format (CloudWatch User Guide,
"Specification: Embedded metric format"), so they cost no API call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dastream.event import Event
from dastream.record import Record

__all__ = ["DecodeTimer", "InvocationMetrics", "metric_lines"]

NAMESPACE = "dastream"

Decode = Callable[[Record], list[Event]]

_UNITS = {
    "Records": "Count",
    "Bytes": "Bytes",
    "Events": "Count",
    "Dropped": "Count",
    "DeadLetters": "Count",
    "KeyCacheHits": "Count",
    "KeyCacheMisses": "Count",
    "DecodeMilliseconds": "Milliseconds",
    "SecondsBehind": "Seconds",
}


@dataclass(frozen=True, kw_only=True)
class InvocationMetrics:
    """What one invocation did with the records of a stream.

    `dropped` counts events by transform, `dead_letters` records by error. `seconds_behind` is the
    age of the newest record, None if there was none.
    """

    stream: str
    records: int
    record_bytes: int
    events: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    key_cache_hits: int = 0
    key_cache_misses: int = 0
    decode_ms: float = 0
    seconds_behind: float | None = None


def metric_lines(metrics: InvocationMetrics, time_ms: int) -> Iterator[dict[str, Any]]:
    """One line for the invocation, and one for each transform and error that counted anything.

    A line has one value for a dimension, so each name has a line of its own. `time_ms` is in
    milliseconds since 1970, UTC.
    """
    values: dict[str, float] = {
        "Records": metrics.records,
        "Bytes": metrics.record_bytes,
        "Events": metrics.events,
        "KeyCacheHits": metrics.key_cache_hits,
        "KeyCacheMisses": metrics.key_cache_misses,
        "DecodeMilliseconds": round(metrics.decode_ms, 3),
        "Dropped": sum(metrics.dropped.values()),
        "DeadLetters": sum(metrics.dead_letters.values()),
    }
    if metrics.seconds_behind is not None:
        values["SecondsBehind"] = round(metrics.seconds_behind, 3)
    of_stream = {"Stream": metrics.stream}
    yield _line(of_stream, values, time_ms)
    for transform, count in metrics.dropped.items():
        yield _line(of_stream | {"Transform": transform}, {"Dropped": count}, time_ms)
    for error, count in metrics.dead_letters.items():
        yield _line(of_stream | {"Error": error}, {"DeadLetters": count}, time_ms)


def _line(
    dimensions: Mapping[str, str], values: Mapping[str, float], time_ms: int
) -> dict[str, Any]:
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in values],
    }
    return {
        "_aws": {"Timestamp": time_ms, "CloudWatchMetrics": [directive]},
        **dimensions,
        **values,
    }


class DecodeTimer:
    """A decoder that counts the milliseconds spent in it."""

    def __init__(self, decode: Decode) -> None:
        self.spent_ms = 0.0
        self._decode = decode

    def __call__(self, record: Record) -> list[Event]:
        began = time.perf_counter()
        try:
            return self._decode(record)
        finally:
            self.spent_ms += (time.perf_counter() - began) * 1000
