"""The JSON lines of a lake as a table that DuckDB reads while it answers.

DuckDB hands down the columns that a query needs and the conditions that Arrow can express, so
objects are passed over by their folder, and nothing is decoded that nobody asks for. Source for
what it calls: Arrow's documentation, "Extending PyArrow Datasets".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from dastream.event import Event
from dastream.lake.reader import DamageError, DeliveredObject, read_event, read_lines
from dastream.lake.recent_ids import IDS_MAX, RecentIds
from dastream.sinks.table import SCHEMA, table
from dastream.storage import Storage

__all__ = ["CLUSTER", "DAY", "LineTable"]

CLUSTER, DAY = pa.field("cluster", pa.string()), pa.field("day", pa.date32())
"""The columns of an object's place: whose stream it was, and the UTC day of arrival."""

_ROWS = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLUSTER_FOLDER = re.compile(r"(?:^|.*/)cluster=([^/]*)/day=[^/]*/[^/]*")


class LineTable(ds.Dataset):  # type: ignore[misc]
    """All events of some objects of JSON lines, with the columns of a Parquet file.

    Firehose delivers at least once: an event that comes again is left out. What cannot be read
    is told to `on_damage`, by the object's key and the reason, and the rest goes on.
    """

    def __init__(
        self,
        storage: Storage,
        items: Sequence[DeliveredObject],
        on_damage: Callable[[str, str], None],
    ) -> None:
        self._storage = storage
        self._items = {item.key: item for item in sorted(items, key=lambda i: (i.from_us, i.key))}
        self._on_damage = on_damage

    @property
    def schema(self) -> pa.Schema:
        """The columns of a Parquet file, and those of the place."""
        return SCHEMA.append(CLUSTER).append(DAY)

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,
        **_options: Any,
    ) -> ds.Scanner:
        """The rows for which `filter` holds, with these columns, object by object."""
        names = self._needed(columns, filter)
        schema = pa.schema([self.schema.field(name) for name in names])
        batches = self._batches(self._reached(filter), schema)
        return ds.Scanner.from_batches(batches, schema=schema, columns=columns, filter=filter)

    def _needed(self, columns: Sequence[str] | None, filter: pc.Expression | None) -> list[str]:
        """The columns asked for, and those that the text of the filter names."""
        named = set(self.schema.names if columns is None else columns)
        named.update(re.findall(r"\w+", "" if filter is None else str(filter)))
        return [name for name in self.schema.names if name in named]

    def _reached(self, filter: pc.Expression | None) -> list[DeliveredObject]:
        """The objects that may hold rows for which a filter holds; Arrow compares the places."""
        system, format = pyarrow.fs.LocalFileSystem(), ds.ParquetFileFormat()  # neither is used
        places = ds.FileSystemDataset(
            [
                format.make_fragment(key, system, partition_expression=_place(item))
                for key, item in self._items.items()
            ],
            self.schema,
            format,
            system,
        )
        return [self._items[place.path] for place in places.get_fragments(filter=filter)]

    def _batches(
        self, items: Sequence[DeliveredObject], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        ids = RecentIds[str](IDS_MAX)
        for item in items:
            rest = self._events(item)
            while events := list(islice(rest, _ROWS)):
                new = [e for e in events if item.is_delivered_once or ids.add(e.id)]
                yield from _table(item, new, schema).to_batches()

    def _events(self, item: DeliveredObject) -> Iterator[Event]:
        try:
            for number, delivered in read_lines(self._storage, item):
                try:
                    yield read_event(delivered)
                except DamageError as error:
                    self._on_damage(item.key, f"line {number}: {error}")
        except DamageError as error:
            self._on_damage(item.key, str(error))


def _day(item: DeliveredObject) -> pa.Scalar:
    return pa.scalar((_EPOCH + timedelta(microseconds=item.from_us)).date())


def _place(item: DeliveredObject) -> pc.Expression:
    """What holds for all rows of an object."""
    place = pc.field(DAY.name) == _day(item)
    cluster = _CLUSTER_FOLDER.fullmatch(item.key)
    return place & (pc.field(CLUSTER.name) == cluster[1]) if cluster else place


def _table(item: DeliveredObject, events: Sequence[Event], schema: pa.Schema) -> pa.Table:
    """Events of an object with the columns of a schema."""
    rows = table(events, [name for name in schema.names if name in SCHEMA.names])
    if CLUSTER.name in schema.names:
        rows = rows.append_column(CLUSTER, [_clusters(item, events)])
    if DAY.name in schema.names:
        rows = rows.append_column(DAY, [pa.repeat(_day(item), len(events))])
    return rows


def _clusters(item: DeliveredObject, events: Sequence[Event]) -> pa.Array:
    """Whose stream the events are of: by the folder, else (Firehose) by what the record says."""
    if folder := _CLUSTER_FOLDER.fullmatch(item.key):
        return pa.repeat(folder[1], len(events))
    origins = [event.origin for event in events]
    return pa.array([o.cluster_id or o.instance_id for o in origins], pa.string())
