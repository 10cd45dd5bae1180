"""Events on standard output, for programs: plain lines, CSV, the delivered JSON lines.

Nothing is cut off and nothing is coloured. The table for people is `dastream.cli.table`.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import tzinfo
from typing import IO, Any

import msgspec
from rich.console import Console

from dastream.cli.cells import cells, escape, event_time
from dastream.event import Event
from dastream.record import iso_time

__all__ = [
    "CSV_COLUMNS",
    "PLAIN_FIELDS",
    "CsvView",
    "JsonView",
    "PlainView",
    "csv_cell",
    "json_line",
    "open_console",
    "tell",
]

PLAIN_FIELDS = (
    "time",
    "user",
    "database",
    "command",
    "object",
    "rows",
    "milliseconds",
    "outcome",
    "reason",
    "statement",
    "params",
)
"""The fields of a plain line, which are separated by tabs."""

CSV_COLUMNS = (
    "time",
    "user",
    "database",
    "command",
    "command_class",
    "is_auxiliary",
    "object_name",
    "object_type",
    "object_schema",
    "object_detail",
    "row_count",
    "duration_us",
    "succeeded",
    "exit_code",
    "error",
    "statement",
    "params",
    "client_application",
    "remote_host",
    "remote_port",
    "session_id",
    "statement_id",
    "substatement_id",
    "statement_part",
    "transaction_id",
    "pid",
    "server_host",
    "engine",
    "cluster_id",
    "instance_id",
    "arrival_time",
    "event_id",
)
"""The columns of the CSV: those of `dastream.event.Columns`, and where an event came from."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for a formula (OWASP, "CSV Injection"), also in full width."""


def open_console() -> Console:
    """Standard output. It shows text as it is: no markup, and no character that it cannot write."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(markup=False, highlight=False, emoji=False)


def tell(text: str) -> None:
    """A line on standard error; a terminal that it does not fit gets it broken between words."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    console.print(text, soft_wrap=not console.is_terminal)


class PlainView:
    """One line an event with `PLAIN_FIELDS`, for `grep`, `cut` and `less -S`."""

    def __init__(self, output: IO[str], zone: tzinfo | None) -> None:
        self._output = output
        self._zone = zone

    def show(self, event: Event) -> None:
        """Write one event."""
        row = cells(event, self._zone)
        fields = (
            row.time.isoformat(timespec="milliseconds") if row.time else "",
            row.user,
            row.database,
            row.command,
            row.object,
            "" if row.rows is None else str(row.rows),
            "" if row.duration_us is None else f"{row.duration_us / 1000:.3f}",
            row.outcome,
            row.reason,
            row.statement,
            row.params,
        )
        self._output.write("\t".join(fields) + "\n")


class JsonView:
    """The delivered lines, as they are."""

    def __init__(self, console: Console) -> None:
        self._is_terminal = console.is_terminal
        self._bytes = sys.stdout.buffer

    def show(self, delivered: bytes) -> None:
        """Write one line."""
        self._bytes.write(json_line(delivered, is_terminal=self._is_terminal) + b"\n")


class CsvView:
    """CSV with a header line; a cell that a spreadsheet would calculate gets an apostrophe."""

    def __init__(self, console: Console, zone: tzinfo | None) -> None:
        self._is_terminal = console.is_terminal
        self._zone = zone
        self._writer = csv.writer(console.file)  # CRLF, as RFC 4180 has it
        self._writer.writerow(CSV_COLUMNS)

    def show(self, event: Event) -> None:
        """Write one event."""
        ours = self._ours(event)
        values = (
            ours[name] if name in ours else getattr(event.columns, name) for name in CSV_COLUMNS
        )
        self._writer.writerow(csv_cell(value, is_terminal=self._is_terminal) for value in values)

    def _ours(self, event: Event) -> dict[str, str | None]:
        origin, params = event.origin, event.columns.params
        time = event_time(event, self._zone)
        return {
            "time": time.isoformat(timespec="microseconds") if time else None,
            "params": msgspec.json.encode(params).decode() if params else None,
            "engine": origin.engine.name,
            "cluster_id": origin.cluster_id,
            "instance_id": origin.instance_id,
            "arrival_time": None if origin.arrival_ms is None else iso_time(origin.arrival_ms),
            "event_id": event.id,
        }


def csv_cell(value: Any, *, is_terminal: bool) -> Any:
    """A value as a cell of CSV: text that a spreadsheet would calculate gets an apostrophe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    if is_terminal:
        value = "\n".join(map(escape, value.split("\n")))
    return "'" + value if value.startswith(_FORMULA_STARTS) else value


def json_line(line: bytes, *, is_terminal: bool) -> bytes:
    """A line of JSON. On a terminal what is not printable is escaped, as JSON escapes it."""
    if not is_terminal:
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line.decode()).encode()
