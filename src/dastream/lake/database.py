"""SQL over a lake: DuckDB with the views `events` and `dead_letters`, which only reads.

Nothing is loaded beforehand. Parquet files are read in the parts that a query needs
(`dastream.lake.files`), JSON lines while it runs (`dastream.lake.lines`); conditions on `day`
and `cluster` are compared with the names of the objects, and those that cannot match are not
opened. So a query over a day of a lake of years costs what that day costs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import duckdb
import pyarrow as pa

from dastream.errors import ServiceError
from dastream.lake import views
from dastream.lake.catalog import Catalog, read_catalog
from dastream.lake.database_errors import as_ours
from dastream.lake.dead_letters import DeadLetterTable
from dastream.lake.files import SCHEME, LakeFiles
from dastream.lake.guard import check
from dastream.lake.lines import LineTable
from dastream.storage import Storage, StoredObject

__all__ = ["Answer", "Damage", "Database"]

MEMORY_BYTES_MAX = 2 << 30
"""What DuckDB may use; what does not fit goes into a directory of 0700, which goes with it."""

SPILLED_BYTES_MAX = 32 << 30
"""How much that may be."""

_ROWS = 4096
_INTERRUPTED = "Query interrupted"
"""What DuckDB says in a RuntimeError when SIGINT ends a query."""

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": f"{MEMORY_BYTES_MAX}B",
    "max_temp_directory_size": f"{SPILLED_BYTES_MAX}B",
}
_LOCKS = f"""
    SET TimeZone = 'UTC';
    SET parquet_metadata_cache = true;
    SET allowed_directories = ['{SCHEME}'];
    SET enable_external_access = false;
    SET lock_configuration = true;
"""


class Answer(NamedTuple):
    """Rows as Arrow batches, read as they are iterated over; errors are those of `ask`."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Damage(NamedTuple):
    """What could not be read of an object of JSON lines, and why."""

    key: str
    reason: str


class Database:
    """DuckDB over one listing of a lake; a context manager.

    `catalog` is that listing, so every query sees the lake as it was then. `damages` grows while
    JSON lines are read. One answer at a time: read it to its end, or let it go, before the next.
    """

    def __init__(self, storage: Storage) -> None:
        self.damages: list[Damage] = []
        self._storage = _WatchedStorage(storage)
        self.catalog: Catalog = read_catalog(self._storage)
        self._parts = ExitStack()
        spilled = self._parts.enter_context(tempfile.TemporaryDirectory(prefix="dastream-"))
        self._connection = duckdb.connect(config={**_SETTINGS, "temp_directory": spilled})
        self._parts.callback(self._connection.close)
        # Where Python is interactive, DuckDB would draw a bar on standard output.
        self._connection.execute("SET enable_progress_bar = false")
        self._define_views()
        self._connection.execute(_LOCKS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything, and remove what a query wrote for itself."""
        self._parts.close()

    def ask(self, sql: str) -> Answer:
        """The answer to SQL from outside: one query over the views and nothing else.

        Raises ConfigError for SQL that is none or fails on its data, and ServiceError if the
        storage fails, an object is damaged, or the answer takes more memory than there may be.
        """
        check(self._connection, sql, frozenset(views.NAMES))
        return self.read(sql)

    def read(self, sql: str, parameters: Any = None) -> Answer:
        """The answer to SQL of one's own, with values for its parameters. Raises the same."""
        with self._errors_as_ours():
            reader = self._connection.sql(sql, params=parameters).to_arrow_reader(_ROWS)
        return Answer(reader.schema, self._batches(reader))

    def _define_views(self) -> None:
        self._connection.register_filesystem(LakeFiles(self._storage, self.catalog.parquet))
        lines = LineTable(self._storage, self.catalog.lines, self._note)
        self._connection.register(views.LINES, lines)
        letters = DeadLetterTable(self._storage, self.catalog.dead_letters, self._note)
        self._connection.register(views.DEAD_LETTER_LINES, letters)
        self._connection.execute(views.events(self.catalog))
        self._connection.execute(views.DEAD_LETTERS)

    def _note(self, key: str, reason: str) -> None:
        self.damages.append(Damage(key, reason))

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with self._errors_as_ours():
            yield from reader

    @contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        """DuckDB tells an error of the storage as text only, so that is looked up."""
        try:
            yield
        except (pa.ArrowException, OSError, duckdb.Error) as error:
            raise self._storage.failure or as_ours(error) from None
        except RuntimeError as error:
            if str(error) != _INTERRUPTED:
                raise
            raise KeyboardInterrupt from None


class _WatchedStorage:
    """A storage whose first failure is kept, and whose objects are all there."""

    def __init__(self, storage: Storage) -> None:
        self.url = storage.url
        self.failure: ServiceError | None = None
        self._storage = storage

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Refused: who asks only reads."""
        raise PermissionError(f"{len(data)} bytes for {key}: the lake is only read")

    def get(self, key: str, bytes_max: int | None = None, *, start: int = 0) -> bytes | None:
        try:
            data = self._storage.get(key, bytes_max, start=start)
        except ServiceError as error:
            self.failure = self.failure or error
            raise
        if data is None:
            hint = "objects of a lake are never removed while somebody asks: look who does"
            self.failure = ServiceError(f"lake: {key} is gone since it was listed", hint=hint)
            raise self.failure
        return data

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return self._storage.list(prefix)
