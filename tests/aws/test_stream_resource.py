"""The custom resource's whole life, against the local RDS."""

import itertools
import json
import threading

import pytest

from dastream.aws.activity_stream import ActivityStreams
from dastream.aws.stream_resource import NOTHING, StreamResource, _put
from dastream.errors import ConfigError
from dastream.local.endpoint import Endpoint

NUMBERS = itertools.count()
URL = "https://cloudformation-custom-resource-response.example/answer?signature=x"


class Context:
    def __init__(self, seconds=900):
        self._seconds = seconds

    def get_remaining_time_in_millis(self):
        return int(self._seconds * 1000)


class Gate:
    """Lets activity streams start while it is open."""

    def __init__(self):
        self.is_open = threading.Event()
        self.is_open.set()

    def start(self, stream):
        self.is_open.wait(10)

    def stop(self, stream):
        pass


@pytest.fixture(scope="module")
def gate():
    return Gate()


@pytest.fixture(scope="module")
def endpoint(gate):
    with Endpoint(activity_streams=gate) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def key(endpoint):
    return endpoint.client("kms").create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def cluster(aws):
    name = f"ledger-{next(NUMBERS)}"
    rds = aws.client("rds")
    yield rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="davide",
        MasterUserPassword="not-used-by-anything",
    )["DBCluster"]
    if name in {c["DBClusterIdentifier"] for c in rds.describe_db_clusters()["DBClusters"]}:
        rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


@pytest.fixture
def streams(aws):
    return ActivityStreams(aws.client("rds"), poll_seconds=0.02)


@pytest.fixture
def properties(cluster, key):
    return {
        "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:activity-stream",
        "ServiceTimeout": "3600",
        "ResourceArn": cluster["DBClusterArn"],
        "ResourceId": cluster["DbClusterResourceId"],
        "KmsKeyId": key,
        "Mode": "async",
        "ApplyImmediately": "yes",
        "KeepActivityStream": "yes",
    }


@pytest.fixture
def send(streams, properties):
    return sender(streams, properties)


def sender(streams, properties):
    """Send a request as CloudFormation does, which remembers the physical id; the answer."""
    answered = []
    resource = StreamResource(streams, lambda url, body: answered.append((url, json.loads(body))))
    physical = {}

    def send(kind, context=None, **changed):
        event = {
            "RequestType": kind,
            "ResponseURL": URL,
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/activity/1",
            "RequestId": f"request-{next(NUMBERS)}",
            "ResourceType": "Custom::ActivityStream",
            "LogicalResourceId": "ActivityStream",
            "ResourceProperties": properties | changed,
        } | physical
        resource(event, context or Context())
        ((url, answer),) = answered
        answered.clear()
        assert url == URL
        for name in ("StackId", "RequestId", "LogicalResourceId"):
            assert answer[name] == event[name]
        assert len(json.dumps(answer)) < 4096
        assert (answer["Status"] == "FAILED") == ("Reason" in answer)
        if kind == "Delete":
            assert answer["PhysicalResourceId"] == event["PhysicalResourceId"]
        physical["PhysicalResourceId"] = answer["PhysicalResourceId"]
        return answer

    return send


def state(streams, cluster):
    return streams.status(cluster["DBClusterArn"]).status


def test_create_starts_and_tells_the_streams_name(send, streams, cluster):
    answer = send("Create")

    assert answer["Status"] == "SUCCESS"
    assert answer["Data"] == {
        "StreamName": f"aws-rds-das-{cluster['DbClusterResourceId']}",
        "Status": "started",
    }
    assert answer["PhysicalResourceId"] == f"activity-stream-of-{cluster['DbClusterResourceId']}"
    assert state(streams, cluster) == "started"


def test_repeated_requests_give_the_same_answer(send, streams, cluster):
    first, again = send("Create"), send("Create")
    assert {k: v for k, v in first.items() if k != "RequestId"} == {
        k: v for k, v in again.items() if k != "RequestId"
    }
    for _ in range(2):
        assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"
        assert state(streams, cluster) == "stopped"


def test_running_stream_is_adopted(send, streams, cluster, key):
    streams.start(cluster["DBClusterArn"], kms_key_id=key, mode="async", apply_immediately=True)

    assert send("Create")["Status"] == "SUCCESS"


def test_delete_keeps_the_stream_unless_told_otherwise(send, streams, cluster):
    send("Create")

    assert send("Delete")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "started"
    assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "stopped"


def test_delete_waits_for_a_start_under_way(send, streams, cluster, key):
    send("Create")
    streams.stop(cluster["DBClusterArn"], apply_immediately=True)
    streams.wait(cluster["DBClusterArn"], "stopped")
    streams.start(cluster["DBClusterArn"], kms_key_id=key, mode="async", apply_immediately=True)

    assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "stopped"


def test_create_waits_for_a_stop_under_way(send, streams, cluster, key):
    streams.start(cluster["DBClusterArn"], kms_key_id=key, mode="async", apply_immediately=True)
    streams.wait(cluster["DBClusterArn"], "started")
    streams.stop(cluster["DBClusterArn"], apply_immediately=True)

    assert send("Create")["Status"] == "SUCCESS"


