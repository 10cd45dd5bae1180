"""What was fed into a stream, what lies in the lakes, and whether that is the same."""

import base64
import json
import zlib
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq

from dastream.record import is_reached
from dastream.sinks import jsonl, parquet
from support import CLUSTER, INSTANCE

GZIP = zlib.MAX_WBITS | 16
OURS = {
    "eventId": "event_id",
    "clusterId": "cluster_id",
    "instanceId": "instance_id",
    "shardId": "shard_id",
    "sequenceNumber": "sequence_number",
    "arrivalTime": "arrival_time",
    "engine": "engine",
}
"""Our members of a line, and the columns of a file that tell the same."""


class Found:
    """What a reader of a lake finds, by shard and sequence number of the record it came from.

    `events` are pairs of id and entry, `dead_letters` the bytes of records. `notices` are what
    people must know.
    """

    def __init__(self):
        self.events = defaultdict(list)
        self.dead_letters = defaultdict(list)
        self.notices = []
        self._batches = {}

    @classmethod
    def of(cls, storage):
        found = cls()
        for item in storage.list():
            found.read(item.key, storage.get(item.key))
        return found

    def read(self, key, data):
        """An object, which has to be whole and what its receipt says."""
        kind, _, place = key.partition("/")
        if key.startswith("_dastream/notices/"):
            self.notices.append(json.loads(data))
            return
        assert place.startswith(f"cluster={CLUSTER}/day=")
        if kind == "dead-letter":
            self._read_letters(data)
        else:
            assert kind == "events"
            self._read_events(key, _rows(data) if key.endswith(".parquet") else _lines(data))

    def _read_letters(self, data):
        lines = [json.loads(line) for line in zlib.decompress(data, GZIP).splitlines()]
        assert len(lines) == jsonl.receipt(data).dead_letters > 0
        for line in lines:
            self.dead_letters[_place(line)].append(base64.b64decode(line["data"]))

    def _read_events(self, key, events):
        """Of a batch that is there in both formats, every event counts once."""
        batch = self._batches.setdefault(key.partition(".")[0], set())
        others = [event for event in events if event[0]["eventId"] not in batch]
        batch.update(ours["eventId"] for ours, _ in events)
        for ours, entry in others:
            assert (ours["clusterId"], ours["instanceId"]) == (CLUSTER, INSTANCE)
            self.events[_place(ours)].append((ours["eventId"], entry))
            self.events[_place(ours)].sort(key=_index)

    def tells_gap(self, place):
        """Whether a notice says that the record may be lost."""
        shard, sequence = place
        return any(
            notice["shardId"] == shard
            and int(notice["afterSequenceNumber"]) < sequence
            and not is_reached(notice["untilSequenceNumber"], by=str(sequence))
            for notice in self.notices
            if notice["notice"] == "gap"
        )

    def tells_gap_at_start(self, shard, firsts):
        """Whether a notice says that the first records of a shard may be lost."""
        return any(
            notice["shardId"] == shard and int(notice["afterSequenceNumber"]) in firsts
            for notice in self.notices
            if notice["notice"] == "gap"
        )


class Ledger:
    """Every record that was fed, by shard and sequence number.

    `transforms` are the names of those that were ever set: where a setting changed while a batch
    was delivered again, what comes of a record is told by one of them.
    """

    def __init__(self, transforms=()):
        self.transforms = set(transforms)
        self._fed = {}
        self._arrivals_ms = {}
        self._wanted_ms = 0
        self._excuses = {}
        self._through = {}

    def feed(self, place, fed, arrival_ms=0):
        self._fed[place] = fed
        self._arrivals_ms[place] = arrival_ms
        self._excuse_unwanted(place)

    def excuse(self, place):
        """A record may be missing. It is not there in part or twice."""
        self._excuses[place] = lambda found: True

    def excuse_if(self, place, is_told):
        """A record may be missing where `is_told` of what is found says so."""
        self._excuses.setdefault(place, is_told)

    def excuse_all(self):
        """What was fed so far may be missing."""
        for place in self._fed:
            self.excuse(place)

    def begin(self, wanted_ms, *, is_first=True):
        """Checkpoints are made anew.

        At first nobody asks for what came before some time, or for what has expired already.
        """
        self._through.clear()
        for place in self._excuses if is_first else ():
            self.excuse(place)
        self._wanted_ms = wanted_ms if is_first else min(wanted_ms, self._wanted_ms)
        for place in self._fed:
            self._excuse_unwanted(place)

    def _excuse_unwanted(self, place):
        if self._arrivals_ms[place] < self._wanted_ms:
            self.excuse(place)

    def commit(self, shard, through, lakes):
        """A checkpoint never goes back, and all that it has passed is in every lake."""
        assert is_reached(self._through.get(shard, "0"), by=through)
        self._through[shard] = through
        for place, fed in self._fed.items():
            if place[0] == shard and is_reached(str(place[1]), by=through):
                for found in lakes:
                    self._assert_there(found, place, fed)

    def has_passed(self, place):
        """Whether a checkpoint tells that a record, or what came after it, has been seen to."""
        shard, sequence = place
        return shard in self._through and is_reached(str(sequence), by=self._through[shard])

    def assert_everything(self, found):
        """Every record was delivered once, or is a dead letter once, and nothing else is there."""
        for place, fed in self._fed.items():
            self._assert_there(found, place, fed)
        assert found.events.keys() | found.dead_letters.keys() <= self._fed.keys()

    def _assert_there(self, found, place, fed):
        there = found.events.get(place, []), found.dead_letters.get(place, [])
        allowed = [_outcome(fed, name) for name in sorted(self.transforms)]
        allowed += [([], [fed.data])] if fed.is_moody else []
        if there == ([], []) and place in self._excuses and there not in allowed:
            assert self._excuses[place](found), f"{place} is missing, and nothing tells of it"
            return
        assert there in allowed, f"{place}: {_short(there)}, not one of {_short(allowed)}"


def _lines(data):
    """The events of an object of JSON lines: our members, and the entry."""
    lines = [json.loads(line) for line in zlib.decompress(data, GZIP).splitlines()]
    assert len(lines) == jsonl.receipt(data).events
    return [({name: line.pop(name) for name in OURS}, line) for line in lines]


def _rows(data):
    """The same of a Parquet file."""
    rows = pq.read_table(pa.BufferReader(data), columns=[*OURS.values(), "entry"]).to_pylist()
    assert len(rows) == parquet.receipt(data).events
    return [
        ({name: row[column] for name, column in OURS.items()}, json.loads(row["entry"]))
        for row in rows
    ]


def _index(event):
    """The place of an event's entry in its record."""
    return int(event[0].rpartition("-")[2])


def _place(line):
    return line["shardId"], int(line["sequenceNumber"])


def _outcome(fed, transforms):
    events = fed.events[transforms]
    return ([], [fed.data]) if events is None else (events, [])


def _short(found):
    return str(found).replace(" ", "")[:400]
