from __future__ import annotations

import re
import threading
import time

import pytest
from botocore.exceptions import ClientError

from dastream.errors import SourceError
from dastream.local.endpoint import Endpoint

MEMBERS = ("Status", "Mode", "KmsKeyId", "KinesisStreamName")


class Host:
    """Writes down what it is told, with what the endpoint shows at that time."""

    def __init__(self):
        self.endpoint = None
        self.calls = []
        self.error = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def start(self, stream):
        self._note("start", stream)

    def stop(self, stream):
        self._note("stop", stream)

    def _note(self, name, stream):
        assert self.may_go_on.wait(10)
        summary = self.endpoint.client("kinesis").describe_stream_summary(StreamName=stream.stream)
        shown = summary["StreamDescriptionSummary"]
        self.calls.append((name, stream, shown["OpenShardCount"], shown["RetentionPeriodHours"]))
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture(scope="module")
def endpoint(host):
    with Endpoint(activity_streams=host) as endpoint:
        host.endpoint = endpoint
        yield endpoint


@pytest.fixture(autouse=True)
def _calm_host(host):
    host.calls, host.error = [], None
    host.may_go_on.set()


@pytest.fixture
def rds(endpoint):
    return endpoint.client("rds")


@pytest.fixture(scope="module")
def key(endpoint):
    return endpoint.client("kms").create_key()["KeyMetadata"]["Arn"]


def create_cluster(rds, engine="aurora-postgresql"):
    return rds.create_db_cluster(
        DBClusterIdentifier="audited",
        Engine=engine,
        MasterUsername="admin1",
        MasterUserPassword="not-a-secret",
    )["DBCluster"]


@pytest.fixture
def cluster(rds):
    cluster = create_cluster(rds)
    yield cluster
    if rds.describe_db_clusters()["DBClusters"]:
        wait_for(rds, "started", "stopped")
        delete(rds, cluster)


@pytest.fixture
def instance(rds):
    _, instance = (create_instance(rds, name, "oracle-ee") for name in ("oracle-1", "oracle-2"))
    yield instance
    for name in ("oracle-1", "oracle-2"):
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def create_instance(rds, name, engine):
    return rds.create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.r5.large",
        Engine=engine,
        AllocatedStorage=20,
        MasterUsername="admin1",
        MasterUserPassword="not-a-secret",
    )["DBInstance"]


def delete(rds, cluster):
    identifier = cluster["DBClusterIdentifier"]
    rds.delete_db_cluster(DBClusterIdentifier=identifier, SkipFinalSnapshot=True)


def described(rds):
    return rds.describe_db_clusters()["DBClusters"][0]


def described_instance(rds):
    return rds.describe_db_instances(DBInstanceIdentifier="oracle-2")["DBInstances"][0]


def fields(resource):
    return {name: resource.get(f"ActivityStream{name}") for name in MEMBERS}


def wait_for(rds, *states, describe=described):
    deadline = time.monotonic() + 10
    while (found := describe(rds))["ActivityStreamStatus"] not in states:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def fault(call, **arguments):
    with pytest.raises(ClientError) as excinfo:
        call(**arguments)
    return excinfo.value.response["Error"]["Code"]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_goes_through_all_states_and_the_stream_appears_and_goes(
    *, endpoint, rds, host, key, cluster, mode
):
    kinesis = endpoint.client("kinesis")
    resource_id = cluster["DbClusterResourceId"]
    name = f"aws-rds-das-{resource_id}"
    arn = cluster["DBClusterArn"]
    assert re.fullmatch(r"cluster-[A-Z0-9]{26}", resource_id)
    assert fields(described(rds)) == dict.fromkeys(MEMBERS) | {"Status": "stopped"}
    shown = {"Mode": mode, "KmsKeyId": key, "KinesisStreamName": name}

    host.may_go_on.clear()
    reply = rds.start_activity_stream(
        ResourceArn=arn, Mode=mode, KmsKeyId=key, ApplyImmediately=True
    )
    assert reply.pop("ResponseMetadata")
    assert reply == shown | {"Status": "starting", "ApplyImmediately": True}
    assert fields(described(rds)) == shown | {"Status": "starting"}
    host.may_go_on.set()
    assert fields(wait_for(rds, "started")) == shown | {"Status": "started"}
    assert kinesis.list_streams()["StreamNames"] == [name]

    host.may_go_on.clear()
    reply = rds.stop_activity_stream(ResourceArn=arn)
    assert reply.pop("ResponseMetadata")
    assert reply == {"Status": "stopping", "KmsKeyId": key, "KinesisStreamName": name}
    assert fields(described(rds)) == shown | {"Status": "stopping"}
    assert kinesis.list_streams()["StreamNames"] == [name]
    host.may_go_on.set()
    stopped = wait_for(rds, "stopped")
    assert fields(stopped) == dict.fromkeys(MEMBERS) | {"Status": "stopped"}
    assert kinesis.list_streams()["StreamNames"] == []

    assert [(call, shards, hours) for call, _, shards, hours in host.calls] == [
        ("start", 2, 24),
        ("stop", 2, 24),
    ]
    for _, stream, _, _ in host.calls:
        assert (stream.resource_id, stream.arn, stream.stream) == (resource_id, arn, name)
        assert (stream.kms_key_arn, stream.mode) == (key, mode)
        assert stream.engine == "aurora-postgresql"


