"""How Kinesis says no: the error codes of its API."""

from __future__ import annotations

__all__ = [
    "ExpiredIteratorError",
    "ExpiredNextTokenError",
    "InvalidArgumentError",
    "KinesisError",
    "LimitExceededError",
    "NotValidError",
    "ResourceInUseError",
    "ResourceNotFoundError",
    "SerializationError",
    "ThroughputExceededError",
    "UnknownOperationError",
]


class KinesisError(Exception):
    """A refusal. `code` is what an SDK names its exception by, the message is for people."""

    code = "InternalFailure"


class InvalidArgumentError(KinesisError):
    """A value that is well formed, but cannot be used here."""

    code = "InvalidArgumentException"


class NotValidError(KinesisError):
    """A value outside of what the API's model allows."""

    code = "ValidationException"


class SerializationError(KinesisError):
    """A body that is not the JSON of a request."""

    code = "SerializationException"


class UnknownOperationError(KinesisError):
    """An operation that is not served here."""

    code = "UnknownOperationException"


class ResourceNotFoundError(KinesisError):
    """No such stream or shard."""

    code = "ResourceNotFoundException"


class ResourceInUseError(KinesisError):
    """The name is taken."""

    code = "ResourceInUseException"


class LimitExceededError(KinesisError):
    """More shards than may be, or a change of their number that is too large."""

    code = "LimitExceededException"


class ExpiredIteratorError(KinesisError):
    """An iterator from more than five minutes ago."""

    code = "ExpiredIteratorException"


class ExpiredNextTokenError(KinesisError):
    """A page token from more than five minutes ago."""

    code = "ExpiredNextTokenException"


class ThroughputExceededError(KinesisError):
    """A shard's share of this second is used up."""

    code = "ProvisionedThroughputExceededException"
