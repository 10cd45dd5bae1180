"""What a PostgreSQL server must be set to, so that its log gives a faithful activity stream.

The settings are those of
https://www.postgresql.org/docs/current/runtime-config-logging.html and
https://github.com/pgaudit/pgaudit#settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dastream.checks import Verdict

__all__ = ["PGAUDIT_RULES", "RULES", "Rule", "log_destination_rule"]


class Rule(NamedTuple):
    """A setting, its best value, what it means to have another, and which values are as good."""

    name: str
    wanted: str
    otherwise: Verdict
    why: str
    accepts: Callable[[str], bool] | None = None

    def is_kept(self, value: str) -> bool:
        """Whether a value is as good as the best."""
        return value == self.wanted if self.accepts is None else self.accepts(value)


def _names(value: str) -> set[str]:
    return {name.strip().strip('"').lower() for name in value.split(",")}


def _logs_logins(value: str) -> bool:
    # Since PostgreSQL 18 it is a list of what is logged.
    return bool(_names(value) & {"on", "true", "yes", "1", "all", "authorization"})


def _logs_errors(value: str) -> bool:
    return value.startswith("debug") or value in ("info", "notice", "warning", "error")


def _is_english(value: str) -> bool:
    language = re.split(r"[_.@]", value, maxsplit=1)[0].lower()
    return language in ("c", "posix", "en", "english")


def _audits_all(value: str) -> bool:
    names = _names(value)
    everything = {"ddl", "function", "misc", "misc_set", "read", "role", "write"}
    excluded = any(name.startswith("-") for name in names)
    return not excluded and ("all" in names or names >= everything)


RULES = (
    Rule("logging_collector", "on", "missing", "there are no log files without it"),
    Rule("log_connections", "on", "missing", "there are no logins without it", _logs_logins),
    Rule("log_disconnections", "on", "missing", "there are no ends of sessions without it"),
    Rule(
        "log_min_duration_statement", "0", "missing", "each statement that succeeds needs its row"
    ),
    Rule(
        "log_statement", "none", "missing", "a statement that it logs has no text when it succeeds"
    ),
    Rule("log_min_messages", "warning", "missing", "errors must be logged", _logs_errors),
    Rule("log_min_error_statement", "error", "missing", "errors need their text", _logs_errors),
    Rule("lc_messages", "C", "missing", "the emitter reads messages in English", _is_english),
    Rule("update_process_title", "on", "missing", "logins that fail are told by it"),
    Rule("log_parameter_max_length", "-1", "weaker", "bind values are cut or not there"),
    Rule(
        "log_parameter_max_length_on_error",
        "-1",
        "weaker",
        "bind values of statements that fail are cut or not there",
    ),
    Rule(
        "log_error_verbosity",
        "default",
        "weaker",
        "bind values and what failed inside are not there",
        lambda value: value != "terse",
    ),
    Rule("log_hostname", "off", "weaker", "entries have names that can change, not addresses"),
    Rule(
        "log_timezone",
        "UTC",
        "weaker",
        "the emitter must be told the zone (--log-timezone)",
        lambda value: value in ("UTC", "GMT", "Etc/UTC", "Etc/GMT", "Zulu", "Universal"),
    ),
    Rule(
        "log_truncate_on_rotation",
        "off",
        "weaker",
        "a file that is used again is lost if it has not been read",
    ),
    Rule(
        "log_replication_commands",
        "on",
        "weaker",
        "a copy of the whole database (pg_basebackup) leaves a login and nothing else",
    ),
)

PGAUDIT_RULES = (
    Rule("pgaudit.log", "all", "weaker", "objects and rows of some classes", _audits_all),
    Rule("pgaudit.log_level", "log", "missing", "its rows must be in the log as they are"),
    Rule("pgaudit.log_statement", "on", "missing", "its rows need their text"),
    Rule("pgaudit.log_statement_once", "off", "missing", "each of its rows needs its text"),
    Rule("pgaudit.log_relation", "on", "weaker", "not every object of a statement is told"),
    Rule("pgaudit.log_rows", "on", "weaker", "rows are not counted"),
    Rule("pgaudit.log_parameter", "on", "weaker", "bind values inside functions are not there"),
    Rule("pgaudit.log_parameter_max_size", "0", "weaker", "long bind values are not there"),
    Rule("pgaudit.log_catalog", "on", "weaker", "objects of the catalogue are not told"),
)


def log_destination_rule(major: int, value: str) -> Rule:
    """The rule for the log's format, which the emitter must be able to read."""
    best = "jsonlog" if major >= 15 else "csvlog"
    wanted = ",".join(dict.fromkeys([*filter(None, value.replace(" ", "").split(",")), best]))
    readable = {"jsonlog", "csvlog"}
    return Rule(
        "log_destination",
        wanted,
        "missing",
        "the emitter reads the JSON and the CSV log",
        lambda value: bool(_names(value) & readable),
    )
