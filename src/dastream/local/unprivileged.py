"""The operating system user that a server of ours runs as: never root, and never `postgres`.

A superuser of the database runs programs as that user (`COPY … FROM PROGRAM`). User `postgres`
owns the machine's own clusters, so a throwaway server must not run as it; `nobody` owns no
files. What else runs as `nobody` can still be signalled, and can read the server's directory.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from dastream.errors import ConfigError

__all__ = ["ENVIRONMENT", "Account", "find_account"]

# Nothing of our own environment: PG… variables would steer a server's programs.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class Account(NamedTuple):
    """Whom a server runs as: another user when we are root, None and None for ourselves."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """The supplementary groups for a program of this user: none of ours."""
        return None if self.uid is None else []

    def give(self, path: Path | int) -> None:
        """Make the user the owner of a directory, or of what is open at a file descriptor.

        Root writes nothing below a directory from then on: the user can put links there.
        """
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the user may run the program, or enter the directory.

        Raises ConfigError if we may not start programs as this user.
        """
        try:
            result = subprocess.run(  # noqa: S603 - no shell, and a path of ours
                ["test", "-x", path],  # noqa: S607 - where test(1) lies differs by system
                check=False,
                env=ENVIRONMENT,
                cwd="/",
                user=self.uid,
                group=self.gid,
                extra_groups=self.groups,
            )
        except PermissionError:
            raise ConfigError(
                f"postgres: this root may not start a program as user {self.name}",
                hint="run as an ordinary user",
            ) from None
        return result.returncode == 0

    def make_directory(self, prefix: str) -> Path:
        """A new temporary directory, 0700, that can be given to the user.

        Raises ConfigError if the user can reach none.
        """
        for parent in dict.fromkeys((tempfile.gettempdir(), *_TEMPORARY)):
            if self.can_reach(Path(parent)):
                return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        raise ConfigError(f"postgres: no temporary directory that user {self.name} can reach")


_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - what is made there is made by mkdtemp


def find_account() -> Account:
    """Ourselves, or `nobody` if we are root. Raises ConfigError if there is no such user."""
    if os.geteuid() != 0:
        return Account("we")
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigError(
            "postgres: does not run as root, and there is no user nobody",
            hint="run as an ordinary user",
        ) from None
    return Account("nobody", nobody.pw_uid, nobody.pw_gid)
