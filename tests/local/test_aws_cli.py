"""The AWS command line, as it comes from PyPI, on our endpoint."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from outside import installed, run

VERSION = "1.46.3"


@pytest.fixture(scope="module")
def command():
    """The path of `aws`, in an environment of its own."""
    return installed(f"awscli-{VERSION}", install_aws) / "bin" / "aws"


def install_aws(home):
    python = home / "bin" / "python"
    if uv := shutil.which("uv"):
        run(uv, "venv", "--clear", "--python", sys.executable, home)
        run(uv, "pip", "install", "--python", python, f"awscli=={VERSION}")
    else:
        run(sys.executable, "-m", "venv", home)
        run(python, "-m", "pip", "install", f"awscli=={VERSION}")


@pytest.fixture
def aws(command, endpoint, tmp_path):
    """Runs the command line, and gives what it prints."""
    environment = endpoint.environment | {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def call(*arguments):
        # For RDS in us-east-1, version 1 has a name of its own before AWS_ENDPOINT_URL.
        where = ["--endpoint-url", endpoint.url] if arguments[0] == "rds" else []
        done = subprocess.run(
            [command, *where, *arguments], env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    return call


@pytest.fixture
def cluster(endpoint):
    return endpoint.client("rds").create_db_cluster(
        DBClusterIdentifier="audited",
        Engine="aurora-postgresql",
        MasterUsername="admin1",
        MasterUserPassword="not-a-secret",
    )["DBCluster"]


def test_an_activity_stream_is_started_and_read(aws, endpoint, cluster):
    key = endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]
    arn = cluster["DBClusterArn"]
    started = json.loads(
        aws(
            *("rds", "start-activity-stream", "--resource-arn", arn, "--mode", "async"),
            *("--kms-key-id", key, "--apply-immediately"),
        )
    )
    stream = started["KinesisStreamName"]
    assert started["Status"] == "starting"
    deadline = time.monotonic() + 20
    while described(aws)["ActivityStreamStatus"] != "started":
        assert time.monotonic() < deadline
    endpoint.client("kinesis").put_record(StreamName=stream, Data=b"record", PartitionKey="k")
    listed = json.loads(aws("kinesis", "list-shards", "--stream-name", stream))["Shards"]
    assert len(listed) == 2
    read = []
    for shard in listed:
        at = aws(
            *("kinesis", "get-shard-iterator", "--stream-name", stream),
            *("--shard-id", shard["ShardId"], "--shard-iterator-type", "TRIM_HORIZON"),
            *("--query", "ShardIterator", "--output", "text"),
        )
        page = json.loads(aws("kinesis", "get-records", "--shard-iterator", at.strip()))
        read += [base64.b64decode(record["Data"]) for record in page["Records"]]
    assert read == [b"record"]


def described(aws):
    (cluster,) = json.loads(aws("rds", "describe-db-clusters"))["DBClusters"]
    assert cluster["DBClusterIdentifier"] == "audited"
    return cluster


def test_a_data_key_is_decrypted(aws, endpoint, tmp_path):
    kms = endpoint.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    context = {"aws:rds:dbc-id": "cluster-A"}
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
    blob = tmp_path / "blob"
    blob.write_bytes(made["CiphertextBlob"])
    reply = json.loads(
        aws(
            *("kms", "decrypt", "--ciphertext-blob", f"fileb://{blob}"),
            *("--encryption-context", json.dumps(context)),
        )
    )
    assert base64.b64decode(reply["Plaintext"]) == made["Plaintext"]


def test_objects_are_copied_and_listed(aws, endpoint, tmp_path):
    endpoint.client("s3").create_bucket(Bucket="lake")
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x")
    large.write_bytes(os.urandom(10_000_000))  # more than one part
    for path in (small, large):
        aws("s3", "cp", "--quiet", str(path), f"s3://lake/events/{path.name}")
    assert aws("s3", "ls").split()[-1] == b"lake"
    lines = aws("s3", "ls", "s3://lake/events/").decode().splitlines()
    assert [line.split()[2:] for line in lines] == [["10000000", "large"], ["1", "small"]]
    aws("s3", "cp", "--quiet", "s3://lake/events/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
