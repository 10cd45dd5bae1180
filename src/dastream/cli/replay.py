"""`dastream replay`: dead letters through decode again, into a lake."""

from __future__ import annotations

import os
from contextlib import closing
from functools import cache
from typing import IO

import click
import msgspec
from rich.console import Console

from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.cells import counted, escape
from dastream.cli.data_keys import data_keys_option, open_any_unwrap
from dastream.cli.show import tell
from dastream.decode import Decoder
from dastream.keys import encryption_context
from dastream.lake.replay import Replay, Report
from dastream.settings import Settings
from dastream.sinks import open_sink, require_entries
from dastream.transforms import open_transforms

__all__ = ["command"]


@click.command(
    "replay",
    epilog="""\b
Examples:
  dastream replay s3://my-bucket/activity --sink s3://my-bucket/activity
  dastream replay s3://my-bucket/firehose --sink file:///srv/lake --resource-id cluster-ABC
  dastream replay letters.jsonl.gz --sink file:///srv/lake --data-keys keys.json --json""",
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("--sink", "sink_url", required=True, metavar="URL", help="file:///DIR or s3://….")
@click.option(
    "--resource-id",
    metavar="ID",
    help="Whose letters they are (cluster-… or db-…) where they do not tell, as Firehose's.",
)
@data_keys_option
@click.option(
    "--transforms",
    metavar="NAMES",
    help="Comma-separated transforms; by default DASTREAM_TRANSFORMS, else `default`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    urls: tuple[str, ...],
    sink_url: str,
    resource_id: str | None,
    data_keys: IO[bytes] | None,
    transforms: str | None,
    as_json: bool,
) -> int:
    """Decode dead letters again, and deliver what decodes now.

    A URL is a place (file://, s3:// or a path) with dead-letter/, Firehose's processing-failed/
    or Lambda's aws/lambda/ below it, or one object. A replay that is run again, or that ended
    half way, delivers only what is not there yet. Letters stay where they are. Those that still
    do not decode are counted, and the exit code is then 3.
    """
    settings = Settings.from_environment(os.environ, transforms=transforms, resource_id=resource_id)
    if settings.resource_id is not None:
        encryption_context(settings.resource_id)
    unwrap = open_any_unwrap(settings, data_keys)

    @cache
    def decoder_of(owner: str) -> Decoder:
        return Decoder.from_settings(msgspec.structs.replace(settings, resource_id=owner), unwrap)

    with closing(open_sink(sink_url)) as sink:
        require_entries([sink])
        replay = Replay(
            decoder_of,
            open_transforms(settings.transforms),
            sink,
            given=settings.resource_id,
            on_damage=_tell_damage,
        )
        with Console(stderr=True).status(_Progress(replay.report)):
            for url in urls:
                replay(url)
    click.echo(_json(replay.report) if as_json else _text(replay.report))
    return DONE if replay.report.is_clean else NOT_CLEAN


class _Progress:
    """What a waiting person sees; rendered anew with each turn of the spinner."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __rich__(self) -> str:
        report = self._report
        return f"{report.objects:,} objects, {report.letters:,} letters, {report.events:,} events"


def _tell_damage(key: str, reason: str) -> None:
    tell(f"error: {escape(key)}: {reason}")


def _json(report: Report) -> bytes:
    return msgspec.json.encode(report)


def _text(report: Report) -> str:
    """What became of the letters, a line each, and nothing that is zero."""
    events = counted(report.events, "event")
    dropped = f", {report.dropped.total():,} dropped" if report.dropped else ""
    lines = [
        f"{counted(report.letters, 'letter')} in {counted(report.objects, 'object')}",
        f"  delivered      {report.records:,} ({events}{dropped})",
    ]
    if report.held:
        lines.append(f"  held already   {report.held:,}")
    if report.copies:
        lines.append(f"  left out       {report.copies:,} as copies")
    if report.undeliverable:
        lines.append(f"  undeliverable  {report.undeliverable.total():,}")
    for name, count in report.undeliverable.most_common():
        lines.append(f"    {name:<14} {count:,}, such as: {report.reasons[name]}")
    return "\n".join(lines)
