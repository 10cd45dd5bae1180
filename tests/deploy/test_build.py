"""What is built for Lambda: the same bytes each time, small, and complete."""

import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest

from dastream.lake.reader import recognise
from dastream.lake.search import Query, Search
from dastream.local.event_source import EventSourceMapping
from dastream.local.firehose import DeliveryStream
from dastream.storage import open_storage
from emf import values
from pipelines import GARBAGE
from streamed import streamed
from support import CLUSTER, entry

CHILD = Path(__file__).parent / "lambda_process.py"
RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
"""What Lambda's Python runtime has besides the standard library."""

BUCKET = "built"
LAKE = f"s3://{BUCKET}/lake"


@pytest.mark.parametrize(
    ("architecture", "options", "megabytes_max"),
    [("arm64", [], 20), ("x86_64", [], 20), ("arm64", ["--fast"], 32), ("x86_64", ["--fast"], 32)],
)
def test_archive_is_small_and_of_its_architecture(
    builder, tmp_path, architecture, options, megabytes_max
):
    archive = tmp_path / "lambda.zip"
    builder.main(["--architecture", architecture, *options, "--zip", str(archive)])

    with zipfile.ZipFile(archive) as built:
        members = built.infolist()
        machine = {"arm64": b"\xb7\x00", "x86_64": b"\x3e\x00"}[architecture]
        libraries = [member for member in members if ".so" in member.filename]
        assert libraries
        for library in libraries:
            assert built.open(library).read(20)[18:] == machine, library.filename  # e_machine
    assert sum(member.file_size for member in members) < megabytes_max * 1e6
    names = {member.filename.split("/")[0] for member in members}
    assert not names & {"boto3", "botocore", "bin"}


def test_two_builds_are_equal(builder, tmp_path):
    archives = [tmp_path / "one" / "lambda.zip", tmp_path / "two" / "lambda.zip"]
    for archive in archives:
        builder.main(["--zip", str(archive)])

    assert archives[0].read_bytes() == archives[1].read_bytes()


@pytest.fixture(scope="session")
def unpacked(builder, tmp_path_factory):
    """The function's archive for this machine, unpacked into an empty directory."""
    made = tmp_path_factory.mktemp("lambda")
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    requirements = builder.DEPLOY / "requirements.txt"
    builder.build(made / "built", architecture, requirements, python_version=version)
    builder.pack(made / "built", made / "lambda.zip")
    with zipfile.ZipFile(made / "lambda.zip") as archive:
        archive.extractall(made / "task")
    return made / "task"


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    """A directory with the packages of Lambda's runtime, and no others."""
    directory = tmp_path_factory.mktemp("runtime")
    packages = Path(boto3.__file__).parents[1]
    for name in RUNTIME:
        (directory / name).symlink_to(packages / name)
    return directory


@pytest.fixture
def function(unpacked, runtime, endpoint):
    """A handler in a process of its own, which it stays in from invocation to invocation."""
    processes = []

    def start(handler, **environment):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(CHILD), str(unpacked), str(runtime), handler],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=endpoint.environment | environment | {"HOME": os.devnull},
        )
        processes.append(process)
        log = []

        def invoke(event, context):
            process.stdin.write(json.dumps(event) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                kind, _, rest = line.partition(" ")
                if kind == "reply":
                    return json.loads(rest)
                assert kind != "error", rest
                log.append(line)
            raise AssertionError("the function has ended")

        return invoke, log

    yield start
    for process in processes:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


@pytest.fixture
def records(aws):
    """Three records of activity, signed ones among them, and one of garbage."""
    suites = (0x0178, 0x0378, 0x0578)
    activity = [({"suite": suite}, [entry(f"SELECT {n}")]) for n, suite in enumerate(suites)]
    with streamed(aws, BUCKET, [*activity, GARBAGE]) as stream:
        yield stream


def statements():
    search = Search(open_storage(LAKE), Query(), on_damage=pytest.fail)
    return sorted(match.event.columns.statement for match in search)


def metrics(log):
    lines = [json.loads(line) for line in log if line.startswith("{")]
    return next(values(line) for line in lines if "Events" in line)


def test_archive_does_path_b(function, records, aws):
    handler, log = function("dastream.aws.kinesis.handler", DASTREAM_SINK=LAKE)
    EventSourceMapping(
        "delivery",
        source=records,
        handler=handler,
        kinesis=aws.client("kinesis"),
        s3=aws.client("s3"),
        on_failure_bucket=BUCKET,
    ).drain()

    assert statements() == ["SELECT 0", "SELECT 1", "SELECT 2"]
    assert (metrics(log)["Records"], metrics(log)["DeadLetters"]) == (4, 1)


def test_archive_does_path_a(function, records, aws):
    handler, log = function("dastream.aws.firehose.handler")
    stream = DeliveryStream(
        "activity",
        source=records,
        handler=handler,
        bucket=BUCKET,
        prefix="lake/events/cluster=!{partitionKeyFromLambda:cluster}"
        "/day=!{partitionKeyFromLambda:day}/",
        error_prefix="lake/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/",
        compression="GZIP",
        extension=".jsonl.gz",
        kinesis=aws.client("kinesis"),
        s3=aws.client("s3"),
        lambda_buffer_seconds_max=0.05,
        buffer_seconds_max=0.1,
    )
    stream.start()
    stream.stop()

    assert statements() == ["SELECT 0", "SELECT 1", "SELECT 2"]
    assert (metrics(log)["Records"], metrics(log)["DeadLetters"]) == (4, 1)
    (events,) = [found for found in map(recognise, open_storage(LAKE).list()) if found]
    assert f"/cluster={CLUSTER}/" in f"/{events.key}"


def test_archive_has_the_custom_resource(unpacked, runtime):
    command = [sys.executable, "-I", "-S", str(CHILD), str(unpacked), str(runtime)]
    handler = "dastream.aws.stream_resource.handler"
    subprocess.run([*command, handler], check=True, stdin=subprocess.DEVNULL, capture_output=True)
