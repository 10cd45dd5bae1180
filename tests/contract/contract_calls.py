"""What the tests of the contract do with a Kinesis, whosever it is."""

import time

import pytest
from botocore.exceptions import ClientError

FIRST = "shardId-000000000000"
HASH_KEYS = 1 << 128


def wait_until_active(kinesis, stream):
    deadline = time.monotonic() + 5
    while status(kinesis, stream) != "ACTIVE":
        assert time.monotonic() < deadline
        time.sleep(0.005)


def status(kinesis, stream):
    summary = kinesis.describe_stream_summary(StreamName=stream)
    return summary["StreamDescriptionSummary"]["StreamStatus"]


def shards(kinesis, stream):
    return {s["ShardId"]: s for s in kinesis.list_shards(StreamName=stream)["Shards"]}


def put(kinesis, stream, *data, key="key"):
    """Puts records into one shard, and gives their sequence numbers."""
    records = [{"Data": d, "PartitionKey": key} for d in data]
    reply = kinesis.put_records(StreamName=stream, Records=records)
    assert reply["FailedRecordCount"] == 0
    return [r["SequenceNumber"] for r in reply["Records"]]


def iterator(kinesis, stream, kind="TRIM_HORIZON", shard=FIRST, **where):
    reply = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType=kind, **where
    )
    return reply["ShardIterator"]


def read(kinesis, at, *, empty_pages_max=2, **limits):
    """All pages from an iterator on, through the shard's end or some empty pages."""
    pages, empty = [], 0
    while at and empty < empty_pages_max:
        pages.append(kinesis.get_records(ShardIterator=at, **limits))
        at = pages[-1].get("NextShardIterator")
        empty += not pages[-1]["Records"]
    return pages


def data(pages):
    return [record["Data"] for page in pages for record in page["Records"]]


def read_stream(kinesis, stream):
    """The records of all shards."""
    return [
        record
        for shard in shards(kinesis, stream)
        for page in read(kinesis, iterator(kinesis, stream, shard=shard))
        for record in page["Records"]
    ]


def split(kinesis, stream, shard=FIRST):
    """Halves a shard, and waits until it is done."""
    hashes = shards(kinesis, stream)[shard]["HashKeyRange"]
    middle = (int(hashes["StartingHashKey"]) + int(hashes["EndingHashKey"]) + 1) // 2
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard, NewStartingHashKey=str(middle))
    wait_until_active(kinesis, stream)


def merge(kinesis, stream, left, right):
    """Merges two shards, and waits until it is done."""
    kinesis.merge_shards(StreamName=stream, ShardToMerge=left, AdjacentShardToMerge=right)
    wait_until_active(kinesis, stream)


def fault(call, **arguments):
    """The code with which a call is refused."""
    with pytest.raises(ClientError) as excinfo:
        call(**arguments)
    return excinfo.value.response["Error"]["Code"]
