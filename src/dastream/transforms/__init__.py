"""Transforms: event in, event or nothing out.

A transform is any callable `Event -> Event | None`. It sees one event at a time and returns the
event, a changed one (`Event.replace`), or None to drop it. What it drops is counted under the
transform's name.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dastream.errors import ConfigError, TransformError
from dastream.event import Event
from dastream.transforms.filters import is_activity, is_no_service_user

__all__ = ["DEFAULT", "NamedTransform", "Transform", "apply", "open_transforms"]

Transform = Callable[[Event], Event | None]

ENTRY_POINTS = "dastream.transforms"


class NamedTransform(NamedTuple):
    """A transform under the name that its drops are counted by."""

    name: str
    transform: Transform


def _keep_if(predicate: Callable[[Event], bool]) -> Transform:
    return lambda event: event if predicate(event) else None


_BUILT_IN = {
    "heartbeats": _keep_if(is_activity),
    "service-users": _keep_if(is_no_service_user),
}

DEFAULT: Sequence[NamedTransform] = tuple(NamedTransform(*item) for item in _BUILT_IN.items())
"""What `run` and the handlers apply when nothing is said: heartbeats and service users go."""


def open_transforms(names: str) -> Sequence[NamedTransform]:
    """The transforms that a comma-separated list names, in its order.

    A name is `default` (the built-in ones), `heartbeats`, `service-users`, the name of an entry
    point in the group `dastream.transforms`, or `module:function`; `none` stands for no transform
    at all. Raises ConfigError for what cannot be found.
    """
    chain: list[NamedTransform] = []
    for name in (part.strip() for part in names.split(",")):
        if name in ("", "none"):
            continue
        chain += DEFAULT if name == "default" else [NamedTransform(name, _find(name))]
    return tuple(chain)


def _find(name: str) -> Transform:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    try:
        transform = _import(name)
    except Exception as error:
        raise ConfigError(
            f"transforms: {name} cannot be loaded ({type(error).__name__})",
            hint="name a built-in transform, an installed one, or module:function",
        ) from error
    if not callable(transform):
        raise ConfigError(f"transforms: {name} is not callable")
    return transform


def _import(name: str) -> object:
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(importlib.import_module(module), attribute)
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to load, seldom needed

    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        return entry_point.load()
    raise ImportError(name)


def apply(
    transforms: Sequence[NamedTransform], events: Iterable[Event], dropped: Counter[str]
) -> list[Event]:
    """The events that all transforms let through; `dropped` counts the others by name.

    Raises TransformError with the transform's name if one raises, or returns anything else.
    """
    kept: list[Event] = []
    for event in events:
        passed = _pass(transforms, event, dropped)
        if passed is not None:
            kept.append(passed)
    return kept


def _pass(
    transforms: Sequence[NamedTransform], event: Event, dropped: Counter[str]
) -> Event | None:
    for name, transform in transforms:
        try:
            result = transform(event)
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything
            # Its text may quote the event, so only its type is told.
            raise TransformError(f"transform {name}: raised {type(error).__name__}") from None
        if result is None:
            dropped[name] += 1
            return None
        if not isinstance(result, Event):
            kind = type(result).__name__
            raise TransformError(f"transform {name}: returned {kind} instead of an event")
        event = result
    return event
