"""Deliverers for workers: functions, as what a worker is started with has to be pickled."""

import os
import signal
import sys
from pathlib import Path

from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import ConfigError, KeyServiceError
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage
from dastream.transforms import NamedTransform
from support import CLUSTER, unwrap


def plain(lake):
    return _deliverer(lake)


def in_parts(lake):
    return _deliverer(lake, event_bytes_max=1)


def out_of_reach(lake):
    def denied(key, context):
        raise KeyServiceError("kms decrypt: AccessDeniedException", hint="allow it")

    return _deliverer(lake, unwrap=denied)


def unusable(lake):
    raise ConfigError("sink: no such thing", hint="use another")


def quits(lake):
    sys.exit(1)


def buggy(lake):
    """Its sink raises what is no error of ours, and quotes an event."""
    return _deliverer(lake, sink=_QuotingSink(AttributeError))


def at_an_end(lake):
    """The same with what the end of a pipe raises."""
    return _deliverer(lake, sink=_QuotingSink(EOFError))


def out_of_files(lake):
    return _deliverer(lake, sink=_QuotingSink(OSError))


def dies(lake):
    """Of each batch, before anything of it is delivered."""
    return _deliverer(lake, sink=_DeadlySink(lake, deaths_max=99))


def dies_twice_after_delivery(lake):
    """Nothing is told of what it has delivered when it dies."""
    return _deliverer(lake, sink=_DeadlySink(lake, deaths_max=2, is_delivered=True))


def dies_in_the_third_part(lake):
    sink = _DeadlySink(lake, deaths_max=1, is_delivered=True, spared=2)
    return _deliverer(lake, sink=sink, event_bytes_max=1)


def dies_and_cuts_finer(lake):
    """It dies with a whole batch delivered; who comes next delivers in parts."""
    sink = _DeadlySink(lake, deaths_max=1, is_delivered=True)
    return _deliverer(lake, sink=sink, event_bytes_max=1 if _has_died(lake) else 1 << 30)


def dies_and_cuts_coarser(lake):
    """It dies with a part delivered; who comes next delivers batches as they are."""
    sink = _DeadlySink(lake, deaths_max=1, is_delivered=True)
    return _deliverer(lake, sink=sink, event_bytes_max=1 << 30 if _has_died(lake) else 1)


def _has_died(lake):
    return Path(lake, "deaths").exists()


def slow(lake):
    """Says that it has begun, and then takes its time."""

    def wait(event):
        Path(lake, "begun").touch()
        signal.pause()

    return _deliverer(lake, transforms=[NamedTransform("wait", wait)])


def _deliverer(lake, *, unwrap=unwrap, sink=None, transforms=(), **settings):
    sinks = [sink or LakeSink(FileStorage(Path(lake)))]
    return Deliverer(Decoder(unwrap), transforms, sinks, resource_id=CLUSTER, **settings)


class _QuotingSink:
    def __init__(self, kind):
        self._kind = kind

    def deliver(self, batch):
        entry = batch.events[0].entry
        raise self._kind(entry) from ValueError(entry)

    def close(self):
        """There is nothing to close."""


class _DeadlySink(LakeSink):
    """Kills its process on delivery, `deaths_max` times in all; spares each the first few."""

    def __init__(self, lake, *, deaths_max, is_delivered=False, spared=0):
        super().__init__(FileStorage(Path(lake)))
        self._deaths = Path(lake, "deaths")
        self._deaths_max = deaths_max
        self._is_delivered = is_delivered
        self._spared = spared

    def deliver(self, batch):
        if self._is_delivered:
            super().deliver(batch)
        self._spared -= 1
        if self._spared < 0:
            self._die()
        return super().deliver(batch)

    def _die(self):
        deaths = self._deaths.read_text() if self._deaths.exists() else ""
        if len(deaths) < self._deaths_max:
            self._deaths.write_text(deaths + ".")
            os.kill(os.getpid(), signal.SIGKILL)
