"""Metrics of an invocation as lines of a Lambda function's log.

CloudWatch makes metrics of what is written in its embedded metric format (CloudWatch User Guide,
"Specification: Embedded metric format"), so they cost no API call.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dastream.event import Event
from dastream.keys import CachingUnwrap
from dastream.record import Record

__all__ = ["Log", "Meter", "Metrics", "metric_lines", "print_line"]

NAMESPACE = "dastream"

Log = Callable[[Mapping[str, object]], None]
"""Takes a line of a log, which is a JSON object."""

_UNITS = {
    "Records": "Count",
    "Bytes": "Bytes",
    "Events": "Count",
    "Dropped": "Count",
    "DeadLetters": "Count",
    "ServiceErrors": "Count",
    "KeyCacheHits": "Count",
    "KeyCacheMisses": "Count",
    "DecodeMilliseconds": "Milliseconds",
    "SecondsBehind": "Seconds",
}


_INSTANCE = re.compile(r"db-[A-Za-z0-9]{1,64}", re.ASCII)
"""What may become a dimension, of which each has its price."""


def print_line(line: Mapping[str, object]) -> None:
    """The log of a Lambda function: standard output."""
    print(msgspec.json.encode(line).decode(), flush=True)  # noqa: T201 - Lambda's log


@dataclass(kw_only=True)
class Metrics:
    """What one invocation did with records of `stream`.

    `dropped` counts events by transform, `dead_letters` records by error, `heard` the records of
    each instance, with nothing but a heartbeat in them too. `decode_ms` is the time spent in
    decoding, `newest_ms` when the newest record arrived, None without one. `service_errors` is 1
    where a service failed, and what it did not take comes again.
    """

    stream: str
    records: int = 0
    record_bytes: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    key_cache_hits: int = 0
    key_cache_misses: int = 0
    decode_ms: float = 0.0
    newest_ms: int | None = None
    service_errors: int = 0


class Meter:
    """A decoder that adds to an invocation's metrics what decoding takes.

    `record` is the one that it was given last.
    """

    def __init__(
        self, decode: Callable[[Record], list[Event]], unwrap: CachingUnwrap, metrics: Metrics
    ) -> None:
        self.record: Record | None = None
        self._decode = decode
        self._unwrap = unwrap
        self._metrics = metrics

    def __call__(self, record: Record) -> list[Event]:
        self.record = record
        hits, misses = self._unwrap.hits, self._unwrap.misses
        began = time.perf_counter()
        try:
            events = self._decode(record)
        finally:
            self._metrics.decode_ms += (time.perf_counter() - began) * 1000
            self._metrics.key_cache_hits += self._unwrap.hits - hits
            self._metrics.key_cache_misses += self._unwrap.misses - misses
        instance = events[0].origin.instance_id if events else None
        heard = self._metrics.heard
        if instance and (instance in heard or _INSTANCE.fullmatch(instance)):
            heard[instance] += 1
        return events


def metric_lines(metrics: Metrics, now_ms: int) -> Iterator[dict[str, Any]]:
    """One line for the invocation, and one for each instance, transform and error with a count.

    A line has one value for a dimension, so each name has a line of its own. `now_ms` is in
    milliseconds since 1970, UTC.
    """
    values: dict[str, float] = {
        "Records": metrics.records,
        "Bytes": metrics.record_bytes,
        "Events": metrics.events,
        "KeyCacheHits": metrics.key_cache_hits,
        "KeyCacheMisses": metrics.key_cache_misses,
        "DecodeMilliseconds": round(metrics.decode_ms, 3),
        "Dropped": metrics.dropped.total(),
        "DeadLetters": metrics.dead_letters.total(),
    }
    if metrics.newest_ms is not None:
        values["SecondsBehind"] = max(0, now_ms - metrics.newest_ms) / 1000
    if metrics.service_errors:
        values["ServiceErrors"] = metrics.service_errors
    of_stream = {"Stream": metrics.stream}
    yield _line(of_stream, values, now_ms)
    for instance, count in metrics.heard.items():
        yield _line(of_stream | {"Instance": instance}, {"Records": count}, now_ms)
    for transform, count in metrics.dropped.items():
        yield _line(of_stream | {"Transform": transform}, {"Dropped": count}, now_ms)
    for error, count in metrics.dead_letters.items():
        yield _line(of_stream | {"Error": error}, {"DeadLetters": count}, now_ms)


def _line(
    dimensions: Mapping[str, str], values: Mapping[str, float], now_ms: int
) -> dict[str, Any]:
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in values],
    }
    return {
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
        **dimensions,
        **values,
    }
