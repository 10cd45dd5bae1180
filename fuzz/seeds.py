"""What the fuzzer starts from beside its corpus: the vectors, layer by layer."""

from __future__ import annotations

import base64
import json

from vectors.cases import cases
from vectors.entries import ENTRY

__all__ = ["seeds"]


def seeds() -> dict[str, bytes]:
    """Inputs of the harness by name."""
    found = {"entry": b"\5\1" + ENTRY.encode()}
    for case in cases():
        found[f"record-{case.name}"] = b"\0" + case.record
        if case.expect != "envelope":
            message = base64.b64decode(json.loads(case.record)["databaseActivityEvents"])
            found[f"message-{case.name}"] = b"\1" + message
        for number, (_, entry) in enumerate(case.events):
            found[f"entry-{case.name}-{number}"] = b"\5\1" + entry.encode()
    return found
