"""The whole system on this machine: database, activity stream, and both ways of delivery.

::

    PostgreSQL ─log─▶ Emitter ─▶ Kinesis ─┬─▶ Firehose ─▶ handler ─▶ s3://dastream/firehose/
                                          └─▶ Consumer ────────────▶ s3://dastream/lake/

The parts are the real ones; only AWS is an endpoint on loopback. To RDS's API the server is the
Aurora cluster `local`, and its activity stream is started and stopped like any other.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from dastream.activity.emitter import Emitter
from dastream.aws import firehose
from dastream.aws.activity_stream import ActivityStreams, Status
from dastream.checkpoint import Checkpoints, MemoryCheckpoints, SqliteCheckpoints
from dastream.local.activity_streams import ActivityStream
from dastream.local.consumer import Consumer
from dastream.local.endpoint import Endpoint
from dastream.local.firehose import DeliveryStream
from dastream.local.postgres import Flavour, PostgresServer
from dastream.settings import Settings
from dastream.sinks.lake import LakeSink
from dastream.sources import BatchLimits
from dastream.storage import S3Storage

__all__ = ["BUCKET", "CLUSTER", "KEY_ALIAS", "LocalSystem"]

_log = logging.getLogger(__name__)

BUCKET = "dastream"
CLUSTER = "local"
INSTANCE = "local-1"
KEY_ALIAS = "alias/dastream"

LAMBDA_BUFFER_BYTES_MAX = 64 * 1024
"""Records that go to the handler at once: SQL in JSON compresses so well that a MiB of them may
decode to more than a Lambda function can return."""

_POLL_SECONDS = 0.1


class LocalSystem:
    """Runs between `start` and `stop`, or inside a `with` block.

    `directory` keeps the endpoint's state from one time to the next: streams, keys, objects,
    the cluster; without it all is in memory. PostgreSQL itself is new each time. `port` is the
    endpoint's, 0 takes a free one. `suite` is the algorithm suite of the messages.
    `delivery_seconds` is how long delivery waits for more before it writes.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int = 0,
        flavour: Flavour | None = None,
        suite: int = 0x0178,
        delivery_seconds: float = 2.0,
    ) -> None:
        self.server = PostgresServer(flavour=flavour)
        self._host = _Host(self.server, directory, suite, delivery_seconds)
        self.endpoint = Endpoint(port=port, activity_streams=self._host, directory=directory)
        self._parts = ExitStack()

    def start(self) -> None:
        """Start the server and the endpoint; make key, bucket and cluster unless they are there.

        An activity stream that was started when the directory was left goes on.
        """
        with ExitStack() as parts:
            parts.enter_context(self.server)
            parts.enter_context(self.endpoint)
            self._host.endpoint = self.endpoint
            self._host.instance_id = self._make_resources()
            self.endpoint.resume_activity_streams()
            self._parts = parts.pop_all()

    def stop(self) -> None:
        """Deliver what is left, and take everything down."""
        self._parts.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start_activity_stream(self) -> Status:
        """Start it through RDS's API unless it is, and wait until it is started."""
        streams = self._activity_streams()
        if streams.status(CLUSTER).status == "stopped":
            streams.start(CLUSTER, kms_key_id=KEY_ALIAS, mode="async", apply_immediately=True)
        return streams.wait(CLUSTER, "started")

    def pause(self) -> None:
        """Deliver all that has happened, and publish no more; to RDS the stream stays started."""
        self._host.pause()
        self._host.raise_error()

    def stop_activity_stream(self) -> Status:
        """Stop it if it is started, and wait until all that was published is delivered."""
        streams = self._activity_streams()
        if streams.status(CLUSTER).status == "started":
            streams.stop(CLUSTER, apply_immediately=True)
        status = streams.wait(CLUSTER, "stopped")
        self._host.raise_error()
        return status

    def storage(self, prefix: str) -> S3Storage:
        """What was delivered below `prefix`: `firehose` or `lake`."""
        return S3Storage(self.endpoint.client("s3"), BUCKET, prefix)

    def _activity_streams(self) -> ActivityStreams:
        return ActivityStreams(self.endpoint.client("rds"), poll_seconds=_POLL_SECONDS)

    def _make_resources(self) -> str:
        """Key, bucket, cluster and instance, whichever is missing; the instance's resource id."""
        if not self._holds("kms", "list_aliases", "Aliases", AliasName=KEY_ALIAS):
            kms = self.endpoint.client("kms")
            key = kms.create_key(Description="activity streams")["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=key)
        if not self._holds("s3", "list_buckets", "Buckets", Name=BUCKET):
            self.endpoint.client("s3").create_bucket(Bucket=BUCKET)
        rds = self.endpoint.client("rds")
        if not self._holds(
            "rds", "describe_db_clusters", "DBClusters", DBClusterIdentifier=CLUSTER
        ):
            rds.create_db_cluster(
                DBClusterIdentifier=CLUSTER,
                Engine="aurora-postgresql",
                MasterUsername=self.server.superuser,
                MasterUserPassword=secrets.token_urlsafe(),  # nobody asks for it
            )
            rds.create_db_instance(
                DBInstanceIdentifier=INSTANCE,
                DBClusterIdentifier=CLUSTER,
                DBInstanceClass="db.r6g.large",
                Engine="aurora-postgresql",
            )
        (instance,) = rds.describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"]
        resource_id: str = instance["DbiResourceId"]
        return resource_id

    def _holds(self, service: str, operation: str, items: str, **member: str) -> bool:
        """Whether the endpoint lists an item with this member."""
        answer = getattr(self.endpoint.client(service), operation)()
        return any(member.items() <= item.items() for item in answer[items])


class _Host:
    """Publishes and delivers the server's activity while its activity stream is started."""

    def __init__(
        self, server: PostgresServer, directory: Path | None, suite: int, delivery_seconds: float
    ) -> None:
        self.endpoint: Endpoint | None = None
        self._directory = directory
        self._suite = suite
        self.instance_id = ""
        self._server = server
        self._delivery_seconds = delivery_seconds
        self._parts = ExitStack()
        self._error: Exception | None = None

    def start(self, stream: ActivityStream) -> None:
        """Start all parts, the emitter last, so that nothing waits unread."""
        self._error = None
        with ExitStack() as parts:
            for part in (self._consumer(stream), self._delivery(stream), self._emitter(stream)):
                part.start()
                parts.callback(part.stop)
            self._parts = parts.pop_all()

    def stop(self, stream: ActivityStream) -> None:
        """Stop the emitter first; the others then deliver what is left."""
        del stream
        self.pause()

    def pause(self) -> None:
        """What `stop` does, for whoever goes on later. Twice is as good as once."""
        try:
            self._parts.close()
        except Exception as error:
            self._error = error
            raise

    def raise_error(self) -> None:
        """Raise what broke a part, if anything did."""
        if self._error is not None:
            raise self._error

    def _emitter(self, stream: ActivityStream) -> Emitter:
        return Emitter(
            self._server.log_directory,
            stream=stream.stream,
            resource_id=stream.resource_id,
            instance_id=self.instance_id,
            kms_key_id=stream.kms_key_arn,
            kinesis=self._client("kinesis"),
            kms=self._client("kms"),
            mode=self._server.mode,
            suite=self._suite,
            server_version=self._server.version,
            server_host=self._server.host,
        )

    def _delivery(self, stream: ActivityStream) -> DeliveryStream:
        return DeliveryStream(
            "dastream",
            source=stream.stream,
            handler=self._handler,
            bucket=BUCKET,
            prefix="firehose/",
            error_prefix="firehose/processing-failed/",
            kinesis=self._client("kinesis"),
            s3=self._client("s3"),
            lambda_buffer_bytes_max=LAMBDA_BUFFER_BYTES_MAX,
            lambda_buffer_seconds_max=self._delivery_seconds / 2,
            buffer_seconds_max=self._delivery_seconds,
            compression="GZIP",
            checkpoints=self._checkpoints("firehose", stream.stream),
        )

    def _consumer(self, stream: ActivityStream) -> Consumer:
        return Consumer(
            stream.stream,
            stream.resource_id,
            LakeSink(S3Storage(self._client("s3"), BUCKET, "lake")),
            kinesis=self._client("kinesis"),
            kms=self._client("kms"),
            checkpoints=self._checkpoints("consumer", stream.stream),
            settings=Settings(),
            limits=BatchLimits(flush_age_seconds_max=self._delivery_seconds),
        )

    def _checkpoints(self, reader: str, stream: str) -> Checkpoints:
        """Progress as durable as the stream, and only of this one: names are taken again."""
        if self._directory is None:
            return MemoryCheckpoints()
        answer = self._client("kinesis").describe_stream_summary(StreamName=stream)
        created = answer["StreamDescriptionSummary"]["StreamCreationTimestamp"]
        return SqliteCheckpoints(self._directory / f"{reader}-{created.timestamp():.0f}.sqlite")

    @cached_property
    def _handler(self) -> Callable[[dict[str, Any], object], dict[str, Any]]:
        """The Lambda function, kept warm as Lambda does. Its log goes to ours."""
        transform = firehose.open_handler(
            Settings(), self._client("kms"), log=lambda line: _log.info("handler: %s", line)
        )

        def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
            del context
            return transform(event)

        return handler

    def _client(self, service: str) -> Any:
        assert self.endpoint is not None, "the endpoint tells of streams, so it is there"
        return self.endpoint.client(service)
