"""A lake as SQL sees it, opened for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dastream.cli.cells import escape
from dastream.cli.found import nothing_of_that_time
from dastream.cli.show import tell
from dastream.errors import ConfigError
from dastream.lake.matching import Query
from dastream.lake.search import may_hold
from dastream.storage import open_storage

if TYPE_CHECKING:
    from dastream.lake.catalog import Catalog
    from dastream.lake.database import Database

__all__ = ["open_database", "tell_damages", "why_nothing"]

_DAMAGES_SHOWN = 10


def open_database(command: str, lake: str) -> Database:
    """Raises ConfigError if nothing was delivered there: a typo must not read as "nothing"."""
    try:
        from dastream.lake.database import Database  # noqa: PLC0415 - an extra, and slow to load
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{command}: {error.name} is not installed",
            hint="in a checkout of dastream: pip install '.[lake]'",
        ) from None
    database = Database(open_storage(lake))
    catalog = database.catalog
    if catalog.parquet or catalog.lines or catalog.dead_letters:
        return database
    database.close()
    raise ConfigError(
        f"{command}: no delivered events at {escape(lake)}",
        hint="give the place of delivery or one above it: below it is events/ of a lake, or "
        "YYYY/MM/DD/HH/ of Firehose",
    )


def tell_damages(database: Database) -> None:
    """Tell what could not be read, as far as a person wants to know."""
    for damage in database.damages[:_DAMAGES_SHOWN]:
        tell(f"error: {escape(damage.key)}: {damage.reason}")


def why_nothing(catalog: Catalog, query: Query) -> str:
    """Why an answer is empty: nothing is of that time, or nothing matched."""
    items = (*catalog.parquet, *catalog.lines)
    if any(may_hold(item, query) for item in items):
        return "nothing matched"
    return nothing_of_that_time(
        min((item.from_us for item in items), default=None),
        max((item.until_us for item in items), default=None),
    )
