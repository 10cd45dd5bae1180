"""Keeps what this version writes, for later versions to read: run it when the schema changes.

    python tests/lake/kept/keep.py

A file that is here is never written again.
"""

import sys
from pathlib import Path

KEPT = Path(__file__).parent
sys.path.insert(0, str(KEPT.parents[1]))

from datetime import timedelta  # noqa: E402

import lakes  # noqa: E402
from dastream.event import SCHEMA_VERSION  # noqa: E402
from dastream.record import BatchName, EventBatch  # noqa: E402
from dastream.sinks import formats  # noqa: E402
from dastream.sinks.lake import LakeSink  # noqa: E402
from dastream.testing import MemoryStorage  # noqa: E402


def events():
    """The events of every kept file."""
    return (
        lakes.event(1, "SELECT 'ü' FROM orders", paramList=["a", None], dbUserName="ada"),
        lakes.event(2, "DROP TABLE x", exitCode="42P01", errorMessage="no x", rowCount=None),
        lakes.event(3, None, at=lakes.MORNING + timedelta(hours=1), command="CONNECT", pid=7),
    )


def main():
    for format in (formats.JSON_LINES, formats.PARQUET):
        storage = MemoryStorage()
        name = BatchName("cluster-KEPT", "2026-11-23", "shardId-000000000000", "from-1")
        LakeSink(storage, format).deliver(EventBatch(name, "3", (), "digest", events(), {}, ()))
        [data] = storage.objects.values()
        path = KEPT / f"{SCHEMA_VERSION}.{format.suffix}"
        if not path.exists():
            path.write_bytes(data)


if __name__ == "__main__":
    main()
