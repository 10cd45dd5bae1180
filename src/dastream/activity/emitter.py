"""The activity stream of a PostgreSQL that you run yourself: its log, published as it grows."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any, Literal

from dastream.activity.entry import Server
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader, Mode
from dastream.activity.publisher import Counters, Publisher
from dastream.activity.seal import Sealer
from dastream.errors import ConfigError

__all__ = ["Emitter"]

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
SETTLE_SECONDS = 0.3
"""How long after a statement its rows may still be on their way through the log collector."""


class Emitter:
    """Publishes what a server logs, from `start` until `stop`, in a thread of its own.

    `log_directory` holds the server's JSON log, with the settings that `PostgresServer` makes.
    `resource_id` is that of the cluster (`cluster-…`) or the instance (`db-…`); it says under
    which encryption context `kms_key_id` gives data keys. `kinesis` and `kms` are boto3's
    clients. `suite` is the algorithm suite of the messages.

    `mode` says whether pgaudit writes into the log. Where it does not, `pgaudit` works too, but
    a SELECT of the extended protocol is published with the next statement of its session.

    `start_at` says whether what has been logged already is published. Raises ConfigError for a
    resource id or a suite that there is none of.
    """

    def __init__(
        self,
        log_directory: Path,
        *,
        stream: str,
        resource_id: str,
        kms_key_id: str,
        kinesis: Any,
        kms: Any,
        instance_id: str | None = None,
        mode: Mode = "pgaudit",
        server_version: str = "",
        server_host: str = "127.0.0.1",
        suite: int = 0x0178,
        start_at: Literal["end", "beginning"] = "end",
        heartbeat_seconds: float = 1.0,
        record_bytes_max: int = 256 * 1024,
        record_age_seconds_max: float = 0.5,
    ) -> None:
        self._log_directory = log_directory
        self._start_at: Literal["end", "beginning"] = start_at
        self._heartbeat_seconds = heartbeat_seconds
        self._stopping = threading.Event()
        self._reader = LogReader(Server(server_version, server_host), mode=mode)
        sealer = Sealer(kms, key_id=kms_key_id, resource_id=resource_id, suite=suite)
        self._publisher = Publisher(
            sealer.seal,
            kinesis=kinesis,
            stream=stream,
            # An instance of RDS belongs to no cluster: its records say "".
            cluster_id=resource_id if resource_id.startswith("cluster-") else "",
            instance_id=instance_id or resource_id,
            record_bytes_max=record_bytes_max,
            record_age_seconds_max=record_age_seconds_max,
            stopping=self._stopping,
        )
        self._tail: LogTail | None = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def counters(self) -> Counters:
        """What has been published so far."""
        return self._publisher.counters

    @property
    def statements(self) -> int:
        """Statements of clients that have been read so far."""
        return self._reader.statements

    @property
    def malformed(self) -> int:
        """Lines of the log that were no rows, and so gave no entry."""
        return self._reader.malformed

    @property
    def cut_lines(self) -> int:
        """Lines of the log that were too long, and so gave an entry that is cut."""
        return 0 if self._tail is None else self._tail.cut

    def start(self) -> None:
        """Begin to publish; returns at once. Raises ConfigError without a log directory."""
        if not self._log_directory.is_dir():
            raise ConfigError("activity: the log directory is not there")
        self._tail = LogTail(self._log_directory, start=self._start_at)
        self._thread = threading.Thread(target=self._run, args=(self._tail,), name="emitter")
        self._thread.start()

    def stop(self) -> None:
        """Publish what the server has logged so far, and stop. Raises what broke the emitter."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _run(self, tail: LogTail) -> None:
        try:
            self._follow(tail)
            self._drain(tail)
        except Exception as error:  # noqa: BLE001 - raised again by stop
            self._error = error
            _log.error("activity: the emitter has stopped (%s)", type(error).__name__)
        finally:
            tail.close()

    def _follow(self, tail: LogTail) -> None:
        heartbeat_at = time.monotonic()
        while not self._stopping.is_set():
            is_idle = not self._read(tail)
            if time.monotonic() >= heartbeat_at:
                heartbeat_at = time.monotonic() + self._heartbeat_seconds
                self._publisher.put_heartbeat()
            if is_idle:
                self._stopping.wait(POLL_SECONDS)

    def _drain(self, tail: LogTail) -> None:
        time.sleep(SETTLE_SECONDS)
        end = tail.end()
        while tail.position < end and self._read(tail):
            pass
        for entry in self._reader.flush():
            self._publisher.add(entry)
        self._publisher.flush()

    def _read(self, tail: LogTail) -> bool:
        lines = tail.read()
        for entry in self._reader.read(lines):
            self._publisher.add(entry)
        self._publisher.put_due()
        return bool(lines)
