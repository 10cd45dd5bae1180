"""Whatever an entry is, its bytes come out as they went in."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vectors import outer
from vectors.case import ENTRY, Case, good
from vectors.writer import Message

HEARTBEAT = '{"type":"heartbeat"}'

__all__ = ["entries"]


def entries() -> Iterator[Case]:
    """Entries of every shape."""
    for name, why, entries, members in (
        ("none", "an empty list", [], {}),
        ("several", "the index counts heartbeats too", [HEARTBEAT, ENTRY, HEARTBEAT, ENTRY], {}),
        ("empty-object", "an entry without members", ["{}"], {}),
        ("other-types", "entries that are no objects", ["null", "1", '"text"', "[1]", "true"], {}),
        ("spaces", "white space within an entry", ['{ "a" :\t1 , "b": [ ] }'], {}),
        ("escapes", "escapes stay escapes", ['{"a":"\\u00fc\\/\\n\\ud83d\\ude00"}'], {}),
        (
            "numbers",
            "numbers keep their form",
            ['{"a":1.0,"b":1e400,"c":-0,"d":123456789012345678901234567890}'],
            {},
        ),
        ("repeated-member", "a member twice", ['{"a":1,"a":2}'], {}),
        ("control-escaped", "NUL in a statement", ['{"commandText":"a\\u0000b"}'], {}),
        ("long", "a statement of 5,000 characters", [json.dumps({"commandText": "x" * 5000})], {}),
        (
            "ids-missing",
            "neither cluster nor instance",
            [ENTRY],
            {"clusterId": None, "instanceId": None},
        ),
        ("ids-blank", "a blank cluster, as SQL Server has it", [ENTRY], {"clusterId": ""}),
        (
            "member-unknown",
            "AWS adds members",
            [ENTRY],
            {"databaseActivityEventsVersion": [1, {"x": None}]},
        ),
    ):
        plaintext = outer.gzip(outer.payload(entries, **members))
        yield good(f"entry-{name}", why, Message(plaintext=plaintext), entries)
    lone = ['{"commandText":"\\ud800"}']
    plaintext = outer.gzip(outer.payload(lone))
    yield good(
        "entry-lone-surrogate", "half of a pair, as an escape", Message(plaintext=plaintext), lone
    )