def test_instances_have_ids_and_activity_streams_of_their_own(rds, key, instance):
    other, ours = rds.describe_db_instances()["DBInstances"]
    assert other["DbiResourceId"] != ours["DbiResourceId"]
    assert re.fullmatch(r"db-[A-Z0-9]{26}", ours["DbiResourceId"])
    arn = instance["DBInstanceArn"]
    reply = rds.start_activity_stream(
        ResourceArn=arn, Mode="async", KmsKeyId=key, EngineNativeAuditFieldsIncluded=True
    )
    assert reply["KinesisStreamName"] == f"aws-rds-das-{instance['DbiResourceId']}"
    assert reply["EngineNativeAuditFieldsIncluded"] is True
    shown = wait_for(rds, "started", describe=described_instance)
    assert shown["ActivityStreamEngineNativeAuditFieldsIncluded"] is True
    assert shown["ActivityStreamPolicyStatus"] == "locked"
    assert (
        fault(rds.start_activity_stream, ResourceArn=arn, Mode="async", KmsKeyId=key)
        == "InvalidDBInstanceState"
    )
    rds.stop_activity_stream(ResourceArn=arn)
    wait_for(rds, "stopped", describe=described_instance)


def test_a_wrong_state_is_refused(rds, host, key, cluster):
    arn = cluster["DBClusterArn"]
    start = {"ResourceArn": arn, "Mode": "async", "KmsKeyId": key}
    invalid = "InvalidDBClusterStateFault"
    assert fault(rds.stop_activity_stream, ResourceArn=arn) == invalid
    host.may_go_on.clear()
    rds.start_activity_stream(**start)
    assert fault(rds.start_activity_stream, **start) == invalid
    assert fault(rds.stop_activity_stream, ResourceArn=arn) == invalid
    host.may_go_on.set()
    wait_for(rds, "started")
    assert fault(rds.start_activity_stream, **start) == invalid


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        ("arn:aws:rds:us-east-1:123456789012:cluster:none", "DBClusterNotFoundFault"),
        ("arn:aws:rds:us-east-1:123456789012:db:none", "DBInstanceNotFound"),
        ("arn:aws:rds:us-east-1:123456789012:snapshot:none", "ResourceNotFoundFault"),
        ("audited", "ResourceNotFoundFault"),
    ],
)
def test_an_unknown_resource_is_refused(rds, key, cluster, arn, expected):
    start = {"ResourceArn": arn, "Mode": "async", "KmsKeyId": key}
    assert fault(rds.start_activity_stream, **start) == expected
    assert fault(rds.stop_activity_stream, ResourceArn=arn) == expected


