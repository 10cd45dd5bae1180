"""Records to Arrow columns, against `json.loads` and `Table.from_pylist`; needs pyarrow."""

import base64
import json
import random
import zlib
from collections import Counter

import pyarrow as pa
import pyarrow.json
import reference
import workload

from dastream import line
from dastream.line import Head
from dastream.transforms import DEFAULT, apply

READ = pa.json.ReadOptions(use_threads=False, block_size=64 * 1024 * 1024)
TEXTS = (*Head.__struct_fields__[:-2], *workload.entry(random.Random(1)))
NUMBERS = {"statementId", "substatementId", "rowCount", "pid"}


def kind(name):
    if name in NUMBERS:
        return pa.int64()
    return pa.list_(pa.string()) if name == "paramList" else pa.string()


SCHEMA = pa.schema([(name, kind(name)) for name in TEXTS])
PARSE = pa.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")


def by_reference(records):
    """The common way: every entry a dictionary, then all of them a table."""
    rows = []
    for record in records:
        envelope = json.loads(record.data)
        provider = reference.KeyProvider(workload.unwrap(base64.b64decode(envelope["key"])))
        provider.add_master_key("DataKey")
        message = base64.b64decode(envelope["databaseActivityEvents"])
        decrypted, _ = reference.client.decrypt(source=message, key_provider=provider)
        payload = json.loads(zlib.decompress(decrypted, zlib.MAX_WBITS + 16))
        rows += [
            entry
            for entry in payload["databaseActivityEventList"]
            if entry["type"] != "heartbeat" and entry.get("dbUserName") != "rdsadmin"
        ]
    return pa.Table.from_pylist(rows)


def by_lines(records, decode):
    """Delivered lines, read by Arrow's own JSON reader."""
    dropped = Counter()
    lines = [line.text(apply(DEFAULT, decode(record), dropped)) for record in records]
    reader = pa.BufferReader(b"".join(lines))
    return pa.json.read_json(reader, read_options=READ, parse_options=PARSE)
