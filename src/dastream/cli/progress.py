"""What a run tells while it works: a live line on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import msgspec

from dastream.cli.cells import escape
from dastream.pipeline import Pipeline
from dastream.sources import Source
from dastream.watch import Watch

__all__ = ["show_progress", "tell_notice", "tell_repeatedly"]

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0
WATCH_SECONDS = 5.0


@contextmanager
def show_progress(pipeline: Pipeline, source: Source, watch: Watch) -> Iterator[None]:
    """Tell the counters on standard error while the block runs, and once more at its end.

    What `watch` finds is told when it begins, and when it is over.
    """
    meter = _Meter(pipeline, source, watch)
    with _repeating(meter.look, WATCH_SECONDS), tell_repeatedly(meter.words, meter.figures):
        yield


def tell_notice(text: str) -> None:
    """Tell people something in a line of its own, as it happens."""
    if sys.stderr.isatty():
        _write(f"\r\x1b[K{escape(text)}\n")
    else:
        _write_json({"notice": text})


@contextmanager
def tell_repeatedly(
    words: Callable[[], str], figures: Callable[[], Mapping[str, object]]
) -> Iterator[None]:
    """Tell on standard error while the block runs, and once more at its end.

    On a terminal `words` on one line, written over itself; elsewhere `figures` as JSON lines.
    """
    if sys.stderr.isatty():
        try:
            with _repeating(lambda: _write(f"\r\x1b[K{words()}"), TERMINAL_SECONDS):
                yield
        finally:
            _write("\n")
    else:
        with _repeating(lambda: _write_json(figures()), LOG_SECONDS):
            yield


def _write_json(figures: Mapping[str, object]) -> None:
    if figures:
        _write(msgspec.json.encode(figures).decode() + "\n")


def _write(text: str) -> None:
    """Tell, if anybody reads: a journal that went away is no reason to stop delivering."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


class _Meter:
    """Reads the counters of a run. Another thread writes them: a figure may be a batch old."""

    def __init__(self, pipeline: Pipeline, source: Source, watch: Watch) -> None:
        self._pipeline = pipeline
        self._source = source
        self._watch = watch
        self._started = time.monotonic()

    def look(self) -> None:
        """Tell what the watch finds, once the stream is known."""
        counters, retention_ms = self._pipeline.counters, self._pipeline.retention_ms
        if retention_ms is None:
            return
        news = self._watch.check(
            round(time.time() * 1000),
            lag_ms=max(self._source.lag_ms.values(), default=0),
            retention_ms=retention_ms,
            arrival_ms=counters.arrival_ms,
            seen_ms=counters.seen_ms,
        )
        for text in news:
            tell_notice(text)

    def words(self) -> str:
        """One line."""
        gaps = self._pipeline.counters.gaps
        parts = [*self._delivered(), self._lag()]
        if gaps:
            parts.append(f"{gaps:,} gaps")
        if troubles := self._watch.troubles:
            parts.append(f"silent or late: {escape(', '.join(troubles))}")
        return " · ".join(parts)

    def _delivered(self) -> Sequence[str]:
        """A batch may fill for a minute: until it is delivered, zeros would look like idleness."""
        counters = self._pipeline.counters
        if not counters.records:
            return ["nothing delivered so far"]
        rate = counters.events / max(time.monotonic() - self._started, 0.001)
        return [
            f"{counters.events:,} events",
            f"{rate:,.0f}/s",
            f"{counters.dropped.total():,} dropped",
            f"{counters.dead_letters.total():,} dead letters",
        ]

    def _lag(self) -> str:
        if self._pipeline.retention_ms is None:
            return "looking where to begin"
        lag = "  ".join(
            f"{shard.removeprefix('shardId-').lstrip('0') or '0'}: {_seconds(lag_ms)}"
            for shard, lag_ms in sorted(self._source.lag_ms.items())
        )
        return f"reading, lag by shard {lag}" if lag else "all shards read"

    def figures(self) -> dict[str, object]:
        """The members of a JSON object; none when a run ends before it has read anything."""
        counters = self._pipeline.counters
        if sys.exc_info()[0] is not None and not counters.records:
            return {}
        return {
            "records": counters.records,
            "recordBytes": counters.record_bytes,
            "events": counters.events,
            "eventsHeld": counters.events_held,
            "dropped": dict(counters.dropped),
            "deadLetters": dict(counters.dead_letters),
            "keyHits": counters.key_hits,
            "keyMisses": counters.key_misses,
            "lagMs": dict(self._source.lag_ms),
            "gaps": counters.gaps,
            "troubles": self._watch.troubles,
        }


def _seconds(lag_ms: int) -> str:
    seconds = lag_ms // 1000
    return f"{seconds}s" if seconds < 120 else f"{seconds // 60}min"


@contextmanager
def _repeating(call: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call again and again from a thread of its own, and a last time at the end."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        call()
