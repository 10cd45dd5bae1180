"""`dastream check` on AWS: each thing that can be missing, in a line with its fix."""

import json

import pytest
from botocore.awsrequest import AWSResponse

from dastream.aws.deployment_check import Deployment, check_deployment
from dastream.cli.app import run_app
from dastream.clients import session
from pipelines import GARBAGE
from streamed import streamed
from support import CLUSTER, STREAM, entry, sealed

BUCKET = "checked"
SINK = f"s3://{BUCKET}/lake"
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture
def place(aws):
    """The stream of the tests' cluster with given records, and a bucket."""
    opened = []

    def place(*records):
        context = streamed(aws, BUCKET, records)
        opened.append(context)
        return context.__enter__()

    yield place
    for context in opened:
        context.__exit__(None, None, None)


class _Body:
    def __init__(self, data):
        self._data = data

    def stream(self):
        yield self._data


@pytest.fixture
def deny():
    """Have AWS deny an operation, on the wire."""
    hooks = []

    def deny(service, operation, *, role=None, code="AccessDenied"):
        def answer(request, **_):
            json_error = json.dumps({"__type": f"{code}Exception"})
            xml_error = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
            if service == "s3":
                xml_error = f"<Error><Code>{code}</Code></Error>"
            is_json = service in ("kinesis", "kms")
            body = json_error if is_json else xml_error
            return AWSResponse(request.url, 403, {}, _Body(body.encode()))

        events = session(role).events
        hooks.append((events, f"before-send.{service}.{operation}", answer))
        events.register(*hooks[-1][1:])

    yield deny
    for events, name, answer in hooks:
        events.unregister(name, answer)


def look(**deployment):
    given = dict.fromkeys(Deployment._fields[:3]) | deployment
    return {check.name: check for check in check_deployment(Deployment(**given))}


def verdicts(checks):
    return {name: check.verdict for name, check in checks.items()}


def test_all_is_well(place):
    place([entry()])

    checks = look(stream=STREAM, sink_url=SINK)

    assert verdicts(checks) == {
        "identity": "ok",
        "stream": "ok",
        "read": "ok",
        "open": "ok",
        "sink: list": "ok",
        "sink: read": "ok",
        "sink: write": "ok",
        "bucket: public access": "weaker",
    }
    assert checks["open"].found.endswith(f"in the context of {CLUSTER}")


def test_fix_of_public_access_mends_it(place, aws):
    place()
    fix = look(sink_url=SINK)["bucket: public access"].fix
    settings = dict(pair.split("=") for pair in fix.split()[-1].split(","))
    aws.client("s3").put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={name: value == "true" for name, value in settings.items()},
    )

    assert look(sink_url=SINK)["bucket: public access"].verdict == "ok"


def test_database_is_looked_at_before_its_stream(aws, deny):
    kms, rds = aws.client("kms"), aws.client("rds")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rds.create_db_cluster(
        DBClusterIdentifier="checked",
        Engine="aurora-postgresql",
        MasterUsername="davide",
        MasterUserPassword="not-used-by-anything",
    )
    stopped = look(resource="checked")
    assert verdicts(stopped) == {"identity": "ok", "activity stream": "missing"}
    fix = stopped["activity stream"].fix.replace("KEY", key).split()

    assert run_app(fix[1:]) == 0
    started = look(resource="checked")
    assert verdicts(started) == {
        "identity": "ok",
        "activity stream": "ok",
        "key": "ok",
        "stream": "ok",
        "read": "weaker",
    }
    kms.disable_key(KeyId=key)
    assert look(resource="checked")["key"].verdict == "missing"
    kms.enable_key(KeyId=key)
    deny("kms", "DescribeKey")
    assert look(resource="checked")["key"].verdict == "weaker"
    rds.delete_db_cluster(DBClusterIdentifier="checked", SkipFinalSnapshot=True)


