"""Records of every kind that a stream may hold, and what must come of each.

They are sealed once, as AWS's SDK takes milliseconds for each. What must come of them is told
without a line of the code under test: ids from the bytes of the message, entries as they were.
"""

import base64
import json
from typing import NamedTuple

from support import HEARTBEAT, entry, sealed

EACH = 24
"""Different records of each kind."""


class Fed(NamedTuple):
    """A record's data, and what must come of it under each setting of the transforms.

    `events` are pairs of id and entry; a record that is a dead letter has None there. One that
    is `moody` may be a dead letter just as well.
    """

    data: bytes
    events: dict[str, list[tuple[str, dict]] | None]
    is_moody: bool = False


class Feed:
    """Gives records under some data keys, each a pair of the key in plaintext and its ciphertext.

    `poison` is a ciphertext that KMS refuses, `moody` one that it refuses now and then.
    """

    def __init__(self, keys, poison, moody=None):
        self._keys = keys
        self._poison = poison
        self._moody = moody
        self._made = {}
        self._kinds = [self.activity] * 3 + [self._mixed, self._heartbeat]
        self._kinds += [self._garbage, self._poisoned, self._tampered]
        self._kinds += [self._refused_at_times] if moody else []

    def draw(self, chance):
        """A record by chance. The same one may be drawn twice, as a producer may send it twice."""
        kind, number = chance.randrange(len(self._kinds)), chance.randrange(EACH)
        if (kind, number) not in self._made:
            self._made[kind, number] = self._kinds[kind](number)
        return self._made[kind, number]

    def seal(self, entries, number, kept=None):
        """A record of entries; those at the places `kept` are there under the default transforms.

        The number says under which key.
        """
        return self._fed(self._sealed(entries, number), entries, kept)

    def _fed(self, data, entries, kept=None):
        message = base64.b64decode(json.loads(data)["databaseActivityEvents"])
        id = message[4:20].hex()  # after version, type and suite of a message of version 1
        events = [(f"{id}-{index}", one) for index, one in enumerate(entries)]
        return Fed(
            data, {"none": events, "default": events if kept is None else [events[n] for n in kept]}
        )

    def _sealed(self, entries, number):
        data_key, key = self._keys[number % len(self._keys)]
        return sealed(entries, data_key=data_key, key=key)

    def activity(self, number):
        entries = [entry(f"SELECT {number}, {n}") for n in range(1 + number % 3)]
        return self.seal(entries, number)

    def _mixed(self, number):
        entries = [HEARTBEAT, entry(f"UPDATE {number}"), entry("SELECT 1", dbUserName="rdsadmin")]
        return self.seal(entries, number, [1])

    def _heartbeat(self, number):
        return self.seal([HEARTBEAT], number, [])

    def _garbage(self, number):
        return _dead(b"\xff no envelope %d" % number)

    def _poisoned(self, number):
        return _dead(sealed([entry(f"DELETE {number}")], key=self._poison))

    def _refused_at_times(self, number):
        data_key, key = self._moody
        data = sealed([entry(f"CALL {number}")], data_key=data_key, key=key)
        return self._fed(data, [entry(f"CALL {number}")])._replace(is_moody=True)

    def _tampered(self, number):
        envelope = json.loads(self._sealed([entry(f"DROP {number}")], number))
        message = bytearray(base64.b64decode(envelope["databaseActivityEvents"]))
        message[-20] ^= 1
        envelope["databaseActivityEvents"] = base64.b64encode(message).decode()
        return _dead(json.dumps(envelope).encode())


def _dead(data):
    return Fed(data, {"none": None, "default": None})
