"""What the tests of search read: delivered lines, and objects of either layout."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import support
from dastream import line
from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.record import BatchName, EventBatch, Position
from dastream.sinks.formats import JSON_LINES, Format
from dastream.sinks.lake import LakeSink
from dastream.storage import FileStorage

MORNING = datetime(2026, 11, 23, 7, 28, 5, tzinfo=UTC)
EVENTS = f"events/cluster={support.CLUSTER}"


def event(number=1, text="SELECT 1", *, at=MORNING, late=timedelta(), raw=None, **members):
    """An event whose statement ran at a moment, and which arrived so much later."""
    time = f"{at:%Y-%m-%d %H:%M:%S.%f}+00"
    members = {"startTime": time, "logTime": time} | members
    entry = support.compact(support.entry(text, **members)) if raw is None else raw
    arrival_ms = round((at + late).timestamp() * 1000)
    position = Position(support.STREAM, support.SHARD, str(number))
    engine = ENGINES["aurora-postgresql"]
    origin = Origin(engine, support.CLUSTER, support.INSTANCE, position, arrival_ms)
    return Event(f"{number:032x}-0", entry, origin)


def mysql_event(number: int, entry: dict) -> Event:
    """An event of Aurora MySQL, which arrived in the morning."""
    position = Position(support.STREAM, support.SHARD, str(number))
    arrival_ms = round(MORNING.timestamp() * 1000)
    engine = ENGINES["aurora-mysql"]
    origin = Origin(engine, support.CLUSTER, support.INSTANCE, position, arrival_ms)
    return Event(f"{number:032x}-0", support.compact(entry), origin)


def deliver(root: Path, *events: Event, format: Format = JSON_LINES) -> None:
    """Put events into a lake, an object for each day and start."""
    sink = LakeSink(FileStorage(root), format)
    by_day: dict[str, list[Event]] = {}
    for item in events:
        by_day.setdefault(line.write(item).split(b'"arrivalTime":"')[1][:10].decode(), []).append(
            item
        )
    for day, held in by_day.items():
        first, last = held[0].origin.position, held[-1].origin.position
        name = BatchName(support.CLUSTER, day, support.SHARD, f"from-{first.sequence}")
        sink.deliver(EventBatch(name, last.sequence, (), "digest", tuple(held), {}, ()))


def put(root: Path, key: str, *members: bytes) -> None:
    """Put an object as Firehose does: one gzip member for each of `members`."""
    write(root, key, b"".join(gzip.compress(member) for member in members))


def write(root: Path, key: str, data: bytes) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def lines(*events: Event) -> bytes:
    return b"".join(line.write(item) + b"\n" for item in events)
