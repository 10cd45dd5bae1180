"""What search, session and stats share: the options that say what to look for, and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import click

from dastream.errors import ConfigError
from dastream.lake.matching import Query
from dastream.lake.times import microseconds, parse_time

__all__ = [
    "cluster_option",
    "format_options",
    "lake_option",
    "named_format",
    "names_options",
    "query",
    "time_options",
    "zone",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NAMES = (
    click.option("--user", metavar="NAME", help="Database user; `*` stands for anything."),
    click.option("--db", "database", metavar="NAME", help="Database."),
    click.option(
        "--command", "command", metavar="NAME", help="Such as SELECT or 'CREATE*'; what ran."
    ),
    click.option("--object", metavar="NAME", help="public.orders; or orders, in any schema."),
    click.option("--text", metavar="TEXT", help="Part of the statement."),
    click.option("--app", "application", metavar="NAME", help="What the client calls itself."),
    click.option("--host", metavar="HOST", help="Address or name of the client."),
    click.option("--failed", is_flag=True, help="Only what failed."),
)
_TIMES = (
    click.option(
        "--since", metavar="TIME", help="2h, 30m, 7d, today, yesterday, a date or a time."
    ),
    click.option("--until", metavar="TIME", help="The same; the time itself is not included."),
    click.option("--utc", is_flag=True, help="Read and show times in UTC, not in the local zone."),
)
_FORMATS = (
    click.option("--json", "as_json", is_flag=True, help="Print the delivered lines as they are."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line."),
)

lake_option = click.option(
    "--lake",
    metavar="URL",
    default=".",
    show_default="this directory",
    help="A directory, file:///DIR or s3://BUCKET/PREFIX.",
)

cluster_option = click.option(
    "--cluster", metavar="ID", help="Resource id: cluster-… of a cluster, db-… of an instance."
)


def names_options(command: _Command) -> _Command:
    """Options for the columns of an event."""
    return _with(_NAMES, command)


def time_options(command: _Command) -> _Command:
    """`--since`, `--until`, `--utc`."""
    return _with(_TIMES, command)


def format_options(command: _Command) -> _Command:
    """`--json` and `--csv`."""
    return _with(_FORMATS, command)


def named_format(*, as_json: bool, as_csv: bool) -> str | None:
    """What was chosen: `json`, `csv`, or None. Raises UsageError for both."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    return "json" if as_json else "csv" if as_csv else None


def _with(options: tuple[Callable[[_Command], _Command], ...], command: _Command) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def zone(*, utc: bool) -> tzinfo | None:
    """The zone to read and to show times in; None is the machine's."""
    return UTC if utc else None


def query(given: Mapping[str, Any], *, since: str | None, until: str | None, utc: bool) -> Query:
    """The query that options make. Raises ConfigError for a time that is none."""
    now = datetime.now(UTC)
    since_us, until_us = (
        None if text is None else microseconds(parse_time(text, now=now, zone=zone(utc=utc)))
        for text in (since, until)
    )
    if since_us is not None and until_us is not None and until_us <= since_us:
        raise ConfigError("time: --until is not after --since", hint="give --since the earlier one")
    return Query(**given, since_us=since_us, until_us=until_us)
