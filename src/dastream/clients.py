"""boto3's clients, and calls of them whose errors are told by one code.

boto3's own environment variables and files (endpoints, region, profile, credentials) apply.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from dastream.errors import ConfigError

__all__ = ["CallError", "call", "hide_bodies", "open_client", "session"]

CONNECT_SECONDS_MAX = 5
READ_SECONDS_MAX = 30
ATTEMPTS_MAX = 6
"""botocore waits between attempts, twice as long each time, with jitter, up to 20 s."""


class CallError(Exception):
    """A call that AWS refused or did not answer, by the service's or botocore's error code.

    Never leaves dastream: the caller knows what the code means and raises from the error tree.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def hint(self) -> str | None:
        """What to do if no service was reached at all, which is the same for all; else None."""
        return _REACH if self.code in _UNREACHABLE else None


_UNREACHABLE = frozenset(
    {
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "ProxyConnectionError",
        "ReadTimeoutError",
        "SSLError",
    }
)
_REACH = (
    "check the region, AWS_ENDPOINT_URL, the proxy and the firewall; a private network needs a way "
    "out or a VPC endpoint for each service"
)


_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
"""Somebody has to give them, or to sign in. Those that an instance or a role gives and could not
renew (CredentialRetrievalError) are not among these: they come again by themselves."""

_LOGGERS_OF_BODIES = ("botocore.endpoint", "botocore.hooks", "botocore.parsers")
"""They log requests and replies whole at debug level: data keys, and the text of events."""


def _is_above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def hide_bodies() -> None:
    """Keep botocore from logging requests and replies whole, whatever its loggers' level is."""
    for name in _LOGGERS_OF_BODIES:
        logging.getLogger(name).addFilter(_is_above_debug)


def open_client(
    service: str,
    *,
    region: str | None = None,
    role_arn: str | None = None,
    attempts_max: int = ATTEMPTS_MAX,
    read_seconds_max: float = READ_SECONDS_MAX,
) -> Any:
    """A client of `service`, in a role if `role_arn` names one that is to be assumed.

    Raises ConfigError without boto3 or a region. Missing credentials show at the first call.
    """
    try:
        from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to load
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError(
            "aws: boto3 is not installed", hint="in a checkout of dastream: pip install '.[aws]'"
        ) from None
    hide_bodies()
    config = Config(
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=read_seconds_max,
        retries={"mode": "standard", "total_max_attempts": attempts_max},
    )
    try:
        # Every other SDK reads AWS_REGION; boto3 by itself reads AWS_DEFAULT_REGION only.
        region = region or os.environ.get("AWS_REGION")
        return session(role_arn).client(service, region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        reason = type(error).__name__
        hint = "check AWS_PROFILE, AWS_ENDPOINT_URL and the files in ~/.aws"
        if reason == "NoRegionError":
            hint = "set AWS_REGION, or ?region= in the URL"
        raise ConfigError(f"aws: no client for {service} ({reason})", hint=hint) from None


@cache
def session(role_arn: str | None) -> Any:
    """The session of all clients in a role, which reads times as they are sent.

    botocore's own reading of a time goes through the local time zone and takes longer than all
    else that it does for a record of GetRecords.
    """
    import boto3  # noqa: PLC0415 - as above
    import botocore.session  # noqa: PLC0415

    core = botocore.session.get_session()
    parsers = core.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_moment)
    if role_arn is not None:
        core.register_component("credential_provider", _InRole(core, role_arn))
    return boto3.Session(botocore_session=core)


class _InRole:
    """Credentials of an assumed role, which botocore renews before they expire."""

    def __init__(self, core: Any, role_arn: str) -> None:
        self._own = core.get_component("credential_provider")
        self._core = core
        self._role_arn = role_arn

    def load_credentials(self) -> Any:
        """Called by botocore when it signs the first request."""
        from botocore.credentials import (  # noqa: PLC0415 - as above
            AssumeRoleCredentialFetcher,
            DeferredRefreshableCredentials,
        )

        fetcher = AssumeRoleCredentialFetcher(
            self._client,
            self._own.load_credentials(),
            self._role_arn,
            extra_args={"RoleSessionName": "dastream"},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    def _client(self, service: str, **how: Any) -> Any:
        region = os.environ.get("AWS_REGION") or self._core.get_config_variable("region")
        return self._core.create_client(service, **{"region_name": region} | how)


def _moment(sent: Any) -> datetime:
    if isinstance(sent, int | float):  # seconds since 1970, in JSON
        return datetime.fromtimestamp(sent, UTC)
    from botocore.utils import parse_timestamp  # noqa: PLC0415 - as above

    moment: datetime = parse_timestamp(sent)
    return moment


def call(operation: Callable[..., Any], **arguments: Any) -> Any:
    """The answer of a client's operation. Raises CallError; ConfigError without credentials."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

    try:
        return operation(**arguments)
    except ClientError as error:
        raise CallError(error.response["Error"]["Code"]) from None
    except BotoCoreError as error:
        reason = type(error).__name__
        if reason in _NO_CREDENTIALS:
            raise ConfigError(
                f"aws: no credentials ({reason})",
                hint="set them as for the aws command: a profile, a role, or AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY",
            ) from None
        raise CallError(reason) from None
