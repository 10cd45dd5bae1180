"""Transforms: event in, event or nothing out.

A transform is any callable `Event -> Event | None`. It sees one event at a time and returns the
event, a changed one (`Event.replace`), or None to drop it. What it drops is counted under the
transform's name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import NamedTuple

import msgspec

from dastream import surrogates
from dastream.errors import NOT_JSON, ConfigError, TransformError
from dastream.event import Event, Members, Origin
from dastream.format.members import check_utf8
from dastream.transforms.filters import Filter, activity, no_service_users

__all__ = ["DEFAULT", "NamedTransform", "Transform", "apply", "open_transforms"]

Transform = Callable[[Event], Event | None]

ENTRY_POINTS = "dastream.transforms"


_decode_object = msgspec.json.Decoder(Members).decode


class NamedTransform(NamedTuple):
    """A transform under the name that its drops are counted by."""

    name: str
    transform: Transform


_BUILT_IN: Mapping[str, Transform] = {
    "heartbeats": Filter(activity),
    "service-users": Filter(no_service_users),
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
    except (Exception, SystemExit) as error:
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
    transforms: Sequence[NamedTransform], events: Sequence[Event], dropped: dict[str, int]
) -> list[Event]:
    """The events that all transforms let through; the others are added to `dropped`, by name.

    Each transform gets all events that the one before it let through. Raises TransformError with
    the transform's name if one raises, exits, or returns anything else, or an event whose entry
    is not the bytes of a JSON object; nothing is counted then.
    """
    left = list(events)
    counts: dict[str, int] = {}
    for name, transform in transforms:
        before = len(left)
        left = _passed(name, transform, left)
        if len(left) != before:
            counts[name] = counts.get(name, 0) + before - len(left)
    for name, count in counts.items():
        dropped[name] = dropped.get(name, 0) + count
    return left


def _passed(name: str, transform: Transform, events: list[Event]) -> list[Event]:
    try:
        if isinstance(transform, Filter):
            return transform.keep(events)
        results = [transform(event) for event in events]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything, also to exit
        # Its text may quote the event, so only its type is told.
        raise TransformError(f"transform {name}: raised {type(error).__name__}") from None
    if all(map(is_, results, events)):
        return events
    return [
        event if result is event else _checked(name, result)
        for event, result in zip(events, results, strict=True)
        if result is not None
    ]


def _checked(name: str, result: object) -> Event:
    """An event that a transform made, without anything that may be left of another entry."""
    if not isinstance(result, Event):
        kind = type(result).__name__
        raise TransformError(f"transform {name}: returned {kind} instead of an event")
    if not _is_whole(result):
        raise TransformError(
            f"transform {name}: returned an event that is not one",
            hint="its entry has to be the bytes of a JSON object; see Event.replace",
        )
    return Event(result.id, result.entry, result.origin)


def _is_whole(event: Event) -> bool:
    if not (isinstance(event.id, str) and isinstance(event.origin, Origin)):
        return False
    if not isinstance(event.entry, bytes):
        return False
    try:
        check_utf8(event.entry)
        surrogates.decode(_decode_object, event.entry)
    except NOT_JSON:
        return False
    return True
