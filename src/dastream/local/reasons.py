"""What may be logged of an exception."""

from __future__ import annotations

from dastream.errors import DastreamError

__all__ = ["reason"]


def reason(error: BaseException) -> str:
    """Our own errors say nothing but what failed; the text of any other may hold data."""
    return str(error) if isinstance(error, DastreamError) else type(error).__name__
