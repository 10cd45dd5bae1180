"""Records of every kind that a stream may hold, and what must come of each.

They are sealed once, as AWS's SDK takes milliseconds for each. What must come of them is told
without a line of the code under test: ids from the bytes of the message, entries as they were.
"""

import base64
import json
from functools import cache
from typing import NamedTuple

from dastream.errors import DecryptError
from support import DATA_KEY, HEARTBEAT, WRAPPED_KEY, entry, sealed

KEYS = tuple(WRAPPED_KEY + b"%d" % number for number in range(3))
POISON_KEY = WRAPPED_KEY + b" of somebody else"

EACH = 24
"""Different records of each kind."""


class Fed(NamedTuple):
    """A record's data, and what must come of it under each setting of the transforms.

    `events` are pairs of id and entry; a record that is a dead letter has None there.
    """

    data: bytes
    events: dict[str, list[tuple[str, dict]] | None]


def _sealed(entries, kept, number):
    data = sealed(entries, key=KEYS[number % len(KEYS)])
    message = base64.b64decode(json.loads(data)["databaseActivityEvents"])
    id = message[4:20].hex()  # after version, type and suite of a message of version 1
    events = [(f"{id}-{index}", one) for index, one in enumerate(entries)]
    return Fed(data, {"none": events, "default": [events[index] for index in kept]})


def _activity(number):
    entries = [entry(f"SELECT {number}, {n}") for n in range(1 + number % 3)]
    return _sealed(entries, range(len(entries)), number)


def _mixed(number):
    entries = [HEARTBEAT, entry(f"UPDATE {number}"), entry("SELECT 1", dbUserName="rdsadmin")]
    return _sealed(entries, [1], number)


def _heartbeat(number):
    return _sealed([HEARTBEAT], [], number)


def _dead(data):
    return Fed(data, {"none": None, "default": None})


def _garbage(number):
    return _dead(b"\xff no envelope %d" % number)


def _poison(number):
    return _dead(sealed([entry(f"DELETE {number}")], key=POISON_KEY))


def _tampered(number):
    envelope = json.loads(_activity(number).data)
    message = bytearray(base64.b64decode(envelope["databaseActivityEvents"]))
    message[-20] ^= 1
    envelope["databaseActivityEvents"] = base64.b64encode(message).decode()
    return _dead(json.dumps(envelope).encode())


_KINDS = (_activity, _activity, _activity, _mixed, _heartbeat, _garbage, _poison, _tampered)


@cache
def _record(kind, number):
    return _KINDS[kind](number)


def draw(chance):
    """A record by chance. The same one may be drawn twice, as a producer may send it twice."""
    return _record(chance.randrange(len(_KINDS)), chance.randrange(EACH))


def unwrap(key, _context):
    """What KMS would say."""
    if key == POISON_KEY:
        raise DecryptError("data key: kms refused it")
    assert key in KEYS
    return DATA_KEY
