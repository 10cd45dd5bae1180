"""What is missing on a PostgreSQL server for a faithful activity stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dastream.activity.postgres_log import Mode
from dastream.activity.server_facts import Facts, Setting, ask, quoted
from dastream.activity.server_rules import (
    PGAUDIT_RULES,
    RULES,
    Rule,
    log_destination_rule,
)
from dastream.checks import Check

__all__ = ["Report", "check_server"]

MAJOR_MIN, MAJOR_MAX = 14, 18
"""PostgreSQL versions of which the log is known."""

_SWITCHES = (
    "what a superuser does after SET log_min_messages = panic, and that statement itself",
    "bind values of failed statements, if a user sets log_parameter_max_length_on_error",
)
_UNSEEN: dict[Mode, tuple[str, ...]] = {
    "pgaudit": (
        *_SWITCHES,
        "rowCount counts no COPY, FETCH or DDL",
        "inside functions a bind value that is NULL looks like an empty string",
    ),
    "statements": (
        *_SWITCHES,
        "objectType, objectName and rowCount are null",
        "no statements inside functions, procedures, triggers and DO blocks",
        "a password in the arguments of a function that was made before the emitter ran is kept",
    ),
}


class Report(msgspec.Struct, frozen=True):
    """What a server's activity stream would be: its mode, and what that cannot see."""

    version: str
    mode: Mode
    checks: list[Check]
    unseen: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return all(check.verdict != "missing" for check in self.checks)


def check_server(dsn: str) -> Report:
    """Look at the server behind a libpq connection string or URL; nothing is changed there.

    Raises ConfigError if psycopg is missing or the DSN is none, and ServiceError if the server
    cannot be reached. Neither quotes the DSN.
    """
    facts = ask(dsn)
    mode: Mode = "pgaudit" if facts.is_audited else "statements"
    return Report(facts.version, mode, [*_checks(facts)], _UNSEEN[mode])


def _checks(facts: Facts) -> Iterator[Check]:
    yield _version(facts)
    if "log_directory" not in facts.settings:
        yield Check(
            "privileges",
            "missing",
            f"{facts.user} may not read all settings",
            fix=f"GRANT pg_read_all_settings TO {quoted(facts.user)};",
        )
    destination = facts.settings["log_destination"].value
    rules: tuple[Rule, ...] = (*RULES, log_destination_rule(facts.major, destination))
    yield from _settings(facts, rules)
    yield _pgaudit(facts)
    if facts.has_pgaudit:
        yield from _settings(facts, PGAUDIT_RULES)
        rules = (*rules, *PGAUDIT_RULES)
    yield from _overrides(facts, {rule.name: rule for rule in rules})
    yield _rotation(facts)
    if "log_directory" in facts.settings:
        yield _log_directory(facts)
    yield from _powers(facts, {rule.name for rule in rules})


def _version(facts: Facts) -> Check:
    if facts.major < MAJOR_MIN:
        why = f"PostgreSQL {MAJOR_MIN} is the first whose log can be read"
        return Check("version", "missing", facts.version, why, "upgrade the server")
    if facts.major > MAJOR_MAX:
        return Check("version", "weaker", facts.version, "nobody has looked at this log yet")
    return Check("version", "ok", facts.version)


def _settings(facts: Facts, rules: tuple[Rule, ...]) -> Iterator[Check]:
    for rule in rules:
        setting = facts.settings.get(rule.name)
        if setting is None:
            continue  # of another version, or one that this user may not read
        if rule.is_kept(setting.value):
            yield Check(rule.name, "ok", setting.value)
        else:
            yield Check(rule.name, rule.otherwise, setting.value, rule.why, _fix(rule, setting))


def _fix(rule: Rule, setting: Setting) -> str:
    if setting.is_pending:
        return "restart the server: it has been set, and takes effect then"
    if setting.source == "command line":
        return f"start the server with --{rule.name}={rule.wanted} on its command line"
    is_fixed = setting.context == "postmaster"
    then = "then restart the server" if is_fixed else "SELECT pg_reload_conf();"
    return f"ALTER SYSTEM SET {rule.name} = '{rule.wanted}'; {then}"


def _pgaudit(facts: Facts) -> Check:
    if facts.has_pgaudit:
        return Check("pgaudit", "ok", "preloaded")
    setting = facts.settings.get("shared_preload_libraries")
    loaded = [name for name in (setting.value if setting else "").split(",") if name.strip()]
    libraries = ", ".join(f"'{name.strip()}'" for name in [*loaded, "pgaudit"])
    package = f"install it (Debian: postgresql-{facts.major}-pgaudit)"
    return Check(
        "pgaudit",
        "weaker",
        "not preloaded",
        "no objects, row counts and statements inside functions",
        f"{package}; ALTER SYSTEM SET shared_preload_libraries = {libraries}; "
        "then restart the server and check again",
    )


def _overrides(facts: Facts, rules: dict[str, Rule]) -> Iterator[Check]:
    for override in facts.overrides:
        rule = rules.get(override.name)
        if rule is not None and not rule.is_kept(override.value):
            yield Check(
                rule.name,
                rule.otherwise,
                f"{override.value} for {override.whose}",
                rule.why,
                f"ALTER {override.whose} RESET {rule.name};",
            )


def _rotation(facts: Facts) -> Check:
    age, size = (facts.settings[f"log_rotation_{name}"].value for name in ("age", "size"))
    found = f"every {age} min or {size} kB"
    if age == size == "0":
        why = "one file grows for ever, and cannot be deleted"
        fix = "ALTER SYSTEM SET log_rotation_age = '1d'; SELECT pg_reload_conf();"
        return Check("rotation", "weaker", "never", why, fix)
    return Check("rotation", "ok", found)


def _log_directory(facts: Facts) -> Check:
    directory = Path(facts.settings["log_directory"].value)
    if not directory.is_absolute():
        directory = Path(facts.settings["data_directory"].value) / directory
    try:
        logs = [one for one in directory.iterdir() if one.suffix in (".json", ".csv")]
        is_readable = all(os.access(one, os.R_OK) for one in logs)
    except PermissionError:
        is_readable = False
    except OSError:
        why = "the emitter runs where the log is"
        return Check("log directory", "weaker", f"{directory} is not to be seen from here", why)
    if is_readable:
        return Check("log directory", "ok", f"{directory} can be read from here")
    fix = "ALTER SYSTEM SET log_file_mode = '0640'; and run the emitter in the server's group"
    return Check("log directory", "missing", f"{directory} cannot be read from here", None, fix)


def _powers(facts: Facts, names: set[str]) -> Iterator[Check]:
    """Who else could switch the log off."""
    count = len(facts.superusers)
    fix = f"ALTER ROLE {quoted(facts.superusers[-1])} NOSUPERUSER;" if count > 1 else None
    why = "each of them can switch the log off" if count > 1 else None
    yield Check(
        "superusers", "weaker" if count > 1 else "ok", ", ".join(facts.superusers), why, fix
    )
    for name, role in facts.grants:
        if name in names:
            fix = f"REVOKE ALL ON PARAMETER {name} FROM {role};"
            yield Check(name, "weaker", f"{role} may change it", None, fix)
