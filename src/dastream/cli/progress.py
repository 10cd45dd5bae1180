"""What a run tells while it works: a live line on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from dastream.pipeline import Pipeline
from dastream.sources import Source

__all__ = ["show_progress", "tell_repeatedly"]

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0


@contextmanager
def show_progress(pipeline: Pipeline, source: Source) -> Iterator[None]:
    """Tell the counters on standard error while the block runs, and once more at its end."""
    meter = _Meter(pipeline, source)
    with tell_repeatedly(meter.words, meter.figures):
        yield


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
    sys.stderr.write(text)
    sys.stderr.flush()


class _Meter:
    """Reads the counters of a run. Another thread writes them: a figure may be a batch old."""

    def __init__(self, pipeline: Pipeline, source: Source) -> None:
        self._pipeline = pipeline
        self._source = source
        self._started = time.monotonic()

    def words(self) -> str:
        """One line."""
        counters = self._pipeline.counters
        rate = counters.events / max(time.monotonic() - self._started, 0.001)
        lag = "  ".join(
            f"{shard.removeprefix('shardId-').lstrip('0') or '0'}: {_seconds(lag_ms)}"
            for shard, lag_ms in sorted(self._source.lag_ms.items())
        )
        parts = [
            f"{counters.events:,} events",
            f"{rate:,.0f}/s",
            f"{counters.dropped.total():,} dropped",
            f"{counters.dead_letters.total():,} dead letters",
            f"lag by shard {lag}" if lag else "all shards read",
        ]
        return " · ".join(parts)

    def figures(self) -> dict[str, object]:
        """The members of a JSON object; none when a run ends before it has read anything."""
        counters = self._pipeline.counters
        if sys.exc_info()[0] is not None and not counters.records:
            return {}
        return {
            "records": counters.records,
            "recordBytes": counters.record_bytes,
            "events": counters.events,
            "dropped": dict(counters.dropped),
            "deadLetters": dict(counters.dead_letters),
            "keyHits": counters.key_hits,
            "keyMisses": counters.key_misses,
            "lagMs": dict(self._source.lag_ms),
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
