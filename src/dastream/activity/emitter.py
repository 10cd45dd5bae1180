"""The activity stream of a PostgreSQL that you run yourself: its log, published as it grows."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from dastream.activity.entry import Server
from dastream.activity.follower import Follower, Start, open_tail
from dastream.activity.journal import Journal
from dastream.activity.log_time import LogClock
from dastream.activity.postgres_log import LogReader, Mode
from dastream.activity.publisher import Counters, Publisher
from dastream.activity.seal import Sealer
from dastream.errors import ConfigError, KeyServiceError, SinkError

__all__ = ["Emitter"]

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.05


class Emitter:
    """Publishes what a server logs, until `stop`.

    `log_directory` holds the server's JSON or CSV log, with the settings of
    docs/own-postgresql.md. `resource_id` is that of the cluster (`cluster-…`) or the instance
    (`db-…`); it says under which encryption context `kms_key_id` gives data keys. `kinesis` and
    `kms` are boto3's clients. `suite` is the algorithm suite of the messages.

    `mode` says whether pgaudit writes into the log. Where it does not, `pgaudit` works too, but
    a SELECT of the extended protocol is published with the next statement of its session.

    `state` is the file of the journal; without one, nothing is remembered, and `stop` publishes
    what is not complete too. `start_at` says whether what has been logged already is published,
    if the journal does not tell where to go on. `log_timezone` is the server's setting, where
    that is not UTC.

    Raises ConfigError for a resource id, a suite, a time zone, a state file or a log directory
    that cannot be used.
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
        state: Path | None = None,
        start_at: Start = "end",
        log_timezone: str | None = None,
        heartbeat_seconds: float = 1.0,
        record_bytes_max: int = 256 * 1024,
        record_age_seconds_max: float = 0.5,
    ) -> None:
        self._log_directory = log_directory
        self._state = state
        self._start_at: Start = start_at
        self._publishes = f"{stream} {resource_id}"
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = LogClock(log_timezone)
        self._server = Server(server_version, server_host)
        self._mode: Mode = mode
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
        )
        self._follower: Follower | None = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def counters(self) -> Counters:
        """What has been published so far."""
        return self._publisher.counters

    @property
    def statements(self) -> int:
        """Statements of clients that have been read so far."""
        return 0 if self._follower is None else self._follower.reader.statements

    @property
    def malformed(self) -> int:
        """Lines of the log that were no rows, and so gave no entry."""
        return 0 if self._follower is None else self._follower.reader.malformed

    @property
    def missing(self) -> int:
        """Rows of the log that must have been written, by their numbers, and were not found."""
        return 0 if self._follower is None else self._follower.reader.missing

    @property
    def gaps(self) -> int:
        """Files of the log that went before they were read to their end."""
        return 0 if self._follower is None else self._follower.tail.gaps

    @property
    def cut_lines(self) -> int:
        """Rows of the log that were too long, and so gave an entry that is cut."""
        return 0 if self._follower is None else self._follower.tail.cut

    @property
    def lag_bytes(self) -> int:
        """How much of the log had been written and not read at the last heartbeat, or the end."""
        return 0 if self._follower is None else self._follower.lag_bytes

    def start(self) -> None:
        """Begin to publish in a thread of its own; returns at once. Raises ConfigError."""
        follower = self._open()
        self._thread = threading.Thread(target=self._run_aside, args=(follower,), name="emitter")
        self._thread.start()

    def run(self) -> None:
        """Publish until another thread or a signal handler calls `stop`.

        Raises ConfigError, and ServiceError if the log cannot be read or the state not stored.
        """
        self._run(self._open())

    def stop(self) -> None:
        """Publish what the server has logged so far, and stop. Raises what broke the emitter."""
        self._publisher.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _open(self) -> Follower:
        if not self._log_directory.is_dir():
            raise ConfigError("activity: the log directory is not there")
        journal = Journal(self._state, publishes=self._publishes)
        try:
            tail, progress = open_tail(self._log_directory, journal, self._clock, self._start_at)
        except BaseException:
            journal.close()
            raise
        reader = LogReader(self._server, mode=self._mode, clock=self._clock, progress=progress)
        self._follower = Follower(tail, reader, self._publisher, journal)
        return self._follower

    def _run_aside(self, follower: Follower) -> None:
        try:
            self._run(follower)
        except Exception as error:  # noqa: BLE001 - raised again by stop
            self._error = error
            _log.error("activity: the emitter has stopped (%s)", type(error).__name__)

    def _run(self, follower: Follower) -> None:
        with closing(follower):
            try:
                follower.repeat()
                self._follow(follower)
                follower.finish()
            except (KeyServiceError, SinkError) as error:
                if self._state is None or not self._publisher.stopping.is_set():
                    raise
                _log.warning("activity: %s; what is left is published after the next start", error)

    def _follow(self, follower: Follower) -> None:
        stopping = self._publisher.stopping
        beat_at = time.monotonic()
        while not stopping.is_set():
            is_idle = not follower.read()
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + self._heartbeat_seconds
                follower.beat()
            if is_idle:
                stopping.wait(POLL_SECONDS)