def test_delete_of_a_database_that_is_gone_succeeds(send, aws, cluster):
    send("Create")
    aws.client("rds").delete_db_cluster(
        DBClusterIdentifier=cluster["DBClusterIdentifier"], SkipFinalSnapshot=True
    )

    assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"


def test_update_that_changes_nothing_of_the_stream_succeeds(send, streams, cluster):
    created = send("Create")

    updated = send("Update", KeepActivityStream="no", ApplyImmediately="no")

    assert updated["Status"] == "SUCCESS"
    assert updated["PhysicalResourceId"] == created["PhysicalResourceId"]


def test_update_starts_what_was_stopped_meanwhile(send, streams, cluster):
    send("Create")
    streams.stop(cluster["DBClusterArn"], apply_immediately=True)

    assert send("Update")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "started"


def test_update_to_another_mode_is_refused_and_its_rollback_succeeds(send, streams, cluster):
    created = send("Create")

    refused = send("Update", Mode="sync")
    assert refused["Status"] == "FAILED"
    assert "another key or mode: stop it first" in refused["Reason"]
    assert refused["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert send("Update")["Status"] == "SUCCESS"
    assert streams.status(cluster["DBClusterArn"]).mode == "async"


def test_rollback_leaves_a_stream_alone_that_was_refused(send, streams, cluster, aws):
    other = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    streams.start(cluster["DBClusterArn"], kms_key_id=other, mode="async", apply_immediately=True)
    streams.wait(cluster["DBClusterArn"], "started")

    refused = send("Create", KeepActivityStream="no")
    assert refused["Status"] == "FAILED"
    assert refused["PhysicalResourceId"] == NOTHING
    assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "started"


def test_start_that_takes_too_long_fails_and_is_adopted_later(send, streams, cluster, gate):
    gate.is_open.clear()
    answer = send("Create", Context(seconds=30.2))
    gate.is_open.set()

    assert answer["Status"] == "FAILED"
    assert "still starting" in answer["Reason"]
    assert send("Delete")["Status"] == "SUCCESS"
    assert send("Create")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "started"


def test_rollback_stops_what_was_started_if_told_so(send, streams, cluster, gate):
    gate.is_open.clear()
    assert send("Create", Context(seconds=30.2))["Status"] == "FAILED"
    gate.is_open.set()

    assert send("Delete", KeepActivityStream="no")["Status"] == "SUCCESS"
    assert state(streams, cluster) == "stopped"


class WaitsForTheWindow:
    """An RDS that takes a start for later."""

    def __init__(self, client):
        self._client = client

    def start_activity_stream(self, **asked):
        assert asked["ApplyImmediately"] is False

    def __getattr__(self, name):
        return getattr(self._client, name)


def test_start_that_waits_for_the_maintenance_window_tells_it(aws, properties):
    streams = ActivityStreams(WaitsForTheWindow(aws.client("rds")), poll_seconds=0.02)
    answer = sender(streams, properties)("Create", Context(seconds=30.2), ApplyImmediately="no")

    assert answer["Status"] == "FAILED"
    assert "still stopped" in answer["Reason"]
    assert "waits for the maintenance window (" in answer["Reason"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ResourceId": "cluster-ANOTHER"}, "give ResourceId and ResourceArn of the same database"),
        ({"KmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/none"}, "customer managed key"),
        ({"ResourceArn": "arn:aws:rds:us-east-1:123456789012:cluster:none"}, "no cluster"),
        ({"ResourceArn": None}, "properties"),
    ],
    ids=["id", "key", "arn", "shape"],
)
def test_refusals_say_what_to_do(send, streams, cluster, changed, reason):
    answer = send("Create", **changed)

    assert answer["Status"] == "FAILED"
    assert reason in answer["Reason"]
    assert send("Delete", **changed)["Status"] == "SUCCESS"
    assert state(streams, cluster) == "stopped"


def test_instance_has_native_fields(aws, streams, send, key):
    rds = aws.client("rds")
    made = rds.create_db_instance(
        DBInstanceIdentifier="stock-ledger",
        DBInstanceClass="db.r5.large",
        AllocatedStorage=100,
        Engine="sqlserver-ee",
        MasterUsername="davide",
        MasterUserPassword="not-used-by-anything",
    )["DBInstance"]
    of_instance = {
        "ResourceArn": made["DBInstanceArn"],
        "ResourceId": made["DbiResourceId"],
        "NativeAuditFields": "yes",
        "KeepActivityStream": "no",
    }

    assert send("Create", **of_instance)["Status"] == "SUCCESS"
    status = streams.status(made["DBInstanceArn"])
    assert (status.status, status.native_audit_fields) == ("started", True)
    assert send("Delete", **of_instance)["Status"] == "SUCCESS"
    assert streams.status(made["DBInstanceArn"]).status == "stopped"


def test_answers_go_over_https_only():
    with pytest.raises(ConfigError):
        _put("http://example.com", b"")