def test_a_key_that_cannot_be_used_is_refused(endpoint, rds, cluster):
    kms = endpoint.client("kms")
    disabled, deleted = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    kms.disable_key(KeyId=disabled)
    kms.schedule_key_deletion(KeyId=deleted)
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    aliases = ("alias/none", "alias/aws/rds")
    for key in (disabled, deleted, signing, "none", *aliases, disabled[:-1]):
        start = {"ResourceArn": cluster["DBClusterArn"], "Mode": "async", "KmsKeyId": key}
        assert fault(rds.start_activity_stream, **start) == "KMSKeyNotAccessibleFault"
    assert described(rds)["ActivityStreamStatus"] == "stopped"


def test_a_key_is_found_by_id_arn_and_alias(endpoint, rds, key, cluster):
    endpoint.client("kms").create_alias(AliasName="alias/das", TargetKeyId=key)
    alias_arn = f"{key.rsplit(':', 1)[0]}:alias/das"
    for name in (key, key.rsplit("/", 1)[1], "alias/das", alias_arn):
        start = {"ResourceArn": cluster["DBClusterArn"], "Mode": "async", "KmsKeyId": name}
        assert rds.start_activity_stream(**start)["KmsKeyId"] == key
        wait_for(rds, "started")
        rds.stop_activity_stream(ResourceArn=cluster["DBClusterArn"])
        wait_for(rds, "stopped")


def test_an_unknown_mode_is_refused(rds, key, cluster):
    start = {"ResourceArn": cluster["DBClusterArn"], "Mode": "later", "KmsKeyId": key}
    assert fault(rds.start_activity_stream, **start) == "InvalidParameterValue"


def test_only_aurora_postgresql_can_wait_for_its_activity_stream(rds, key, instance):
    cluster = create_cluster(rds, engine="aurora-mysql")
    for arn in (cluster["DBClusterArn"], instance["DBInstanceArn"]):
        start = {"ResourceArn": arn, "KmsKeyId": key}
        assert fault(rds.start_activity_stream, **start, Mode="sync") == "InvalidParameterValue"
        assert rds.start_activity_stream(**start, Mode="async")["Mode"] == "async"
    wait_for(rds, "started")
    delete(rds, cluster)


def test_an_engine_without_activity_streams_is_refused(rds, key):
    instance = create_instance(rds, "plain", "postgres")
    start = {"ResourceArn": instance["DBInstanceArn"], "Mode": "async", "KmsKeyId": key}
    assert fault(rds.start_activity_stream, **start) == "InvalidParameterValue"
    rds.delete_db_instance(DBInstanceIdentifier="plain", SkipFinalSnapshot=True)


def test_an_instance_of_a_cluster_has_none_of_its_own(rds, key, cluster):
    member = rds.create_db_instance(
        DBInstanceIdentifier="member",
        DBClusterIdentifier=cluster["DBClusterIdentifier"],
        DBInstanceClass="db.r6g.large",
        Engine="aurora-postgresql",
    )["DBInstance"]
    start = {"ResourceArn": member["DBInstanceArn"], "Mode": "async", "KmsKeyId": key}
    assert fault(rds.start_activity_stream, **start) == "InvalidDBInstanceState"
    rds.delete_db_instance(DBInstanceIdentifier="member", SkipFinalSnapshot=True)


def test_a_cluster_of_one_name_can_be_made_again_at_once(rds):
    ids = set()
    for _ in range(3):
        cluster = create_cluster(rds)
        ids.add(cluster["DbClusterResourceId"])
        delete(rds, cluster)
    assert len(ids) == 3


