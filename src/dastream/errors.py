"""The errors of dastream: three behaviours, three branches.

::

    DastreamError
    ├─ ConfigError             stop before anything is read
    ├─ RecordError             this record cannot be delivered: dead letter, go on
    │   ├─ DecodeError           it will never decode
    │   │   ├─ EnvelopeError       not the outer JSON that we know
    │   │   ├─ DecryptError        wrong key or context, tampered, unknown suite
    │   │   └─ PayloadError        gunzip, a bound, JSON, shape
    │   └─ TransformError        a transform raised
    └─ ServiceError            the outside failed: retry within limits, commit nothing, stop
        ├─ SourceError
        ├─ KeyServiceError
        └─ SinkError

A message is one lower-case line that names the step that failed. It never holds SQL text,
bind values or key material: an error is printed, logged and kept with dead letters.
"""

from __future__ import annotations

import traceback

import msgspec

__all__ = [
    "ConfigError",
    "DastreamError",
    "DecodeError",
    "DecryptError",
    "EnvelopeError",
    "KeyServiceError",
    "PayloadError",
    "RecordError",
    "ServiceError",
    "SinkError",
    "SourceError",
    "TransformError",
]


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON asked for, or are nested too deep."""


class DastreamError(Exception):
    """Base of all errors that dastream raises on purpose.

    `hint` says in one line what a person can do about it, or is None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(DastreamError):
    """A setting, URL or file is unusable. Nothing has been read yet."""


class RecordError(DastreamError):
    """One record cannot be delivered. It becomes a dead letter and the rest goes on."""


class DecodeError(RecordError):
    """The bytes of a record will never decode."""


class EnvelopeError(DecodeError):
    """The record is not the outer JSON of an activity stream."""


class DecryptError(DecodeError):
    """The message does not open: wrong key or context, tampered, or an unknown suite."""


class PayloadError(DecodeError):
    """The plaintext is no gzip, goes beyond a bound, or is not the JSON we know."""


class TransformError(RecordError):
    """A transform raised. Carries its name and the exception's type, none of its text."""


class ServiceError(DastreamError):
    """Something outside failed. The range is retried; nothing of it has been committed."""


class SourceError(ServiceError):
    """The stream cannot be read. `is_gone` is whether it was deleted, or another one was made."""

    def __init__(self, message: str, *, hint: str | None = None, is_gone: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_gone = is_gone


class KeyServiceError(ServiceError):
    """KMS denied, throttled or did not answer. Never the fault of a record."""


class SinkError(ServiceError):
    """A sink did not take a batch, or holds other records under the batch's name."""


def place(error: Exception) -> str:
    """The type of an exception and where it was raised, but not its text, which may quote SQL."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__} was raised, here:\n{frames}"
