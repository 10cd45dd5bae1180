"""The vectors: one thing about each that a reader may get wrong."""

from __future__ import annotations

from collections.abc import Iterator

from vectors.bodies import bodies
from vectors.case import Case
from vectors.entries import entries
from vectors.envelopes import envelopes
from vectors.footers import footers
from vectors.headers import headers
from vectors.keys import encrypted_keys
from vectors.messages import messages
from vectors.payloads import payloads

__all__ = ["Case", "cases"]


def cases() -> Iterator[Case]:
    """All of them, in the order of their groups."""
    yield from envelopes()
    yield from messages()
    yield from headers()
    yield from encrypted_keys()
    yield from bodies()
    yield from footers()
    yield from payloads()
    yield from entries()
