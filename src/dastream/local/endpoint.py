"""The embedded AWS peer: Kinesis, KMS, S3, DynamoDB and RDS on a loopback port, in this process.

Kinesis is our own (`kinesis`); the others are moto's, mended where they would mislead
(`moto_mends`), with the activity streams that moto does not have (`activity_streams`). There is
no authentication: who can reach the port can do everything.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import boto3
from botocore.config import Config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from dastream.clients import hide_bodies
from dastream.errors import ConfigError
from dastream.local.activity_streams import ActivityStreamControl, ActivityStreamHost
from dastream.local.kinesis import Kinesis
from dastream.local.kinesis.throttle import Throttle
from dastream.local.moto_mends import mend
from dastream.local.moto_state import MotoState
from dastream.local.serving import Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["Endpoint"]

_SERVICES = frozenset({"dynamodb", "kinesis", "kms", "rds", "s3", "sts"})
_READING_METHODS = frozenset({"GET", "HEAD"})
_CREDENTIAL = "dastream-local"  # moto checks no signature, but clients insist on having a key


class Endpoint:
    """An AWS endpoint on 127.0.0.1, running between `start()` and `stop()` or in a `with`.

    `port` 0 takes a free one. `activity_streams` is told when an activity stream starts and
    stops. `directory` keeps streams, records, keys, objects and databases: what was acknowledged
    is there when the next endpoint starts with it, even after SIGKILL. Without one, everything
    goes with the endpoint. `throttle` holds each shard to what Kinesis lets through in a second.

    After `start()`, `url` is the endpoint's URL, and `environment` the variables by which boto3,
    the AWS command line and every other SDK find it. There is one endpoint a process at a time,
    as moto's state belongs to the process, and one a directory. `start()` raises ConfigError for
    a second one, if the port is taken, or if the directory cannot be used.
    """

    account: ClassVar[str] = DEFAULT_ACCOUNT_ID

    _running: ClassVar[Endpoint | None] = None
    _running_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        *,
        port: int = 0,
        region: str = "us-east-1",
        activity_streams: ActivityStreamHost | None = None,
        directory: Path | None = None,
        throttle: bool = False,
    ) -> None:
        self.region = region
        self.url = ""
        self._port = port
        self._host = activity_streams
        self._directory = directory
        self._is_throttled = throttle
        self._parts = ExitStack()
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point an AWS client in another process to this endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": _CREDENTIAL,
            "AWS_SECRET_ACCESS_KEY": _CREDENTIAL,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def client(self, service: str) -> Any:
        """The boto3 client of a service on this endpoint. It is shared, and closed by `stop()`."""
        with self._clients_lock:
            if service not in self._clients:
                hide_bodies()
                make_client: Any = boto3.client  # typed for the literal names of all services
                self._clients[service] = make_client(
                    service,
                    endpoint_url=self.url,
                    region_name=self.region,
                    aws_access_key_id=_CREDENTIAL,
                    aws_secret_access_key=_CREDENTIAL,
                    config=Config(proxies={}, max_pool_connections=32),
                )
            return self._clients[service]

    def start(self) -> None:
        """Read what the directory has, and serve. Raises ConfigError."""
        with ExitStack() as parts:
            self._claim_process()
            parts.callback(self._release_process)
            self._open_state(parts)
            self._serve(parts)
            parts.callback(self._close_clients)
            parts.callback(self._activity_streams.close)
            if self._host is None:
                self.resume_activity_streams()
            self._parts = parts.pop_all()

    def resume_activity_streams(self) -> None:
        """Go on with the activity streams that the directory has, once their host is ready.

        Without a host, `start` has done so. Raises what the host raises when it is to publish.
        """
        if self._moto.holds("rds"):
            from dastream.local.moto_rds import activity_streams  # noqa: PLC0415 - as below

            for resource, stream in activity_streams():
                self._activity_streams.resume(resource, stream)

    def stop(self) -> None:
        """Have the host stop publishing, close every connection, and take the state away."""
        self._parts.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _open_state(self, parts: ExitStack) -> None:
        mend()
        self._moto = MotoState(self._directory and self._directory / "services.sqlite")
        parts.callback(self._moto.close)
        self._kinesis = Kinesis(
            self._directory and self._directory / "kinesis.sqlite",
            account=self.account,
            region=self.region,
            throttle=Throttle() if self._is_throttled else None,
        )
        parts.callback(self._kinesis.close)
        self._activity_streams = ActivityStreamControl(
            self._host, self._kinesis, lambda: self._moto.using("rds")
        )

    def _serve(self, parts: ExitStack) -> None:
        server = self._listen()
        self.url = f"http://127.0.0.1:{server.port}"
        thread = threading.Thread(
            target=server.serve_forever, args=(0.05,), name="endpoint", daemon=True
        )
        thread.start()
        parts.callback(thread.join)
        parts.callback(server.shutdown)

    def _listen(self) -> Server:
        app = DomainDispatcherApplication(self._service_app)
        try:
            return Server(self._port, app)
        except OSError as error:
            raise ConfigError(
                f"local endpoint: cannot listen on port {self._port}: {error.strerror}",
                hint="choose another port, or 0 for a free one",
            ) from None

    def _service_app(self, service: Any) -> Any:
        """The application of one service, made when it is first called."""
        if service not in _SERVICES:
            return _not_served
        if service == "kinesis":
            return self._kinesis
        if service == "rds":
            # Only here: loading moto's RDS takes a second, and often nobody calls it.
            from dastream.local.moto_rds import add_to_rds  # noqa: PLC0415

            add_to_rds(self._activity_streams)
        return partial(self._call_moto, service, create_backend_app(service))

    def _call_moto(
        self,
        service: str,
        app: WSGIApplication,
        environ: dict[str, Any],
        start_response: StartResponse,
    ) -> list[bytes]:
        is_reading = service == "s3" and environ["REQUEST_METHOD"] in _READING_METHODS
        with self._moto.using(service, is_reading=is_reading):
            return [*app(environ, start_response)]

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _claim_process(self) -> None:
        with Endpoint._running_lock:
            if Endpoint._running is not None:
                raise ConfigError(
                    "local endpoint: one runs in this process already",
                    hint="stop it first, or start the second in a process of its own",
                )
            Endpoint._running = self

    def _release_process(self) -> None:
        with Endpoint._running_lock:
            Endpoint._running = None


def _not_served(_environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("501 Not Implemented", [])  # an empty body is the one that any client reads
    return []
