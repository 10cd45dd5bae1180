"""What a PostgreSQL server says about its log and who may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dastream.activity.redact import redact_message
from dastream.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    import psycopg

__all__ = ["Facts", "Override", "Setting", "ask", "quoted"]

CONNECT_SECONDS_MAX = 10

_SETTINGS = "SELECT name, setting, context, source, pending_restart FROM pg_settings"
_OVERRIDES = """
    SELECT d.datname, r.rolname, unnest(s.setconfig)
    FROM pg_db_role_setting s
    LEFT JOIN pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    ORDER BY 1, 2, 3"""
_SUPERUSERS = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY 1"
_GRANTS = """
    SELECT p.parname, g.grantee::regrole::text
    FROM pg_parameter_acl p, aclexplode(p.paracl) g
    WHERE g.grantee <> 0 AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = g.grantee)
    ORDER BY 1, 2"""


class Setting(NamedTuple):
    """A row of pg_settings."""

    name: str
    value: str
    context: str
    source: str
    is_pending: bool


class Override(NamedTuple):
    """A setting of a role, a database, or both, that goes before the server's."""

    database: str | None
    role: str | None
    name: str
    value: str

    @property
    def whose(self) -> str:
        """Whose it is, in the words of ALTER."""
        role = f"ROLE {quoted(self.role)}" if self.role else "ROLE ALL"
        return f"{role} IN DATABASE {quoted(self.database)}" if self.database else role


class Facts(NamedTuple):
    """What the server says of itself."""

    version: str
    settings: dict[str, Setting]
    overrides: list[Override]
    superusers: list[str]
    grants: list[tuple[str, str]]
    user: str

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.settings["server_version_num"].value) // 10000

    @property
    def has_pgaudit(self) -> bool:
        """Whether pgaudit is loaded."""
        return "pgaudit.log" in self.settings

    @property
    def is_audited(self) -> bool:
        """Whether pgaudit writes anything."""
        return self.has_pgaudit and self.settings["pgaudit.log"].value not in ("", "none")


def ask(dsn: str) -> Facts:
    """Read the facts from the server behind a libpq connection string or URL.

    Raises ConfigError if psycopg is missing or the DSN is none, and ServiceError if the server
    cannot be reached. Neither quotes the DSN.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra, and needed for this only
    except ModuleNotFoundError:
        raise ConfigError(
            "check: psycopg is not installed", hint="pip install 'psycopg[binary]'"
        ) from None
    try:
        target = psycopg.conninfo.make_conninfo(dsn, connect_timeout=CONNECT_SECONDS_MAX)
    except psycopg.Error:
        # libpq quotes what it does not understand, and that may be the password.
        raise ConfigError(
            "check: the DSN is neither a connection URL nor a connection string",
            hint="postgresql://USER@HOST:PORT/DATABASE, the password in PGPASSWORD or ~/.pgpass",
        ) from None
    try:
        with psycopg.connect(target) as connection:
            return _facts(connection)
    except psycopg.Error as error:
        secret = psycopg.conninfo.conninfo_to_dict(target).get("password")
        raise ServiceError(f"check: no answer from the server: {_words(error, secret)}") from None


def _words(error: psycopg.Error, secret: object) -> str:
    words = " ".join(str(error).split())
    if secret is not None and str(secret) in words:
        return error.sqlstate or type(error).__name__
    return redact_message(words)


def _facts(connection: psycopg.Connection) -> Facts:
    settings = {row[0]: Setting(*row) for row in connection.execute(_SETTINGS)}
    overrides = [
        Override(database, role, *setting.split("=", 1))
        for database, role, setting in connection.execute(_OVERRIDES)
    ]
    has_grants = connection.info.server_version >= 150000
    return Facts(
        version=settings["server_version"].value.split()[0],
        settings=settings,
        overrides=overrides,
        superusers=[row[0] for row in connection.execute(_SUPERUSERS)],
        grants=[(row[0], row[1]) for row in connection.execute(_GRANTS)] if has_grants else [],
        user=connection.info.user,
    )


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'
