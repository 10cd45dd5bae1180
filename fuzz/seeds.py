"""What the fuzzer starts from beside its corpus: the vectors, and the words of the format."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from vectors.cases import cases

from dastream.format.engines import TABLES
from dastream.line import Head
from fuzz.harness import ENTRY, MESSAGE, RECORD

__all__ = ["seeds", "words"]

_WORDS = (
    *("type", "version", "databaseActivityEvents", "key", "DatabaseActivityMonitoringRecords"),
    *("DatabaseActivityMonitoringRecord", "databaseActivityEventList", "clusterId", "instanceId"),
    *("heartbeat", "record", "MAIN", "AUX", "LOGIN FAILED", "rdsadmin", "RDSADMIN"),
    *("PostgreSQL", "MySQL", "Oracle", "SQLSERVER", "engineNativeAuditFields"),
    *("2026-11-23 07:28:04.920564+00", "2026-11-23 07:28:04.9205647", "2026-11-23T07:28:04Z"),
    *(r"\\u00fc", r"\\ud800", r"\\ud83d\\ude00", r"\\u0000", r"\\u0065ntry", "entry.eventId"),
    *("null", "true", "1e400", "-0", "00", "[[", "{}", "NaN"),
    *("aws-crypto-public-key", "BC", "DataKey", r"\x1f\x8b\x08"),
)


def words() -> str:
    """A dictionary of libFuzzer's: words that random bytes would not hit upon."""
    members = {member.name for table in TABLES.values() for member in table.members.values()}
    found = {*_WORDS, *members, *Head.__struct_fields__}
    return "".join(f'"{word}"\n' for word in sorted(found))


def seeds() -> Iterator[bytes]:
    """The vectors as inputs of the harness, layer by layer."""
    for case in cases():
        yield RECORD + case.record
        if case.expect != "envelope":
            envelope = json.loads(case.record)
            yield MESSAGE + base64.b64decode(envelope["databaseActivityEvents"])
        for version in range(6):
            for _, entry in case.events:
                yield ENTRY + bytes([version]) + entry.encode()
