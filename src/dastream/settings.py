"""The settings that every way of running shares, and their environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from dastream.errors import ConfigError

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "split_url"]

ENVIRONMENT_PREFIX = "DASTREAM_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each setting is the variable `DASTREAM_` plus its name in capitals.

    The handlers take all of them from the environment; the command line has options beside.
    """

    resource_id: str | None = None
    """Cluster or instance (`cluster-…`, `db-…`) where the stream's name does not tell."""
    sink: str | None = None
    """Where the Kinesis handler delivers: `s3://BUCKET/PREFIX`. The command line has `--sink`."""
    transforms: str = "default"
    """Transforms in their order, comma-separated: names or `module:function`."""
    kms_key_id: str | None = None
    """The only KMS key that may unwrap data keys; unset, the one that wrapped them."""
    key_cache_keys_max: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Data keys in the cache."""
    key_cache_age_seconds_max: Annotated[float, msgspec.Meta(ge=0)] = 300
    """Seconds that a data key stays in the cache."""
    envelope_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 16 * 1024 * 1024
    """Bytes of a record; a longer one is a dead letter. Kinesis takes no more than 10 MiB."""
    more_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024
    """Bytes of unknown members of an envelope or a payload; with more it is a dead letter."""
    encrypted_keys_max: Annotated[int, msgspec.Meta(ge=1)] = 64
    """Encrypted data keys in a message; more are a dead letter. Activity streams write one."""
    payload_bytes_max: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    """Bytes of a decompressed payload; a larger one is a dead letter."""
    values_max: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    """JSON values in a payload, by the commas between them; more are a dead letter."""
    entries_max: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    """Entries in a payload; more are a dead letter."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **given: Any) -> Settings:
        """Settings from `DASTREAM_…` variables; what is `given` and not None goes before.

        Raises ConfigError for a value of the wrong type. Unknown variables are left alone.
        """
        names = cls.__struct_fields__
        found = {
            name: environment[variable]
            for name in names
            if environment.get(variable := ENVIRONMENT_PREFIX + name.upper())
        }
        found |= {name: value for name, value in given.items() if value is not None}
        try:
            return msgspec.convert(found, cls, strict=False)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$.")
            variable = ENVIRONMENT_PREFIX + place.rstrip("`").upper()
            raise ConfigError(
                f"settings: {variable}: {reason}", hint="docs/settings.md has every setting"
            ) from None


def split_url(url: str) -> SplitResult:
    """The parts of a URL from a user. Raises ConfigError for one that has none."""
    try:
        return urlsplit(url)
    except ValueError:
        raise ConfigError("settings: a URL is malformed", hint="brackets are for hosts") from None
