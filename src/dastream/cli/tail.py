"""`dastream tail`: a stream, live."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from urllib.parse import parse_qsl, urlencode

import click

from dastream import line
from dastream.aws.activity_stream import ActivityStreams
from dastream.checkpoint import MemoryCheckpoints
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted, escape
from dastream.cli.run import open_kms_unwrap
from dastream.cli.show import JsonView, PlainView, open_console, tell
from dastream.cli.signals import stop_on_signals
from dastream.cli.table import Table
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import ConfigError
from dastream.event import Event
from dastream.keys import STREAM_PREFIX, owner_of
from dastream.keys import resource_id as stream_owner
from dastream.lake.times import parse_time
from dastream.notice import Notice
from dastream.pipeline import Counters, Pipeline
from dastream.record import BatchName, DeadLetter, EventBatch
from dastream.settings import Settings, split_url
from dastream.sources import BatchLimits, open_source
from dastream.transforms import open_transforms

__all__ = ["command"]

_STARTS = ("trim_horizon", "latest")


@click.command(
    "tail",
    epilog="""\b
Examples:
  dastream tail cluster-ABC
  dastream tail my-cluster
  dastream tail aws-rds-das-db-ABC --start 15m
  dastream tail 'kinesis://aws-rds-das-cluster-ABC?region=eu-central-1' --json | jq .commandText
  dastream tail cluster-ABC --start trim_horizon --limit 1 --all""",
)
@click.argument("stream")
@click.option(
    "--start",
    metavar="WHERE",
    help="latest, trim_horizon (all that the stream still holds), or a time: 15m, 2h, "
    "2026-01-31T23:59:00Z.  [default: latest]",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--all", "show_all", is_flag=True, help="Apply no transforms: heartbeats are shown.")
@click.option("--json", "as_json", is_flag=True, help="Print lines as they would be delivered.")
@click.option("--utc", is_flag=True, help="Show times in UTC, not in the local zone.")
@click.option("--resource-id", metavar="ID", help="Whose stream it is, if its name does not tell.")
def command(
    stream: str,
    start: str | None,
    limit: int | None,
    show_all: bool,
    as_json: bool,
    utc: bool,
    resource_id: str | None,
) -> int:
    """Show the events of a stream as they come. Nothing is stored and no progress is kept.

    STREAM is a stream's name, a resource id (cluster-…, db-…), a URL such as kinesis://NAME, or
    the name or ARN of a cluster or an instance, whose stream RDS tells. On a terminal the view
    is a table; elsewhere it is a line an event, as `dastream search` prints it. A record that
    does not decode is told on standard error, and the exit code is then 3. SIGINT and SIGTERM
    end the view.
    """
    settings = Settings.from_environment(
        os.environ, transforms="" if show_all else None, resource_id=resource_id
    )
    zone = UTC if utc else None
    url = _source_url(stream, start, zone, has_owner=settings.resource_id is not None)
    with closing(open_source(url, limits=BatchLimits(flush_age_seconds_max=0))) as source:
        owner = owner_of(source.stream, settings.resource_id)
        decode = Decoder.from_settings(settings, open_kms_unwrap(settings, url))
        tell(f"{source.stream}: reading {_extent(url)}, ctrl-c ends")
        view = ViewSink(_show(zone, as_json=as_json), limit=limit, on_limit=source.stop)
        transforms = open_transforms(settings.transforms)
        deliver = Deliverer(decode, transforms, [view], resource_id=owner)
        pipeline = Pipeline(source, deliver, MemoryCheckpoints(), holds_back=False)
        with stop_on_signals(pipeline.stop):
            counters = pipeline.run()
    tell(_summary(view.shown, counters))
    return NOT_CLEAN if counters.dead_letters else DONE


def _source_url(stream: str, start: str | None, zone: tzinfo | None, *, has_owner: bool) -> str:
    """The URL of what the user calls a stream, with where to start."""
    start = None if start is None else _start(start.lower(), zone)
    if "://" not in stream:
        stream = f"kinesis://{_stream_name(stream, has_owner=has_owner)}"
    parts = split_url(stream)
    options = dict(parse_qsl(parts.query))
    if start is not None:
        options["start"] = start
    if parts.scheme == "kinesis":
        options.setdefault("start", "latest")
    return parts._replace(query=urlencode(options)).geturl()


def _stream_name(named: str, *, has_owner: bool) -> str:
    """The stream of a cluster or an instance; RDS is asked where neither name nor owner tell."""
    if stream_owner(STREAM_PREFIX + named) is not None:
        return STREAM_PREFIX + named
    if has_owner or stream_owner(named) is not None:
        return named
    try:
        status = ActivityStreams(open_client("rds")).status(named)
    except ConfigError:
        return named  # a stream of another name
    if status.stream is None:
        raise ConfigError(
            f"tail: the activity stream of {escape(named)} is {status.status}",
            hint="dastream stream start starts it",
        )
    return status.stream


def _start(text: str, zone: tzinfo | None) -> str:
    if text in _STARTS:
        return text
    return parse_time(text, now=datetime.now(UTC), zone=zone).isoformat()


def _extent(url: str) -> str:
    """What is read, in words."""
    start = dict(parse_qsl(split_url(url).query)).get("start")
    named = {None: "it", "latest": "what comes from now on", "trim_horizon": "all that it holds"}
    return named.get(start) or f"from {escape(str(start))} on"


def _show(zone: tzinfo | None, *, as_json: bool) -> Callable[[Event], None]:
    """How an event is shown on standard output."""
    console = open_console()
    if as_json:
        lines = JsonView(console)
        return lambda event: lines.show(line.write(event))
    if console.is_terminal:
        return Table(console, zone).show
    return PlainView(console.file, zone).show


class ViewSink:
    """A sink that shows events instead of storing them; dead letters go to standard error.

    `on_limit` is called when `limit` events have been shown, and what comes after is left out.
    """

    def __init__(
        self, show: Callable[[Event], None], *, limit: int | None, on_limit: Callable[[], None]
    ) -> None:
        self.shown = 0
        self._show = show
        self._limit = limit
        self._on_limit = on_limit

    def names(self, resource_id: str, day: str) -> Iterable[BatchName]:
        """Nothing is held."""
        del resource_id, day
        return ()

    def holds(self, resource_id: str) -> bool:
        del resource_id
        return False

    def extent(self, name: BatchName) -> None:
        """Nothing is held."""
        del name

    def notify(self, resource_id: str, notice: Notice) -> None:
        """What has expired or was made anew is no matter to who looks at what comes."""
        del resource_id, notice

    def deliver(self, batch: EventBatch) -> bool:
        """Show a batch, at once also to a reader at the other end of a pipe."""
        left = None if self._limit is None else self._limit - self.shown
        for event in batch.events[:left]:
            self._show(event)
            self.shown += 1
        sys.stdout.flush()
        for letter in batch.dead_letters:
            click.secho(_dead_letter(letter), fg="red", err=True)
        if self.shown == self._limit:
            self._on_limit()
        return True

    def close(self) -> None:
        """Nothing is open."""


def _dead_letter(letter: DeadLetter) -> str:
    record, error = letter
    assert record.position is not None, "a stream's record has a position"
    _, shard, sequence = record.position
    return f"dead letter at {shard} {sequence}: {type(error).__name__}: {escape(str(error))}"


def _summary(shown: int, counters: Counters) -> str:
    """One line; nothing that is zero, but for the events."""
    parts = [f"{counted(shown, 'event')} shown"]
    if letters := counters.dead_letters.total():
        parts.append(counted(letters, "dead letter"))
    if dropped := ", ".join(f"{count:,} by {name}" for name, count in counters.dropped.items()):
        parts.append(f"dropped: {dropped}")
    return " · ".join(parts)
