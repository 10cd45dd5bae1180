"""Time that passes only when somebody lets it pass."""

import heapq
from datetime import UTC, datetime
from itertools import count

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


class VirtualClock:
    """Seconds since the history began, and what is to happen when they have passed.

    The time of day begins two minutes before a midnight, so that batches end there, too.
    """

    def __init__(self):
        self.seconds = 0.0
        self._order = count()
        self._due = []

    @property
    def now_ms(self):
        return round((MIDNIGHT.timestamp() - 120 + self.seconds) * 1000)

    def at(self, seconds, action):
        heapq.heappush(self._due, (seconds, next(self._order), action))

    def advance(self, seconds):
        until = self.seconds + seconds
        while self._due and self._due[0][0] <= until:
            at, _, action = heapq.heappop(self._due)
            self.seconds = max(self.seconds, at)
            action()
        self.seconds = max(self.seconds, until)

    def __call__(self):
        return self.seconds
