"""What an endpoint keeps in a directory: across a restart, and across SIGKILL."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dastream.errors import ConfigError, SourceError
from dastream.local.endpoint import Endpoint

FIRST = "shardId-000000000000"
SERVE = """
import sys
from pathlib import Path
from dastream.local.endpoint import Endpoint
with Endpoint(directory=Path(sys.argv[1])) as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def restarted(tmp_path):
    """Endpoints on one directory, one after the other: each call stops the one before."""
    running = []

    def restart(**how):
        stop()
        running.append(Endpoint(directory=tmp_path / "state", **how))
        running[0].start()
        return running[0]

    def stop():
        while running:
            running.pop().stop()

    yield restart
    stop()


@contextmanager
def process(directory):
    """An endpoint in a process of its own, and clients that do not try again."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        url = server.stdout.readline().strip()
        made = []

        def client(service):
            made.append(
                boto3.client(
                    service,
                    endpoint_url=url,
                    region_name="us-east-1",
                    aws_access_key_id="any",
                    aws_secret_access_key="any",
                    config=Config(proxies={}, retries={"total_max_attempts": 1}),
                )
            )
            return made[-1]

        try:
            yield server, client
        finally:
            for each in made:
                each.close()
            server.kill()


def read(kinesis, stream, shard=FIRST):
    at = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = []
    while at and (page := kinesis.get_records(ShardIterator=at))["Records"]:
        records += page["Records"]
        at = page.get("NextShardIterator")
    return records


def content(s3, **where):
    return s3.get_object(**where)["Body"].read()


class TestRestart:
    def test_streams_shards_and_records_are_there(self, restarted):
        kinesis = restarted().client("kinesis")
        kinesis.create_stream(StreamName="s", ShardCount=1, Tags={"a": "b"})
        kinesis.increase_stream_retention_period(StreamName="s", RetentionPeriodHours=48)
        kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        half = str(1 << 127)
        kinesis.split_shard(StreamName="s", ShardToSplit=FIRST, NewStartingHashKey=half)
        at = kinesis.get_shard_iterator(
            StreamName="s", ShardId=FIRST, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        before = kinesis.describe_stream(StreamName="s")["StreamDescription"]

        kinesis = restarted().client("kinesis")
        assert kinesis.describe_stream(StreamName="s")["StreamDescription"] == before
        assert kinesis.list_tags_for_stream(StreamName="s")["Tags"][0]["Key"] == "a"
        (record,) = kinesis.get_records(ShardIterator=at)["Records"]
        assert (record["Data"], record["PartitionKey"]) == (b"1", "k")
        kinesis.delete_stream(StreamName="s")
        assert restarted().client("kinesis").list_streams()["StreamNames"] == []

    def test_keys_open_what_they_closed(self, restarted):
        kms = restarted().client("kms")
        key = kms.create_key(Description="mine")["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
        disabled = kms.create_key()["KeyMetadata"]["KeyId"]
        context = {"aws:rds:dbc-id": "cluster-A"}
        made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
        kms.disable_key(KeyId=disabled)
        signing = {
            kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]: algorithm
            for spec, algorithm in (
                ("RSA_2048", "RSASSA_PSS_SHA_256"),
                ("ECC_NIST_P384", "ECDSA_SHA_384"),
            )
        }
        signatures = {
            id: kms.sign(KeyId=id, Message=b"m", SigningAlgorithm=algorithm)["Signature"]
            for id, algorithm in signing.items()
        }

        kms = restarted().client("kms")
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == made["Plaintext"]
        described = kms.describe_key(KeyId="alias/mine")["KeyMetadata"]
        assert (described["KeyId"], described["Description"]) == (key, "mine")
        assert kms.describe_key(KeyId=disabled)["KeyMetadata"]["KeyState"] == "Disabled"
        for id, algorithm in signing.items():
            how = {"KeyId": id, "SigningAlgorithm": algorithm}
            assert kms.verify(**how, Message=b"m", Signature=signatures[id])["SignatureValid"]

    def test_objects_are_there_with_all_that_belongs_to_them(self, restarted):
        s3 = restarted().client("s3")
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        s3.create_bucket(Bucket="plain")
        s3.create_bucket(Bucket="empty")
        until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
        how = {"Body": b"1", "Metadata": {"by": "me"}, "ContentType": "text/plain"}
        put = s3.put_object(Bucket="locked", Key="a b/ü", **how)
        version = {"Bucket": "locked", "Key": "a b/ü", "VersionId": put["VersionId"]}
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        s3.put_object_retention(**version, Retention=retention)
        s3.put_object_tagging(**version, Tagging={"TagSet": [{"Key": "t", "Value": "v"}]})
        s3.put_object(Bucket="locked", Key="a b/ü", Body=b"2")
        s3.delete_object(Bucket="locked", Key="a b/ü")
        for key in ("kept", "gone", "gone too"):
            s3.put_object(Bucket="plain", Key=key, Body=key.encode())
        s3.put_object(Bucket="plain", Key="kept", Body=b"replaced")
        s3.delete_object(Bucket="plain", Key="gone")
        s3.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "gone too"}]})
        versions = s3.list_object_versions(Bucket="locked")

        s3 = restarted().client("s3")
        names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        assert sorted(names) == ["empty", "locked", "plain"]
        again = s3.list_object_versions(Bucket="locked")
        for name in ("Versions", "DeleteMarkers"):
            assert again[name] == versions[name]
        head = s3.head_object(**version)
        assert (head["Metadata"], head["ContentType"]) == ({"by": "me"}, "text/plain")
        assert head["ObjectLockRetainUntilDate"] == until
        assert s3.get_object_tagging(**version)["TagSet"] == [{"Key": "t", "Value": "v"}]
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(**version)
        listed = s3.list_objects_v2(Bucket="plain")["Contents"]
        assert [item["Key"] for item in listed] == ["kept"]
        assert content(s3, Bucket="plain", Key="kept") == b"replaced"
        s3.delete_bucket(Bucket="empty")
        assert len(restarted().client("s3").list_buckets()["Buckets"]) == 2

    def test_an_object_of_several_parts_is_there(self, restarted):
        s3 = restarted().client("s3")
        s3.create_bucket(Bucket="plain")
        where = {"Bucket": "plain", "Key": "a"}
        upload = s3.create_multipart_upload(**where)["UploadId"]
        part = {"PartNumber": 1}
        part["ETag"] = s3.upload_part(**where, UploadId=upload, **part, Body=b"part")["ETag"]
        s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": [part]})
        assert content(restarted().client("s3"), **where) == b"part"

    def test_databases_are_there_and_change_on(self, restarted):
        rds = restarted().client("rds")
        cluster = create_cluster(rds)
        before = everything(rds)
        rds = restarted().client("rds")
        assert everything(rds) == before
        rds.delete_db_instance(DBInstanceIdentifier="local-1", SkipFinalSnapshot=True)
        rds.delete_db_cluster(DBClusterIdentifier="local", SkipFinalSnapshot=True)
        assert restarted().client("rds").describe_db_clusters()["DBClusters"] == []
        assert create_cluster(restarted().client("rds"))["DBClusterArn"] == cluster["DBClusterArn"]

    def test_tables_and_their_items_are_there_again(self, restarted):
        key = {"stream": {"S": "a"}}
        dynamodb = restarted().client("dynamodb")
        dynamodb.create_table(
            TableName="checkpoints",
            AttributeDefinitions=[{"AttributeName": "stream", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "stream", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        item = key | {"generation": {"N": "1"}, "shards": {"M": {"shard-0": {"S": "7"}}}}
        dynamodb.put_item(TableName="checkpoints", Item=item)

        dynamodb = restarted().client("dynamodb")

        assert dynamodb.get_item(TableName="checkpoints", Key=key)["Item"] == item


class Host:
    """Writes down what it is told."""

    def __init__(self):
        self.calls = []
        self.error = None

    def start(self, stream):
        self.calls.append(("start", stream))
        if self.error:
            raise self.error

    def stop(self, stream):
        self.calls.append(("stop", stream))


class TestActivityStreams:
    @pytest.fixture
    def host(self):
        return Host()

    @pytest.fixture
    def started(self, restarted, host):
        """An activity stream that was started when its endpoint stopped."""
        endpoint = restarted(activity_streams=host)
        rds = endpoint.client("rds")
        arn = create_cluster(rds)["DBClusterArn"]
        key = endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]
        rds.start_activity_stream(ResourceArn=arn, Mode="sync", KmsKeyId=key)
        stream = wait_for(rds, "started")["ActivityStreamKinesisStreamName"]
        kinesis = endpoint.client("kinesis")
        kinesis.put_record(StreamName=stream, Data=b"unread", PartitionKey="k")
        endpoint.stop()
        return stream

    def test_goes_on_when_its_host_is_ready(self, restarted, host, started):
        (_, before), _ = host.calls
        assert [call for call, _ in host.calls] == ["start", "stop"]
        endpoint = restarted(activity_streams=host)
        rds, kinesis = endpoint.client("rds"), endpoint.client("kinesis")
        assert described(rds)["ActivityStreamStatus"] == "started"
        assert len(host.calls) == 2
        endpoint.resume_activity_streams()
        assert host.calls[2:] == [("start", before)]
        shown = described(rds)
        assert (shown["ActivityStreamStatus"], shown["ActivityStreamMode"]) == ("started", "sync")
        shards = kinesis.list_shards(StreamName=started)["Shards"]
        unread = [r["Data"] for s in shards for r in read(kinesis, started, s["ShardId"])]
        assert unread == [b"unread"]
        rds.stop_activity_stream(ResourceArn=shown["DBClusterArn"])
        wait_for(rds, "stopped")
        assert kinesis.list_streams()["StreamNames"] == []
        assert [call for call, _ in host.calls] == ["start", "stop", "start", "stop"]

    def test_a_host_that_cannot_go_on_says_so_and_nothing_is_lost(self, restarted, host, started):
        endpoint = restarted(activity_streams=host)
        host.error = SourceError("log: cannot be read")
        with pytest.raises(SourceError, match="cannot be read"):
            endpoint.resume_activity_streams()
        host.error = None
        endpoint = restarted(activity_streams=host)
        endpoint.resume_activity_streams()
        assert described(endpoint.client("rds"))["ActivityStreamStatus"] == "started"
        assert endpoint.client("kinesis").list_streams()["StreamNames"] == [started]

    @pytest.mark.parametrize(("interrupted", "after"), [("starting", 1), ("stopping", 0)])
    def test_what_was_under_way_is_finished(self, restarted, interrupted, after, tmp_path):
        with process(tmp_path / "state") as (server, client):
            rds = client("rds")
            arn = create_cluster(rds)["DBClusterArn"]
            key = client("kms").create_key()["KeyMetadata"]["KeyId"]
            rds.start_activity_stream(ResourceArn=arn, Mode="async", KmsKeyId=key)
            wait_for(rds, "started")
            server.kill()
        with Endpoint(directory=tmp_path / "state") as endpoint:
            # As a process leaves it that is killed in this state.
            from dastream.local.moto_rds import activity_streams

            with endpoint._moto.using("rds"):
                ((cluster, _),) = activity_streams()
                cluster.activity_stream_status = interrupted
        endpoint = restarted()
        status = described(endpoint.client("rds"))["ActivityStreamStatus"]
        assert status == ("started" if after else "stopped")
        assert len(endpoint.client("kinesis").list_streams()["StreamNames"]) == after


class TestDirectory:
    def test_is_for_its_owner_only(self, restarted, tmp_path):
        endpoint = restarted()
        endpoint.client("kinesis").create_stream(StreamName="s", ShardCount=1)
        endpoint.client("kms").create_key()
        state = tmp_path / "state"
        assert state.stat().st_mode & 0o777 == 0o700
        files = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
        assert {"kinesis.sqlite", "services.sqlite"} <= set(files)
        assert set(files.values()) == {0o600}

    def test_serves_one_endpoint_at_a_time(self, tmp_path):
        with process(tmp_path), pytest.raises(ConfigError, match="it is in use"):
            Endpoint(directory=tmp_path).start()
        with Endpoint(directory=tmp_path):
            pass

    @pytest.mark.parametrize("name", ["kinesis.sqlite", "services.sqlite"])
    def test_another_file_in_the_place_is_refused(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"no database, but long enough to look like one" * 99)
        with pytest.raises(ConfigError, match="no database"):
            Endpoint(directory=tmp_path).start()

    def test_what_cannot_be_read_back_is_refused(self, tmp_path):
        import sqlite3

        with Endpoint(directory=tmp_path) as endpoint:
            endpoint.client("kms").create_key()
        database = sqlite3.connect(tmp_path / "services.sqlite")
        with database:
            database.execute("UPDATE service SET state = x'00'")
        database.close()
        with pytest.raises(ConfigError, match="cannot read what an earlier one left"):
            Endpoint(directory=tmp_path).start()

    def test_a_directory_that_cannot_be_written_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="cannot write"):
            Endpoint(directory=tmp_path / "file").start()


class Work:
    """Puts and makes until the endpoint is gone, and remembers what was acknowledged."""

    def __init__(self):
        self.records = []
        self.objects = []
        self.keys = []
        self.blobs = []

    def done(self):
        """How much of each was acknowledged."""
        return [len(self.records), len(self.objects), len(self.blobs)]

    def put_records(self, client, name):
        kinesis = client("kinesis")
        for i in itertools.count():
            sent = [f"{name}-{i}-{j}".encode() for j in range(20)]
            records = [{"Data": data, "PartitionKey": "k"} for data in sent]
            reply = kinesis.put_records(StreamName="s", Records=records)
            numbers = [r["SequenceNumber"] for r in reply["Records"]]
            self.records += zip(sent, numbers, strict=True)

    def put_objects(self, client, name):
        s3 = client("s3")
        for i in itertools.count():
            s3.put_object(Bucket="bucket", Key=f"{name}-{i}", Body=f"{name}-{i}".encode())
            self.objects.append(f"{name}-{i}")

    def make_keys(self, client, name):
        kms = client("kms")
        while True:
            key = kms.create_key(Description=name)["KeyMetadata"]["KeyId"]
            self.keys.append(key)
            self.blobs.append(kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"])


def test_what_was_acknowledged_is_there_after_sigkill(tmp_path):
    work = Work()
    for round in range(4):
        with process(tmp_path) as (server, client):
            if round == 0:
                client("kinesis").create_stream(StreamName="s", ShardCount=1)
                client("s3").create_bucket(Bucket="bucket")
            work_until_killed(server, client, work, round)
    with process(tmp_path) as (_, client):
        kinesis, kms, s3 = client("kinesis"), client("kms"), client("s3")
        found = {r["Data"]: r["SequenceNumber"] for r in read(kinesis, "s")}
        assert dict(work.records).items() <= found.items()
        assert len(set(found.values())) == len(found)
        assert {key["KeyId"] for key in kms.list_keys()["Keys"]} >= set(work.keys)
        for blob in work.blobs:
            assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
        for key in work.objects:
            assert content(s3, Bucket="bucket", Key=key) == key.encode()


def work_until_killed(server, client, work, round):
    """Each call in a thread, until the server is killed under them at a random time."""

    def until_it_ends(call, name):
        with pytest.raises(BotoCoreError):
            call(client, name)

    before = work.done()
    calls = [work.put_records, work.put_records, work.put_objects, work.make_keys]
    threads = [
        threading.Thread(target=until_it_ends, args=(call, f"{round}-{number}"))
        for number, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while any(now == then for now, then in zip(work.done(), before, strict=True)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    os.kill(server.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()


def create_cluster(rds):
    cluster = rds.create_db_cluster(
        DBClusterIdentifier="local",
        Engine="aurora-postgresql",
        MasterUsername="admin1",
        MasterUserPassword="not-a-secret",
    )["DBCluster"]
    rds.create_db_instance(
        DBInstanceIdentifier="local-1",
        DBClusterIdentifier="local",
        DBInstanceClass="db.r6g.large",
        Engine="aurora-postgresql",
    )
    return cluster


def everything(rds):
    """What is told of clusters and instances, without what tells the time."""
    found = rds.describe_db_clusters()["DBClusters"] + rds.describe_db_instances()["DBInstances"]
    return [
        {name: value for name, value in resource.items() if not name.endswith("RestorableTime")}
        for resource in found
    ]


def described(rds):
    return rds.describe_db_clusters()["DBClusters"][0]


def wait_for(rds, state):
    deadline = time.monotonic() + 10
    while (found := described(rds))["ActivityStreamStatus"] != state:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
