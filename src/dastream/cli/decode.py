"""`dastream decode`: envelopes, a line each, to events, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import click

from dastream import line
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.data_keys import data_keys_option, open_any_unwrap
from dastream.cli.show import JsonView, open_console
from dastream.decode import Decoder
from dastream.errors import ConfigError, EnvelopeError, RecordError
from dastream.keys import Unwrap
from dastream.record import Record
from dastream.settings import Settings

__all__ = ["command"]


@click.command(
    "decode",
    epilog="""\b
Examples:
  dastream decode records.jsonl --resource-id cluster-ABC
  dastream decode --data-keys keys.json < records.jsonl | jq .commandText""",
)
@click.argument("file", type=click.File("rb"), default="-")
@data_keys_option
@click.option("--resource-id", help="Whose stream it is: cluster-… or db-….")
def command(file: IO[bytes], data_keys: IO[bytes] | None, resource_id: str | None) -> int:
    """Decode envelopes, a line each, to events, a line each.

    FILE holds the data of Kinesis records as they are, one a line; `-` is standard input. No
    transform is applied: heartbeats and service users are there. A line that does not decode is
    reported on standard error, and the exit code is 3.
    """
    settings = Settings.from_environment(os.environ, resource_id=resource_id)
    decode = Decoder.from_settings(settings, _unwrap(settings, data_keys))
    view = JsonView(open_console())
    failures = 0
    is_base64 = False
    for number, record in _records(file, settings.envelope_bytes_max + 2):
        try:
            events = decode(record)
        except RecordError as error:
            failures += 1
            is_base64 |= isinstance(error, EnvelopeError)
            click.echo(f"error: line {number}: {type(error).__name__}: {error}", err=True)
            continue
        for event in events:
            view.show(line.write(event))
    if is_base64:
        click.echo(
            "hint: a line is the data of one record as JSON; `aws kinesis get-records` prints it "
            "in base64, which is to be decoded first",
            err=True,
        )
    return NOT_CLEAN if failures else DONE


def _records(file: IO[bytes], line_bytes_max: int) -> Iterator[tuple[int, Record]]:
    """Each line that is not blank; of one that is too long only the start, which is refused."""
    number = 0
    while text := file.readline(line_bytes_max):
        number += 1
        rest = text
        while not rest.endswith(b"\n") and (rest := file.readline(line_bytes_max)):
            pass
        if text.strip():
            yield number, Record(text)


def _unwrap(settings: Settings, data_keys: IO[bytes] | None) -> Unwrap:
    if data_keys is None and settings.resource_id is None:
        raise ConfigError(
            "decode: the resource id is missing",
            hint="give --resource-id cluster-… or db-… for KMS, or --data-keys FILE without KMS",
        )
    return open_any_unwrap(settings, data_keys)
