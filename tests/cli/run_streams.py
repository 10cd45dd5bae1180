"""A stream on the endpoint for `dastream run`, and what comes of it."""

import json
import time
from collections import Counter

from dastream.storage import open_storage
from support import CONTEXT, STREAM, entry, gunzip_lines, sealed


class Stream:
    """A stream on the endpoint with a key that KMS knows."""

    def __init__(self, aws, name=STREAM):
        self.name = name
        self.url = f"kinesis://{name}"
        self.kinesis = aws.client("kinesis")
        self.kinesis.create_stream(StreamName=name, ShardCount=2)
        kms = aws.client("kms")
        kms_key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        self.key = kms.generate_data_key(
            KeyId=kms_key_id, KeySpec="AES_256", EncryptionContext=CONTEXT
        )

    def put(self, data, shard=0):
        self.kinesis.put_record(
            StreamName=self.name,
            Data=data,
            PartitionKey="p",
            ExplicitHashKey=str(shard * 2**127),
        )

    def put_entries(self, *entries, shard=0):
        data_key, key = self.key["Plaintext"], self.key["CiphertextBlob"]
        self.put(sealed(entries, data_key=data_key, key=key), shard)

    def put_statements(self, numbers):
        for number in numbers:
            self.put_entries(entry(f"SELECT {number}"), shard=number % 2)


def statements(url):
    """The SQL texts of all delivered lines, and how often."""
    storage = open_storage(url)
    lines = [
        line for item in storage.list("events/") for line in gunzip_lines(storage.get(item.key))
    ]
    return Counter(json.loads(line)["commandText"] for line in lines)


def expected(numbers):
    return Counter(f"SELECT {number}" for number in numbers)


def last_counters(err):
    return json.loads(err.splitlines()[-1])


def wait_until(condition, seconds_max=20):
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
