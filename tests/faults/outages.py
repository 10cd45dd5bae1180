"""What can happen to a request: a fault is given the operation, and what carries it out."""

import time
from collections import Counter, defaultdict, deque

from proxy import Proxy, refusal

SLOW_SECONDS = 0.7


def refused(status, code):
    """Not carried out."""
    return lambda operation, forward: refusal(operation, status, code)


def reset(_operation, _forward):
    """Not carried out, and the connection ends without a word."""


def lost(_operation, forward):
    """Carried out, and the connection ends without a word."""
    forward()


def failed_after(operation, forward):
    """Carried out, and said to have failed."""
    forward()
    return refusal(operation, 500, "InternalError")


def slow(_operation, forward):
    time.sleep(SLOW_SECONDS)
    return forward()


def cut(_operation, forward):
    """Carried out; the connection ends in the middle of the reply."""
    reply = forward()
    return reply._replace(body=reply.body[: len(reply.body) // 2])


class Outages(Proxy):
    """A proxy whose faults are asked for: those `next` of an operation, then what is `lasting`.

    `hits` counts the faults by operation.
    """

    def __init__(self, endpoint):
        self.next = defaultdict(deque)
        self.lasting = {}
        self.hits = Counter()
        super().__init__(endpoint, self._fault)

    def end(self):
        """Everything works again."""
        self.next.clear()
        self.lasting.clear()

    def _fault(self, operation, forward):
        fault = self.next[operation].popleft() if self.next[operation] else None
        fault = fault or self.lasting.get(operation)
        if fault is None:
            return forward()
        self.hits[operation] += 1
        return fault(operation, forward)
