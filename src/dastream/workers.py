"""Deliverers in processes of their own, for more than one core.

A process gets what a deliverer is made from, and then batches, one at a time. It keeps nothing
that matters: one that dies is replaced, and what it had not told to be delivered is given to the
next one, which finds what the sinks hold already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection

from dastream.delivery import Deliverer, Delivery
from dastream.errors import DastreamError, ServiceError, place
from dastream.record import RecordBatch

__all__ = ["Worker"]

DEATHS_MAX = 3
"""Workers that one batch may cost: what kills three of them is in the batch or the machine."""

END_SECONDS_MAX = 5
"""Between a process that closes its end of the pipe, and its end."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal and systemd send them to all processes; only the one that reads ends by them."""

# A new interpreter, as a fork would copy locks that other threads hold.
_processes = multiprocessing.get_context("spawn")

OpenDeliverer = Callable[[], Deliverer]


class _DiedError(Exception):
    """The process at the other end of the pipe is no more."""


class Worker:
    """A deliverer in a process of its own; what it raises is raised here.

    An exception that is none of ours comes as a ServiceError that tells its type alone.
    `open_deliverer` makes it there, so it is a function that can be pickled. Whoever opened a
    worker closes it. The process ends with the one that started it, also if that is killed.
    """

    def __init__(self, open_deliverer: OpenDeliverer) -> None:
        self._open_deliverer = open_deliverer
        self._is_closed = False
        self._start()

    def __call__(self, batch: RecordBatch, *, whole: bool) -> Iterator[Delivery]:
        """As `Deliverer` does. Raises ServiceError also if worker after worker dies of it."""
        rest: RecordBatch | None = batch
        for deaths in range(DEATHS_MAX):
            try:
                self._give(rest, whole=whole, is_again=deaths > 0)
                while rest is not None:
                    delivery = self._answer()
                    yield delivery
                    _, rest = rest.split(delivery.through)
            except _DiedError:
                self._replace()
            else:
                return
        raise ServiceError(
            f"worker: {DEATHS_MAX} processes in a row died of one batch ({self._last_end})",
            hint="if the machine is short of memory, lower --workers or --flush-bytes-max; "
            "what they said themselves, if anything, is on standard error",
        )

    def close(self) -> None:
        """End the process, whatever it is doing. What it had told is delivered."""
        self._is_closed = True
        self._end()

    def _give(self, batch: RecordBatch | None, *, whole: bool, is_again: bool) -> None:
        try:
            self._connection.send((batch, whole, is_again))
        except OSError:
            raise _DiedError from None

    def _answer(self) -> Delivery:
        try:
            answer: Delivery | Exception = self._connection.recv()
        except (EOFError, OSError):
            raise _DiedError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> None:
        self._connection, theirs = _processes.Pipe()
        self._process = _processes.Process(
            target=_work, args=(theirs, self._open_deliverer), name="worker", daemon=True
        )
        self._process.start()
        theirs.close()

    def _replace(self) -> None:
        self._process.join(END_SECONDS_MAX)  # by itself, so that its exit code tells of what
        self._end()
        if self._is_closed:
            raise ServiceError("worker: closed while it delivered")
        self._start()

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._last_end = _end_in_words(self._process.exitcode)
        self._connection.close()


def _end_in_words(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return signal.Signals(-exit_code).name


def _work(connection: Connection, open_deliverer: OpenDeliverer) -> None:
    """What the process does: deliver what it is given, and tell of it, until the pipe ends."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        with closing(open_deliverer()) as deliver:
            while (given := _next(connection)) is not None:
                batch, whole, is_again = given
                make = deliver.again if is_again else deliver
                for delivery in make(batch, whole=whole):
                    connection.send(delivery)
    except Exception as error:  # noqa: BLE001 - a user's sink may raise anything
        with suppress(OSError):  # whoever gave the batch has gone
            connection.send(_ours(error))


def _next(connection: Connection) -> tuple[RecordBatch, bool, bool] | None:
    """What is given next, None at the end of the pipe."""
    try:
        given: tuple[RecordBatch, bool, bool] = connection.recv()
    except (EOFError, OSError):
        return None
    return given


def _ours(error: Exception) -> DastreamError:
    """An error of ours as it is. Of any other only its type and place: its text may quote SQL."""
    if isinstance(error, DastreamError):
        return error
    sys.stderr.write(f"worker: {place(error)}")
    return ServiceError(
        f"worker: raised {type(error).__name__}",
        hint="a bug, in dastream or in a sink of your own: standard error says where",
    )


def _end_with_parent() -> None:
    """End at once: the next run asks the sinks what they hold, and nothing may come after that."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker was started by another process"
    parent.join()
    os._exit(1)
