"""Durable progress: through which position each shard of a stream has been delivered.

With it goes what was settled when the stream was first read: which stream of its name it is, and
from when on its records are wanted.
"""

from __future__ import annotations

from importlib import import_module

from dastream.checkpoint.contract import Beginning, Checkpoints
from dastream.checkpoint.memory import MemoryCheckpoints
from dastream.checkpoint.sqlite import SqliteCheckpoints
from dastream.errors import ConfigError
from dastream.settings import split_url

__all__ = [
    "Beginning",
    "Checkpoints",
    "MemoryCheckpoints",
    "SqliteCheckpoints",
    "open_checkpoints",
]

_STORES = {"sqlite": "dastream.checkpoint.sqlite", "dynamodb": "dastream.checkpoint.dynamodb"}


def open_checkpoints(url: str) -> Checkpoints:
    """The store that a URL names: `sqlite:///FILE` or `dynamodb://TABLE`. Raises ConfigError."""
    scheme = split_url(url).scheme
    if scheme not in _STORES:
        raise ConfigError(
            "state: the URL is neither sqlite:///FILE nor dynamodb://TABLE",
            hint="write sqlite:///var/lib/… or dynamodb://TABLE",
        )
    store: Checkpoints = import_module(_STORES[scheme]).open(url)
    return store