@pytest.mark.parametrize(
    ("service", "operation", "name", "fix"),
    [
        ("kinesis", "DescribeStreamSummary", "stream", "kinesis:DescribeStreamSummary"),
        ("kinesis", "ListShards", "read", "kinesis:ListShards"),
        ("kinesis", "GetShardIterator", "read", "kinesis:GetShardIterator"),
        ("kinesis", "GetRecords", "read", "kinesis:GetRecords"),
        ("kms", "Decrypt", "open", f"kms:EncryptionContext:aws:rds:dbc-id, it must be {CLUSTER}"),
        ("s3", "ListObjectsV2", "sink: list", "s3:ListBucket"),
        ("s3", "GetObject", "sink: read", "s3:GetObject"),
        ("s3", "PutObject", "sink: write", "what this role may do there"),
    ],
)
def test_denied_call_is_told_with_what_to_allow(place, deny, service, operation, name, fix):
    place([entry()])
    deny(service, operation)

    check = look(stream=STREAM, sink_url=SINK)[name]

    assert check.verdict == "missing"
    assert "AccessDenied" in check.found
    assert fix in check.fix


def test_record_of_another_context_and_garbage_are_told_apart(place):
    place(sealed([entry()], key=b"of no key"))
    assert look(stream=STREAM)["open"].verdict == "missing"


def test_garbage_is_no_missing_permission(place):
    place(GARBAGE)
    assert look(stream=STREAM)["open"].verdict == "weaker"


def test_stream_without_a_record_cannot_be_judged(place):
    place()
    assert look(stream=STREAM)["read"].verdict == "weaker"


def test_stream_that_is_not_there(aws):
    check = look(stream="aws-rds-das-cluster-NONE")["stream"]
    assert (check.verdict, check.found) == ("missing", "there is no aws-rds-das-cluster-NONE")


def test_bucket_that_is_not_there(aws):
    checks = look(sink_url="s3://no-such-bucket/lake")
    assert checks["sink: write"].verdict == "missing"
    assert "NoSuchBucket" in checks["sink: write"].found


def test_network_without_a_way(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    session.cache_clear()
    checks = look(stream=STREAM)

    assert verdicts(checks) == {"identity": "missing"}
    assert "VPC endpoint" in checks["identity"].fix


def test_role_is_assumed_for_the_stream_and_not_for_the_sink(place, deny):
    place([entry()])
    deny("s3", "PutObject", role=ROLE)

    checks = look(stream=STREAM, sink_url=SINK, role_arn=ROLE)

    assert checks["identity"].found.startswith("arn:aws:sts::123456789012:assumed-role/reader/")
    assert (checks["open"].verdict, checks["sink: write"].verdict) == ("ok", "ok")


def test_role_that_may_not_be_assumed(aws, deny):
    other = f"{ROLE}-of-others"
    deny("sts", "AssumeRole", role=other)

    checks = look(stream=STREAM, role_arn=other)

    assert verdicts(checks) == {"identity": "missing"}
    assert f"allow sts:AssumeRole on {other}" in checks["identity"].fix


def test_run_takes_a_role_for_a_stream_of_another_account(place, tmp_path):
    place([entry()])
    source = f"kinesis://{STREAM}?role_arn={ROLE}"
    state = f"sqlite://{tmp_path}/state.sqlite"

    done = run_app(
        ["run", "--source", source, "--sink", f"file://{tmp_path}/lake", "--once", "--state", state]
    )

    assert done == 0
    assert len(list(tmp_path.rglob("events/**/*.jsonl.gz"))) == 1


def test_command_prints_lines_with_fixes_and_json(place, capsys):
    place()
    assert run_app(["check", "--stream", STREAM, "--sink", SINK]) == 0
    shown = capsys.readouterr().out
    assert "ok       stream                 1 open shards, records stay 24 hours" in shown
    assert run_app(["check", "--stream", "none", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["checks"][1]["verdict"] == "missing"
    assert run_app(["check"]) == 2
