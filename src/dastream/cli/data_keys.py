"""Where a command takes data keys from: KMS, or a file."""

from __future__ import annotations

from typing import IO

import click
import msgspec

from dastream.clients import open_client
from dastream.errors import ConfigError
from dastream.keys import Unwrap, fixed_unwrap, open_unwrap
from dastream.settings import Settings

__all__ = ["data_keys_option", "open_any_unwrap"]

data_keys_option = click.option(
    "--data-keys",
    type=click.File("rb"),
    help="JSON object from an envelope's key string to the base64 of its data key; no KMS then.",
)


def open_any_unwrap(settings: Settings, data_keys: IO[bytes] | None) -> Unwrap:
    """Unwrap by the file of `data_keys_option` if it was given, else through KMS.

    Raises ConfigError if the file holds anything else.
    """
    if data_keys is None:
        return open_unwrap(settings, open_client("kms"))
    return fixed_unwrap(_data_keys(data_keys.read()))


def _data_keys(text: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(
            "data keys: --data-keys is not a JSON object of strings",
            hint='write {"KEY OF THE ENVELOPE": "BASE64 OF ITS 32-BYTE DATA KEY"}',
        ) from None
