"""What is around a message: the gzip member and the payload in it, the envelope over it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

__all__ = ["CLUSTER", "KEY", "envelope", "gzip", "payload"]

CLUSTER = "cluster-VECTORS"

KEY = b"what kms made of the data key"
"""The envelope's `key`: the ciphertext of the data key."""


def gzip(data: bytes) -> bytes:
    """A gzip member of stored blocks: the same bytes with every version of every library."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)] or [b""]
    deflated = b"".join(_stored(b, is_last=b is blocks[-1]) for b in blocks)
    trailer = binascii.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated + trailer


def _stored(block: bytes, *, is_last: bool) -> bytes:
    length = len(block)
    return (
        bytes([is_last])
        + length.to_bytes(2, "little")
        + (~length & 0xFFFF).to_bytes(2, "little")
        + block
    )


def payload(entries: Sequence[str], **members: Any) -> bytes:
    """The JSON in a message; entries are JSON text, and members that are None are left out."""
    known = {
        "type": "DatabaseActivityMonitoringRecord",
        "clusterId": CLUSTER,
        "instanceId": "db-VECTORS",
    }
    shown = {name: value for name, value in (known | members).items() if value is not None}
    start = json.dumps(shown, ensure_ascii=False)[:-1]
    return f'{start},"databaseActivityEventList":[{",".join(entries)}]}}'.encode()


def envelope(message: bytes, **members: Any) -> bytes:
    """The data of a record; members that are None are left out."""
    known = {
        "type": "DatabaseActivityMonitoringRecords",
        "version": "1.1",
        "databaseActivityEvents": base64.b64encode(message).decode(),
        "key": base64.b64encode(KEY).decode(),
    }
    shown = {name: value for name, value in (known | members).items() if value is not None}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
