"""`dastream query`: SQL over a lake."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted, escape
from dastream.cli.show import tell
from dastream.errors import ConfigError
from dastream.storage import open_storage

if TYPE_CHECKING:
    from dastream.lake.database import Database

__all__ = ["command"]

_DAMAGES_SHOWN = 10


@click.command(
    "query",
    epilog="""\b
Examples:
  dastream query 'describe events'
  dastream query --lake /srv/lake "SELECT user, count(*) FROM events GROUP BY ALL"
  dastream query --lake s3://my-bucket/activity --format csv "
    SELECT time, user, statement FROM events
    WHERE day = '2026-11-23' AND command_class = 'DDL' ORDER BY time" > ddl.csv
  dastream query "SELECT error, count(*) FROM dead_letters GROUP BY ALL" """,
)
@click.argument("sql")
@click.option(
    "--lake",
    metavar="URL",
    default=".",
    show_default="this directory",
    help="A directory, file:///DIR or s3://BUCKET/PREFIX.",
)
@click.option(
    "--format",
    "format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="json is a JSON object a line.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file that only you can read, instead of to standard output.",
)
def command(sql: str, lake: str, format: str, output: Path | None) -> int:
    """Ask what was delivered, with a SELECT in DuckDB's SQL.

    The views are `events`, with a column for everything that `dastream search` shows and more,
    and `dead_letters`. SQL can read these and nothing else: no files, no settings, no writing.
    Times are UTC; compare them with UTC.

    Nothing is loaded beforehand: of Parquet files the parts are read that a query needs, and
    JSON lines while it runs. Say `day = '2026-11-23'` or `cluster = 'cluster-…'` wherever you
    can: objects of other days and clusters are not opened then. An event that Firehose delivered
    twice is there once.

    What cannot be read is reported on standard error, and the exit code is then 3. A place
    without delivered events is an error.
    """
    database = _open(lake)
    started = time.monotonic()
    with database, _open_output(output) as file:
        rows = _write(database, sql, format, file)
    for damage in database.damages[:_DAMAGES_SHOWN]:
        tell(f"error: {escape(damage.key)}: {damage.reason}")
    tell(_summary(database, rows, time.monotonic() - started))
    return NOT_CLEAN if database.damages else DONE


def _open(lake: str) -> Database:
    """Raises ConfigError if nothing was delivered there: a typo must not read as "nothing"."""
    try:
        from dastream.lake.database import Database  # noqa: PLC0415 - an extra, and slow to load
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"query: {error.name} is not installed", hint="pip install 'dastream[lake]'"
        ) from None
    database = Database(open_storage(lake))
    catalog = database.catalog
    if catalog.parquet or catalog.lines or catalog.dead_letters:
        return database
    database.close()
    raise ConfigError(
        f"query: no delivered events at {escape(lake)}",
        hint="give the place of delivery or one above it: below it is events/ of a lake, or "
        "YYYY/MM/DD/HH/ of Firehose",
    )


def _write(database: Database, sql: str, format: str, file: IO[bytes]) -> int:
    from dastream.cli import answer  # noqa: PLC0415 - needs the extra

    write = {
        "table": answer.write_table,
        "csv": answer.write_csv,
        "json": answer.write_json,
        "parquet": answer.write_parquet,
    }[format]
    return write(database.ask(sql), file, is_terminal=file.isatty())


@contextmanager
def _open_output(path: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that gets its name when all of it is written."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()  # before the summary, and so that a reader who went away is noticed
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _summary(database: Database, rows: int, seconds: float) -> str:
    catalog = database.catalog
    objects = counted(len(catalog.parquet) + len(catalog.lines), "object")
    parts = [counted(rows, "row"), f"{objects} in the lake", f"{seconds:.2f} s"]
    if database.damages:
        parts.append(counted(len(database.damages), "error"))
    return " · ".join(parts)
