"""What was fed into a stream, what lies in the lakes, and whether that is the same."""

import base64
import json
import zlib
from collections import defaultdict

from dastream.record import is_reached
from dastream.sinks import jsonl
from dastream.testing import MemoryStorage
from support import CLUSTER, INSTANCE

GZIP = zlib.MAX_WBITS | 16
OURS = ("eventId", "clusterId", "instanceId", "shardId", "sequenceNumber", "arrivalTime", "engine")


class Lake(MemoryStorage):
    """A storage that reads every object as it is put, as a reader would."""

    def __init__(self):
        super().__init__()
        self.events = defaultdict(list)
        self.dead_letters = defaultdict(list)

    def put_if_absent(self, key, data):
        is_first = super().put_if_absent(key, data)
        if is_first:
            self._read(key, data)
        return is_first

    def _read(self, key, data):
        lines = [json.loads(line) for line in zlib.decompress(data, GZIP).splitlines()]
        receipt = jsonl.receipt(data)
        assert f"/cluster={CLUSTER}/day=" in key
        if key.startswith("dead-letter/"):
            assert len(lines) == receipt.dead_letters > 0
            for line in lines:
                place = (line["shardId"], int(line["sequenceNumber"]))
                self.dead_letters[place].append(base64.b64decode(line["data"]))
        else:
            assert len(lines) == receipt.events > 0
            for line in lines:
                self._read_event(line)

    def _read_event(self, line):
        ours = {name: line.pop(name) for name in OURS}
        assert (ours["clusterId"], ours["instanceId"]) == (CLUSTER, INSTANCE)
        place = (ours["shardId"], int(ours["sequenceNumber"]))
        self.events[place].append((ours["eventId"], line))


class Ledger:
    """Every record that was fed, by shard and sequence number.

    `transforms` are the names of those that were ever set: where a setting changed while a batch
    was delivered again, what comes of a record is told by one of them.
    """

    def __init__(self, lakes):
        self.lakes = lakes
        self.transforms = set()
        self.trimmed = set()
        self._fed = {}
        self._through = {}

    def feed(self, place, fed):
        self._fed[place] = fed

    def trim(self, shard, sequence):
        """Retention took a record: it may be there, if it was delivered before."""
        self.trimmed.add((shard, sequence))

    def assert_delivered(self, shard, through):
        """All that a checkpoint has passed is in every lake, and it never goes back."""
        assert is_reached(self._through.get(shard, "0"), by=through)
        self._through[shard] = through
        for place, fed in self._fed.items():
            if place[0] == shard and is_reached(str(place[1]), by=through):
                self._assert_in_all_lakes(place, fed)

    def assert_everything(self):
        """Every record was delivered once, or is a dead letter once, and nothing else is there."""
        for place, fed in self._fed.items():
            self._assert_in_all_lakes(place, fed)
        for lake in self.lakes:
            assert lake.events.keys() | lake.dead_letters.keys() <= self._fed.keys()

    def _assert_in_all_lakes(self, place, fed):
        for lake in self.lakes:
            found = lake.events.get(place, []), lake.dead_letters.get(place, [])
            if place in self.trimmed and found == ([], []):
                continue
            allowed = [_outcome(fed, name) for name in sorted(self.transforms)]
            assert found in allowed, f"{place}: {_short(found)}, not one of {_short(allowed)}"


def _outcome(fed, transforms):
    events = fed.events[transforms]
    return ([], [fed.data]) if events is None else (events, [])


def _short(found):
    return str(found).replace(" ", "")[:400]
