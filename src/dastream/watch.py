"""Whether a stream has fallen silent, or its consumer behind. Knows no clock of its own.

A database with an activity stream sends heartbeats also when nobody uses it, so silence means
that auditing has stopped somewhere: the first thing that an intruder would want.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dastream.record import iso_time

__all__ = ["Watch"]


class Watch:
    """Tells what becomes silent or late, and what is well again.

    An instance, or the stream as a whole, is silent when nothing of it arrived for more than
    `silence_ms_max`, and for as long since the first check, since there was nobody to hear of it
    before; the consumer is late when it is behind by more than `lag_share_max` of the
    time for which the stream keeps a record. Records are heard of up to `delivery_ms` after they
    were read.
    """

    def __init__(self, *, silence_ms_max: float, lag_share_max: float, delivery_ms: float) -> None:
        self._silence_ms_max = silence_ms_max
        self._lag_share_max = lag_share_max
        self._delivery_ms = delivery_ms
        self._since_ms: int | None = None
        self._told: dict[str, str] = {}

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is silent or late: `stream`, `consumer`, or instances by their ids."""
        return tuple(self._told)

    def check(
        self,
        now_ms: int,
        *,
        lag_ms: int,
        retention_ms: int,
        arrival_ms: int,
        seen_ms: Mapping[str, int],
    ) -> list[str]:
        """What is to be told at a time: a line for each change since the last check.

        `lag_ms` is how far the consumer is behind a stream that keeps records for `retention_ms`,
        `arrival_ms` the last arrival of any record that it delivered, 0 for none yet, and
        `seen_ms` that of each instance's records.
        """
        heard_ms = round(now_ms - lag_ms - self._delivery_ms)
        if self._since_ms is None:
            self._since_ms = heard_ms
        found = dict(self._silent(heard_ms, max(arrival_ms, self._since_ms), seen_ms))
        if lag_ms > retention_ms * self._lag_share_max:
            found["consumer"] = (
                f"consumer: {lag_ms // 1000} s behind, of the {retention_ms // 1000} s for which "
                "the stream keeps a record"
            )
        news = [text for name, text in found.items() if name not in self._told]
        news += [f"{name}: well again" for name in self._told if name not in found]
        self._told = found
        return news

    def _silent(
        self, heard_ms: int, since_ms: int, seen_ms: Mapping[str, int]
    ) -> Iterator[tuple[str, str]]:
        if heard_ms - since_ms > self._silence_ms_max:
            yield "stream", f"stream: nothing has arrived since {iso_time(since_ms)}"
            return
        for instance, last_ms in seen_ms.items():
            if heard_ms - max(last_ms, self._since_ms or 0) > self._silence_ms_max:
                yield instance, f"{instance}: nothing has arrived since {iso_time(last_ms)}"
