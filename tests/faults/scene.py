"""A stream with records in it, a lake, a state file, and what must come of the records."""

import os
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import boto3
from botocore.exceptions import ClientError

from dastream.storage import open_storage
from dastream.storage.files import TEMPORARY
from fed import Feed
from ledger import Found, Ledger
from support import CONTEXT, STREAM

SHARDS_MAX = 6
TWO_HOURS_SECONDS = 7200


class Scene:
    """Records go into a stream, and are looked for in a lake.

    KMS and S3 are the endpoint's, Kinesis is that at `kinesis_url` if it is another.
    """

    def __init__(self, endpoint, state, lake_url, *, kinesis_url=None, shards=2):
        self.state = state
        self.lake_url = lake_url
        self.ledger = Ledger(["default"])
        self.environment = endpoint.environment | {
            "AWS_ENDPOINT_URL_KINESIS": kinesis_url or endpoint.url
        }
        self.kinesis = _kinesis(kinesis_url or endpoint.url)
        self.kinesis.create_stream(StreamName=STREAM, ShardCount=shards)
        self._wait_until_active()
        self.feed = _feed(endpoint.client("kms"))
        self._lake = urlsplit(lake_url)
        self.endpoint = endpoint

    @property
    def arguments(self):
        state = f"sqlite://{self.state}"
        return ["--source", f"kinesis://{STREAM}", "--sink", self.lake_url, "--state", state]

    def put(self, chance, count):
        self.put_these([self.feed.draw(chance) for _ in range(count)], chance)

    def put_these(self, fed, chance):
        records = [{"Data": one.data, "PartitionKey": f"{chance.random()}"} for one in fed]
        answer = self.kinesis.put_records(StreamName=STREAM, Records=records)
        assert not answer["FailedRecordCount"]
        for one, put in zip(fed, answer["Records"], strict=True):
            self.ledger.feed((put["ShardId"], int(put["SequenceNumber"])), one)

    def reshard(self, chance):
        """Split a shard, or merge two."""
        open = [s for s in self._shards() if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        open.sort(key=_starting_hash)
        place = chance.randrange(len(open))
        if len(open) < SHARDS_MAX and chance.random() < 0.5:
            self._split(open[place])
        elif place + 1 < len(open):
            left, right = open[place]["ShardId"], open[place + 1]["ShardId"]
            self.kinesis.merge_shards(
                StreamName=STREAM, ShardToMerge=left, AdjacentShardToMerge=right
            )
        self._wait_until_active()

    def assert_everything_is_there(self):
        self.ledger.assert_everything(self.found())

    def found(self):
        return Found.of(open_storage(self.lake_url))

    def temporary_files(self):
        """What lies where files are written, before they get their names."""
        return [*Path(unquote(self._lake.path), TEMPORARY).iterdir()]

    def make_temporary_files_old(self):
        for path in self.temporary_files():
            long_ago = time.time() - TWO_HOURS_SECONDS
            os.utime(path, (long_ago, long_ago))

    def close(self):
        with suppress(ClientError):
            self.kinesis.delete_stream(StreamName=STREAM)
            while True:  # until there is none
                self.kinesis.describe_stream_summary(StreamName=STREAM)
        self.kinesis.close()

    def _wait_until_active(self):
        status = None
        while status != "ACTIVE":
            summary = self.kinesis.describe_stream_summary(StreamName=STREAM)
            status = summary["StreamDescriptionSummary"]["StreamStatus"]

    def _split(self, shard):
        hashes = shard["HashKeyRange"]
        middle = (int(hashes["StartingHashKey"]) + int(hashes["EndingHashKey"])) // 2
        self.kinesis.split_shard(
            StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
        )

    def _shards(self):
        return self.kinesis.list_shards(StreamName=STREAM)["Shards"]


def _starting_hash(shard):
    return int(shard["HashKeyRange"]["StartingHashKey"])


def _kinesis(url):
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def _feed(kms):
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    keys = [
        kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
        for _ in range(3)
    ]
    known = [(key["Plaintext"], key["CiphertextBlob"]) for key in keys]
    return Feed(known, poison=known[0][1] + b"x")