class TestModify:
    def test_an_audit_policy_is_unlocked_and_locked(self, rds, key, instance):
        arn = instance["DBInstanceArn"]
        rds.start_activity_stream(ResourceArn=arn, Mode="async", KmsKeyId=key)
        shown = wait_for(rds, "started", describe=described_instance)
        assert shown["ActivityStreamPolicyStatus"] == "locked"
        reply = rds.modify_activity_stream(ResourceArn=arn, AuditPolicyState="unlocked")
        stream = f"aws-rds-das-{instance['DbiResourceId']}"
        assert (reply["PolicyStatus"], reply["Status"]) == ("unlocked", "started")
        assert (reply["KinesisStreamName"], reply["Mode"]) == (stream, "async")
        assert described_instance(rds)["ActivityStreamPolicyStatus"] == "unlocked"
        assert rds.modify_activity_stream(ResourceArn=arn)["PolicyStatus"] == "locked"
        modify = {"ResourceArn": arn, "AuditPolicyState": "ajar"}
        assert fault(rds.modify_activity_stream, **modify) == "InvalidParameterValue"

    def test_a_stopped_activity_stream_is_refused(self, rds, instance):
        modify = {"ResourceArn": instance["DBInstanceArn"], "AuditPolicyState": "unlocked"}
        assert fault(rds.modify_activity_stream, **modify) == "InvalidDBInstanceState"

    @pytest.mark.parametrize(
        ("arn", "expected"),
        [
            ("arn:aws:rds:us-east-1:123456789012:cluster:audited", "ResourceNotFoundFault"),
            ("arn:aws:rds:us-east-1:123456789012:db:none", "DBInstanceNotFound"),
            ("none", "ResourceNotFoundFault"),
        ],
    )
    def test_what_is_no_instance_is_refused(self, rds, cluster, arn, expected):
        assert fault(rds.modify_activity_stream, ResourceArn=arn) == expected


@pytest.mark.parametrize(
    ("error", "logged"),
    [(SourceError("log: cannot be read"), "log: cannot be read"), (OSError("secret"), "OSError")],
)
def test_a_host_that_cannot_start_leaves_it_stopped(
    *, endpoint, rds, host, key, cluster, caplog, error, logged
):
    host.error = error
    start = {"ResourceArn": cluster["DBClusterArn"], "Mode": "async", "KmsKeyId": key}
    rds.start_activity_stream(**start)
    assert fields(wait_for(rds, "stopped")) == dict.fromkeys(MEMBERS) | {"Status": "stopped"}
    assert endpoint.client("kinesis").list_streams()["StreamNames"] == []
    assert f"did not start: {logged}" in caplog.text
    assert "secret" not in caplog.text
    host.error = None
    rds.start_activity_stream(**start)
    wait_for(rds, "started")


def test_a_host_that_cannot_stop_leaves_it_stopped(*, endpoint, rds, host, key, cluster, caplog):
    arn = cluster["DBClusterArn"]
    rds.start_activity_stream(ResourceArn=arn, Mode="async", KmsKeyId=key)
    wait_for(rds, "started")
    host.error = OSError("secret")
    rds.stop_activity_stream(ResourceArn=arn)
    wait_for(rds, "stopped")
    assert endpoint.client("kinesis").list_streams()["StreamNames"] == []
    assert "broke off: OSError" in caplog.text
    assert "secret" not in caplog.text


def test_a_foreign_stream_of_that_name_is_left_alone(*, endpoint, rds, host, key, cluster, caplog):
    kinesis = endpoint.client("kinesis")
    name = f"aws-rds-das-{cluster['DbClusterResourceId']}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    rds.start_activity_stream(ResourceArn=cluster["DBClusterArn"], Mode="async", KmsKeyId=key)
    wait_for(rds, "stopped")
    assert host.calls == []
    assert kinesis.list_streams()["StreamNames"] == [name]
    kinesis.delete_stream(StreamName=name)
    assert "ResourceInUse" in caplog.text


def test_deleting_the_cluster_stops_the_activity_stream(endpoint, rds, host, key, cluster):
    host.may_go_on.clear()
    rds.start_activity_stream(ResourceArn=cluster["DBClusterArn"], Mode="async", KmsKeyId=key)
    delete(rds, cluster)
    host.may_go_on.set()
    deadline = time.monotonic() + 10
    while len(host.calls) < 2 or endpoint.client("kinesis").list_streams()["StreamNames"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [call[0] for call in host.calls] == ["start", "stop"]


def test_stopping_the_endpoint_stops_what_runs(endpoint, host, rds, key):
    # Last in this module: after it, the endpoint has none of what the other tests share.
    cluster = create_cluster(rds)
    before = {t for t in threading.enumerate() if t.name.startswith("activity-stream")}
    rds.start_activity_stream(ResourceArn=cluster["DBClusterArn"], Mode="async", KmsKeyId=key)
    endpoint.stop()
    assert [call[0] for call in host.calls] == ["start", "stop"]
    assert not {t for t in threading.enumerate() if t.name.startswith("activity-stream")} - before
    endpoint.start()
