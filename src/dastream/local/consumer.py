"""`dastream run` inside a process: our own way from a stream to a lake, in a thread."""

from __future__ import annotations

import threading
from typing import Any

from dastream.checkpoint import Checkpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import DastreamError
from dastream.keys import open_unwrap
from dastream.pipeline import Pipeline
from dastream.settings import Settings
from dastream.sinks import Sink
from dastream.sources import BatchLimits
from dastream.sources.kinesis import KinesisSource
from dastream.transforms import open_transforms

__all__ = ["Consumer"]


class Consumer:
    """Delivers the activity stream `stream` of `resource_id` into a sink until it is stopped.

    `kinesis` and `kms` are boto3's clients. The consumer closes its `checkpoints`.
    """

    def __init__(
        self,
        stream: str,
        resource_id: str,
        sink: Sink,
        *,
        kinesis: Any,
        kms: Any,
        checkpoints: Checkpoints,
        settings: Settings,
        limits: BatchLimits,
    ) -> None:
        self._stream = stream
        self._resource_id = resource_id
        self._sink = sink
        self._kinesis = kinesis
        self._limits = limits
        self._decode = Decoder.from_settings(settings, open_unwrap(settings, kms))
        self._transforms = open_transforms(settings.transforms)
        self._checkpoints = checkpoints
        self._live = self._pipeline(once=False)
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._error: DastreamError | None = None

    def start(self) -> None:
        """Begin to deliver, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver what is in the stream by now, and end. Raises what broke the delivery."""
        self._live.stop()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._pipeline(once=True).run()
        self._checkpoints.close()

    def _run(self) -> None:
        try:
            self._live.run()
        except DastreamError as error:
            self._error = error

    def _pipeline(self, *, once: bool) -> Pipeline:
        source = KinesisSource(self._kinesis, self._stream, once=once, limits=self._limits)
        deliver = Deliverer(
            self._decode, self._transforms, [self._sink], resource_id=self._resource_id
        )
        return Pipeline(source, deliver, self._checkpoints)
