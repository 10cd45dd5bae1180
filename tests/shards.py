"""A Kinesis in memory whose shards can be closed, and sources that read it."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

from botocore.exceptions import ClientError

from dastream.sources.kinesis import KinesisSource

NOON = datetime(2025, 11, 23, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)


class Shard:
    """A shard of the fake: its parents, and records of a sequence number and a time each.

    `first` is the sequence number it began with. A closed one gives `empty_pages` at its tip
    before the page that tells its end.
    """

    def __init__(self, *records, parents=(), is_closed=False, first=0, empty_pages=0):
        self.records = [
            record if isinstance(record, tuple) else (record, NOON) for record in records
        ]
        self.parents = parents
        self.is_closed = is_closed
        self.first = first
        self.empty_pages = empty_pages

    @property
    def extent(self):
        last = self.records[-1][0] if self.records else self.first
        ending = {"EndingSequenceNumber": str(last)} if self.is_closed else {}
        return {"StartingSequenceNumber": str(self.first)} | ending


class FakeKinesis:
    """The calls of the Kinesis client, after the API reference: pages of two records.

    A closed shard ends with a null iterator. `errors` are codes that the next calls of GetRecords
    are refused with. `now` is Kinesis' clock.
    """

    def __init__(self, errors=(), *, now=NOON, **shards):
        self.shards = shards
        self.errors = list(errors)
        self.now = now
        self.created = NOON - timedelta(hours=9)
        self.retention_hours = 24
        self.descriptions = 0
        self.iterators = []
        self.reads = []

    def seconds(self):
        """Its clock, to read it by."""
        return self.now.timestamp()

    def describe_stream_summary(self, **_):
        self.descriptions += 1
        summary = {
            "StreamCreationTimestamp": self.created,
            "RetentionPeriodHours": self.retention_hours,
        }
        date = format_datetime(self.now.replace(microsecond=0), usegmt=True)
        return {
            "StreamDescriptionSummary": summary,
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        }

    def list_shards(self, **request):
        names = list(self.shards)
        name = request.get("NextToken", names[0])
        shard = self.shards[name]
        keys = ("ParentShardId", "AdjacentParentShardId")
        listed = {"ShardId": name, "SequenceNumberRange": shard.extent}
        listed |= dict(zip(keys, shard.parents, strict=False))
        following = names[names.index(name) + 1 :]
        return {"Shards": [listed]} | ({"NextToken": following[0]} if following else {})

    def get_shard_iterator(self, **request):
        name, kind = request["ShardId"], request["ShardIteratorType"]
        self.iterators.append((name, kind))
        skipped = {
            "TRIM_HORIZON": lambda record: False,
            "AT_TIMESTAMP": lambda record: record[1] < request["Timestamp"],
            "AT_SEQUENCE_NUMBER": lambda r: r[0] < int(request["StartingSequenceNumber"]),
        }[kind]
        return {"ShardIterator": f"{name} {sum(map(skipped, self.shards[name].records))}"}

    def get_records(self, **request):
        name, start = request["ShardIterator"].split()
        self.reads.append((name, time.monotonic()))
        if self.errors:
            raise ClientError({"Error": {"Code": self.errors.pop(0)}}, "GetRecords")
        shard = self.shards[name]
        page = shard.records[int(start) : int(start) + 2]
        end = int(start) + len(page)
        is_at_tip = end == len(shard.records)
        is_ended = shard.is_closed and is_at_tip and not shard.empty_pages
        shard.empty_pages -= is_at_tip and not page and not is_ended
        return {
            "Records": [
                {
                    "SequenceNumber": str(sequence),
                    "ApproximateArrivalTimestamp": moment,
                    "Data": b"%d" % sequence,
                }
                for sequence, moment in page
            ],
            "MillisBehindLatest": 0 if is_at_tip else 1000,
            "NextShardIterator": None if is_ended else f"{name} {end}",
        }

    def close(self):
        pass


def source(client, **options):
    return KinesisSource(client, "s", **({"once": True, "poll_seconds": 0.01} | options))


def spans(batches):
    """What a batch reaches over, and how many records are in it."""
    return [(b.shard, b.after, b.through, len(b.records)) for b in batches]


def sequences(batches):
    return [int(r.position.sequence) for b in batches for r in b.records]


def reads_of(kinesis, shard):
    return [moment for name, moment in kinesis.reads if name == shard]


def gaps(kinesis, shard):
    """The seconds between one read of a shard and the next."""
    return [later - earlier for earlier, later in pairwise(reads_of(kinesis, shard))]
