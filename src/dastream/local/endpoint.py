"""The embedded AWS peer: Kinesis, KMS, S3 and RDS on a loopback port, in this process.

The services are moto's, mended where they would mislead (`moto_mends`), with the activity
streams that moto does not have (`activity_streams`). State is in memory and goes with the
endpoint. There is no authentication: who can reach the port can do everything.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Self

import boto3
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from dastream.clients import hide_bodies
from dastream.errors import ConfigError
from dastream.local.activity_streams import ActivityStreamControl, ActivityStreamHost
from dastream.local.moto_mends import mend
from dastream.local.serving import Server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

__all__ = ["Endpoint"]

_SERVICES = frozenset({"kinesis", "kms", "rds", "s3"})
_CREDENTIAL = "dastream-local"  # moto checks no signature, but clients insist on having a key


class Endpoint:
    """An AWS endpoint on 127.0.0.1, running between `start()` and `stop()` or in a `with`.

    `port` 0 takes a free one. `activity_streams` is told when an activity stream starts and
    stops. After `start()`, `url` is the endpoint's URL, and `environment` the variables by
    which boto3, the AWS command line and every other SDK find it.

    moto's state belongs to the process, so there is one endpoint a process at a time, and each
    starts empty. `start()` raises ConfigError for a second one, or if the port is taken.
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
    ) -> None:
        self.region = region
        self.url = ""
        self._port = port
        self._host = activity_streams
        self._lock = threading.Lock()
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
        """Start empty and serve. Raises ConfigError."""
        self._claim_process()
        try:
            mend()
            _forget_everything()
            self._server = self._listen()
        except BaseException:
            self._release_process()
            raise
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._activity_streams = ActivityStreamControl(self._host, self._lock)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the activity streams that run, close every connection, and forget everything."""
        if Endpoint._running is not self:
            return
        self._activity_streams.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._server.shutdown()
        self._thread.join()
        _forget_everything()
        self._release_process()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _listen(self) -> Server:
        app = DomainDispatcherApplication(self._service_app)
        try:
            return Server(self._port, app, self._lock)
        except OSError as error:
            raise ConfigError(
                f"local endpoint: cannot listen on port {self._port}: {error.strerror}",
                hint="choose another port, or 0 for a free one",
            ) from None

    def _service_app(self, service: Any) -> Any:
        """The application of one service, made when it is first called."""
        if service not in _SERVICES:
            return _not_served
        if service == "rds":
            # Only here: loading moto's RDS takes a second, and often nobody calls it.
            from dastream.local.moto_rds import add_to_rds  # noqa: PLC0415

            add_to_rds(self._activity_streams)
        return create_backend_app(service)

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


def _forget_everything() -> None:
    BackendDict.reset()
    reset_model_data()
