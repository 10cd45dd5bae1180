"""`dastream run`: the consumer, from a stream into a lake."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import parse_qs, quote

import click

from dastream.checkpoint import open_checkpoints
from dastream.cli.app import DONE, NOT_CLEAN
from dastream.cli.config import config_option, given_settings
from dastream.cli.options import state_directory
from dastream.cli.progress import show_progress, tell_notice
from dastream.cli.signals import stop_on_signals
from dastream.clients import open_client
from dastream.delivery import DeliveryPlan
from dastream.keys import CachingUnwrap, open_unwrap, owner_of
from dastream.pipeline import Pipeline
from dastream.settings import Settings, split_url
from dastream.sources import BatchLimits, open_source
from dastream.watch import Watch
from dastream.workers import Worker

__all__ = ["command", "open_kms_unwrap"]

_LIMITS = BatchLimits()


@click.command(
    "run",
    epilog="""\b
Examples:
  dastream run --source kinesis://aws-rds-das-cluster-ABC --sink s3://my-bucket/activity
  dastream run --source kinesis://aws-rds-das-db-ABC --sink file:///srv/lake --once""",
)
@click.option(
    "--source",
    "source_url",
    required=True,
    metavar="URL",
    help="kinesis://NAME[?region=R][&role_arn=ARN][&start=trim_horizon|latest|TIME].",
)
@click.option(
    "--sink",
    "sink_urls",
    required=True,
    multiple=True,
    metavar="URL",
    help="file:///DIR or s3://BUCKET/PREFIX, with ?format=parquet if you like; may be given "
    "several times.",
)
@click.option(
    "--state",
    metavar="URL",
    help="sqlite:///FILE, whose directory is there, or dynamodb://TABLE[?region=R]; by default a "
    "file for this stream and these sinks in ~/.local/state/dastream (or below XDG_STATE_HOME).",
)
@click.option("--once", is_flag=True, help="End when every shard has been read to its tip.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes that decode and deliver; the shards are spread over them.",
)
@click.option(
    "--transforms",
    metavar="NAMES",
    help="Comma-separated transforms; by default DASTREAM_TRANSFORMS, else `default`.",
)
@click.option("--resource-id", metavar="ID", help="Whose stream it is, if its name does not tell.")
@click.option(
    "--flush-bytes-max",
    type=click.IntRange(min=1),
    metavar="BYTES",
    default=_LIMITS.flush_bytes_max,
    show_default=True,
    help="Deliver a batch when its records have this many bytes.",
)
@click.option(
    "--flush-age-seconds-max",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=_LIMITS.flush_age_seconds_max,
    show_default=True,
    help="Deliver a batch when its first record was read this long ago.",
)
@click.option(
    "--read-bytes-max",
    type=click.IntRange(min=1),
    metavar="BYTES",
    default=_LIMITS.read_bytes_max,
    show_default=True,
    help="Deliver the largest batch when the waiting records of all shards take this much memory.",
)
@click.option(
    "--silence-seconds-max",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="Tell of an instance, or a stream, of which nothing arrived for as long, heartbeats "
    "included.",
)
@click.option(
    "--lag-share-max",
    type=click.FloatRange(min=0, max=1, min_open=True),
    metavar="SHARE",
    default=0.5,
    show_default=True,
    help="Tell when the run is further behind than this share of the stream's retention.",
)
@config_option
def command(
    source_url: str,
    sink_urls: tuple[str, ...],
    state: str | None,
    once: bool,
    workers: int,
    transforms: str | None,
    resource_id: str | None,
    flush_bytes_max: int,
    flush_age_seconds_max: float,
    read_bytes_max: int,
    silence_seconds_max: float,
    lag_share_max: float,
) -> int:
    """Read a stream, decode it, and deliver each event once into a lake.

    Progress is kept in --state, so that a run goes on where the last one ended. What cannot be
    decoded is kept as it is under dead-letter/ in the lake, and the exit code is then 3, as it is
    where records had expired before they were read. SIGINT and SIGTERM deliver what has been read
    and end the run as if it were done.
    """
    given = {"transforms": transforms, "resource_id": resource_id}
    settings = Settings.from_environment(os.environ, **given_settings() | given)
    limits = BatchLimits(flush_bytes_max, flush_age_seconds_max, read_bytes_max)
    with ExitStack() as parts:
        source = parts.enter_context(closing(open_source(source_url, once=once, limits=limits)))
        owner = owner_of(source.stream, settings.resource_id)
        plan = DeliveryPlan(settings, sink_urls, owner, **_place(source_url))
        deliver = parts.enter_context(closing(plan.open()))
        checkpoints = open_checkpoints(state or _default_state(source.stream, sink_urls))
        parts.enter_context(closing(checkpoints))
        processes = [
            parts.enter_context(closing(Worker(plan.open)))
            for _ in range(workers if workers > 1 else 0)
        ]
        pipeline = Pipeline(source, deliver, checkpoints, workers=processes, tell=tell_notice)
        watch = Watch(
            silence_ms_max=silence_seconds_max * 1000,
            lag_share_max=lag_share_max,
            delivery_ms=flush_age_seconds_max * 1000,
        )
        with stop_on_signals(pipeline.stop), show_progress(pipeline, source, watch):
            counters = pipeline.run()
    return NOT_CLEAN if counters.dead_letters or counters.gaps else DONE


def open_kms_unwrap(settings: Settings, source_url: str) -> CachingUnwrap:
    """Unwrap through KMS where the source is."""
    return open_unwrap(settings, open_client("kms", **_place(source_url)))


def _place(source_url: str) -> dict[str, Any]:
    """The region and the role of a source, if its URL has them: its key has the same."""
    options = parse_qs(split_url(source_url).query)
    return {name: options[name][-1] for name in ("region", "role_arn") if name in options}


def _default_state(stream: str, sink_urls: Sequence[str]) -> str:
    """Progress of a stream into these sinks: to other sinks nothing of it has been delivered."""
    sinks = hashlib.sha256("\n".join(sorted(sink_urls)).encode()).hexdigest()[:8]
    return f"sqlite://{quote(str(state_directory()))}/{stream}-{sinks}.sqlite"
