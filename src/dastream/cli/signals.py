"""Signals as a request to end cleanly: SIGINT, SIGTERM, and SIGHUP of a closed terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["interrupt_on_signals", "stop_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first signal; the second one ends the program at once.

    A signal that was ignored when the program began stays ignored: `nohup` asks for that with
    SIGHUP, and a shell without job control with the SIGINT of what it starts behind it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals; whoever runs us there stops us
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        del number, frame
        restore()
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let every signal end the block as Ctrl-C does: by an exception, so that all is cleaned up."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with stop_on_signals(interrupt):
        yield
