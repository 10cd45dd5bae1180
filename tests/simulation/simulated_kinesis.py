"""A Kinesis stream in memory, under a clock that is not real, with boto3's signatures.

After the API reference: shards split and merge, a closed shard is read to its null iterator, also
through empty pages; iterators expire after five minutes; a shard gives five reads a second;
lists and pages end where chance says; records and closed shards go with the retention.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count, pairwise

from botocore.exceptions import ClientError

HASHES = 2**16
ITERATOR_SECONDS = 300
READS_A_SECOND_MAX = 5
RETENTION_HOURS = (24, 24, 48)


@dataclass
class StoredRecord:
    sequence: int
    arrival_ms: int
    data: bytes


@dataclass
class SimulatedShard:
    id: str
    hashes: range
    first: int
    created_ms: int
    parents: tuple[str, ...] = ()
    last: int | None = None  # the sequence number that it was closed at
    closed_ms: int | None = None
    records: list[StoredRecord] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)


class SimulatedKinesis:
    """One stream. `expired` is told of each record that retention takes.

    `parents` has those of every shard that ever was, `firsts` the numbers that it began with:
    several, if the stream was made again.
    """

    def __init__(self, clock, chance, expired):
        self.shards = {}
        self.parents = {}
        self.firsts = {}
        self._clock = clock
        self._chance = chance
        self._expired = expired
        self._page_sizes = chance.choice([[0, 1, 2, 5, 100], [0, 1, 1, 2]])
        self._retention_hours = chance.choice(RETENTION_HOURS)
        self._sequence = 90  # soon one digit more: numbers are not ordered as text
        self.create()

    # What producers and operators do.

    def create(self):
        """Make the stream; one that is there already is deleted before."""
        self.created_ms = self._clock.now_ms
        self._numbers = count()
        self.shards.clear()
        shards = self._chance.randint(1, 3)
        bounds = [HASHES * number // shards for number in range(shards + 1)]
        for hashes in pairwise(bounds):
            self._add(range(*hashes))

    def put(self, data):
        """Where the record came to lie, shard and sequence number, and when it arrived."""
        hash = self._chance.randrange(HASHES)
        shard = next(s for s in self._open() if hash in s.hashes)
        # Approximate: the times of one shard are not quite in order.
        arrival_ms = max(self.created_ms, self._clock.now_ms - self._chance.randrange(1500))
        record = StoredRecord(self._next_sequence(), arrival_ms, data)
        shard.records.append(record)
        return (shard.id, record.sequence), arrival_ms

    def split(self):
        shard = self._chance.choice(self._open())
        middle = shard.hashes.start + len(shard.hashes) // 2
        if len(shard.hashes) > 1:
            self._close(shard)
            self._add(range(shard.hashes.start, middle), shard.id)
            self._add(range(middle, shard.hashes.stop), shard.id)

    def merge(self):
        open = sorted(self._open(), key=lambda shard: shard.hashes.start)
        if len(open) > 1:
            place = self._chance.randrange(len(open) - 1)
            left, right = open[place : place + 2]
            self._close(left)
            self._close(right)
            self._add(range(left.hashes.start, right.hashes.stop), left.id, right.id)

    def raise_retention(self):
        """What has expired by now has gone for good."""
        self.expire()
        self._retention_hours = max(RETENTION_HOURS)

    def expire(self):
        """Take away what is older than the retention."""
        horizon_ms = self._clock.now_ms - self._retention_hours * 3_600_000
        for shard in list(self.shards.values()):
            while shard.records and shard.records[0].arrival_ms < horizon_ms:
                self._expired((shard.id, shard.records.pop(0).sequence))
            if shard.closed_ms is not None and shard.closed_ms < horizon_ms:
                del self.shards[shard.id]

    # What consumers call.

    def describe_stream_summary(self, *, StreamName):  # noqa: N803 - boto3's names
        assert StreamName
        summary = {
            "StreamCreationTimestamp": _time(self.created_ms),
            "RetentionPeriodHours": self._retention_hours,
        }
        date = format_datetime(_time(self._clock.now_ms), usegmt=True)
        answered = {"HTTPHeaders": {"date": date}}
        return {"StreamDescriptionSummary": summary, "ResponseMetadata": answered}

    def list_shards(self, *, StreamName=None, NextToken=None, ShardFilter=None):  # noqa: N803
        assert (StreamName is None) != (NextToken is None)
        self.expire()
        if NextToken is None:
            assert ShardFilter is None or ShardFilter["Type"] == "AT_TIMESTAMP"
            after, moment = "", ShardFilter and ShardFilter["Timestamp"].timestamp() * 1000
        else:
            after, moment = NextToken
        left = [
            shard
            for shard in self.shards.values()
            if shard.id > after and (moment is None or _was_open(shard, moment))
        ]
        page = left[: self._chance.randint(1, 4)]
        more = {"NextToken": (page[-1].id, moment)} if len(left) > len(page) else {}
        return {"Shards": [_listed(shard) for shard in page]} | more

    def get_shard_iterator(self, *, StreamName, ShardId, ShardIteratorType, **place):  # noqa: N803
        assert StreamName
        shard = self._shard(ShardId)
        return {
            "ShardIterator": self._iterator(shard, self._place(shard, ShardIteratorType, place))
        }

    def get_records(self, *, ShardIterator, Limit):  # noqa: N803
        assert 1 <= Limit <= 10_000
        self.expire()
        name, place, issued = ShardIterator.split()
        if self._clock.seconds - float(issued) > ITERATOR_SECONDS:
            raise _refusal("ExpiredIteratorException")
        shard = self._shard(name)
        self._hold_to_limit(shard)
        return self._page(shard, int(place))

    def _page(self, shard, place):
        left = [record for record in shard.records if record.sequence >= place]
        page = left[: self._chance.choice(self._page_sizes)]
        rest = left[len(page) :]
        place = page[-1].sequence + 1 if page else place
        answer = {
            "Records": [_record(record) for record in page],
            "MillisBehindLatest": max(1, self._clock.now_ms - rest[0].arrival_ms) if rest else 0,
        }
        if not rest and shard.last is not None and self._chance.random() < 0.7:
            return answer | {"ChildShards": []}
        return answer | {"NextShardIterator": self._iterator(shard, place)}

    def _place(self, shard, kind, place):
        if kind == "TRIM_HORIZON":
            return shard.first
        if kind == "LATEST":
            return self._sequence + 1
        if kind == "AT_TIMESTAMP":
            moment_ms = place["Timestamp"].timestamp() * 1000
            later = (r.sequence for r in shard.records if r.arrival_ms >= moment_ms)
            return next(later, self._sequence + 1)
        sequence = int(place["StartingSequenceNumber"])
        if not shard.first <= sequence <= (shard.last or self._sequence):
            raise _refusal("InvalidArgumentException")
        return sequence + {"AT_SEQUENCE_NUMBER": 0, "AFTER_SEQUENCE_NUMBER": 1}[kind]

    def _iterator(self, shard, place):
        return f"{shard.id} {place} {self._clock.seconds}"

    def _hold_to_limit(self, shard):
        now = self._clock.seconds
        shard.reads[:] = [moment for moment in shard.reads if now - moment < 1]
        if len(shard.reads) >= READS_A_SECOND_MAX:
            raise _refusal("ProvisionedThroughputExceededException")
        shard.reads.append(now)

    def _shard(self, id):
        if id not in self.shards:
            raise _refusal("ResourceNotFoundException")
        return self.shards[id]

    def _open(self):
        return [shard for shard in self.shards.values() if shard.last is None]

    def _close(self, shard):
        shard.last = self._next_sequence()
        shard.closed_ms = self._clock.now_ms

    def _add(self, hashes, *parents):
        id = f"shardId-{next(self._numbers):012d}"
        self.parents[id] = parents
        first = self._next_sequence()
        self.firsts.setdefault(id, set()).add(first)
        self.shards[id] = SimulatedShard(id, hashes, first, self._clock.now_ms, parents)

    def _next_sequence(self):
        self._sequence += self._chance.randint(1, 3)
        return self._sequence


def _was_open(shard, moment):
    return shard.created_ms <= moment and (shard.closed_ms or moment) >= moment


def _listed(shard):
    extent = {"StartingSequenceNumber": str(shard.first)}
    if shard.last is not None:
        extent["EndingSequenceNumber"] = str(shard.last)
    names = ("ParentShardId", "AdjacentParentShardId")
    parents = dict(zip(names, shard.parents, strict=False))
    return {"ShardId": shard.id, "SequenceNumberRange": extent} | parents


def _record(record):
    return {
        "SequenceNumber": str(record.sequence),
        "ApproximateArrivalTimestamp": _time(record.arrival_ms),
        "Data": record.data,
    }


def _time(time_ms):
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _refusal(code):
    return ClientError({"Error": {"Code": code}}, "simulated")
