"""Statistics as one JSON object, for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any

import msgspec

from dastream.cli.cells import moment
from dastream.cli.show import json_line, open_console
from dastream.lake.ranking import Usage
from dastream.lake.references import references
from dastream.lake.stats import KINDS, Slow, Stats

__all__ = ["show_json"]


def show_json(stats: Stats, limit: int, zone: tzinfo | None) -> None:
    """One JSON object; times are ISO 8601, durations microseconds."""
    console = open_console()
    kinds = {kind: list(_named_usages(getattr(stats, kind).most(limit), zone)) for kind in KINDS}
    answer = {
        "total": _usage(stats.total, zone),
        **kinds,
        "hours": [
            {"hour": hour} | _usage(usage, zone) for hour, usage in sorted(stats.hours.all())
        ],
        "shapes": [
            {"engine": engine, "shape": shape}
            | references(shape, engine)._asdict()
            | _usage(usage, zone)
            for (engine, shape), usage in stats.shapes.most(limit)
        ],
        "failures": [
            {"user": user, "command": command, "exit_code": code} | _usage(usage, zone)
            for (user, command, code), usage in stats.failures.most(limit, "failed")
        ],
        "slowest": [_slow(slow, zone) for slow in stats.slowest],
        "new": [
            {"kind": kind, "name": name} | _usage(usage, zone) for kind, name, usage in stats.newest
        ],
    }
    line = msgspec.json.encode(answer)
    sys.stdout.buffer.write(json_line(line, is_terminal=console.is_terminal) + b"\n")


def _named_usages(
    named: Iterable[tuple[str | None, Usage]], zone: tzinfo | None
) -> Iterator[dict[str, Any]]:
    for name, usage in named:
        yield {"name": name} | _usage(usage, zone)


def _usage(usage: Usage, zone: tzinfo | None) -> dict[str, Any]:
    values = usage._asdict()
    first, last = values.pop("first_us"), values.pop("last_us")
    return values | {"first_seen": _iso(first, zone), "last_seen": _iso(last, zone)}


def _iso(time_us: int | None, zone: tzinfo | None) -> str | None:
    time = moment(time_us, zone)
    return time.isoformat(timespec="microseconds") if time else None


def _slow(slow: Slow, zone: tzinfo | None) -> dict[str, Any]:
    values = slow._asdict()
    return {"time": _iso(values.pop("time_us"), zone)} | values
