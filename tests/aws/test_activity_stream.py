import itertools
import json

import pytest
from botocore.exceptions import ClientError

from dastream.aws.activity_stream import ActivityStreams
from dastream.cli.app import run_app
from dastream.errors import ConfigError, ServiceError

PASSWORD = "not-used-by-anything"
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def kms_key_id(endpoint):
    return endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]


@pytest.fixture
def cluster(aws):
    """A cluster without an activity stream, under a name that moto has not seen yet."""
    name = f"orders-{next(NUMBERS)}"
    rds = aws.client("rds")
    made = rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="davide",
        MasterUserPassword=PASSWORD,
    )["DBCluster"]
    yield made
    rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


@pytest.fixture
def name(cluster):
    return cluster["DBClusterIdentifier"]


@pytest.fixture
def instance(aws):
    """An instance of an engine that has activity streams at instances."""
    rds = aws.client("rds")
    made = rds.create_db_instance(
        DBInstanceIdentifier="stock",
        DBInstanceClass="db.r5.large",
        AllocatedStorage=100,
        Engine="sqlserver-ee",
        MasterUsername="davide",
        MasterUserPassword=PASSWORD,
    )["DBInstance"]
    yield made
    rds.delete_db_instance(DBInstanceIdentifier="stock", SkipFinalSnapshot=True)


@pytest.fixture
def streams(aws):
    return ActivityStreams(aws.client("rds"), poll_seconds=0.02)


def start(streams, resource, kms_key_id):
    streams.start(resource, kms_key_id=kms_key_id, mode="async", apply_immediately=True)
    return streams.wait(resource, "started")


def test_resource_is_found_by_identifier_arn_and_resource_id(streams, cluster, instance):
    for item, names in (
        (cluster, ("DBClusterIdentifier", "DBClusterArn", "DbClusterResourceId")),
        (instance, ("DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId")),
    ):
        found = {streams.status(item[name]) for name in names}
        assert len(found) == 1
        (status,) = found
        assert (status.identifier, status.arn, status.resource_id) == tuple(
            item[name] for name in (names[0], names[1], names[2])
        )
        assert (status.status, status.mode, status.stream) == ("stopped", None, None)


def test_resource_that_is_not_there_is_a_config_error(streams, cluster):
    for name in ("order", "", "cluster-NONE"):
        with pytest.raises(ConfigError, match="no cluster or instance"):
            streams.status(name)


def test_started_stream_is_there_under_its_name(streams, cluster, name, kms_key_id, aws):
    changes = []
    streams.start(name, kms_key_id=kms_key_id, mode="async", apply_immediately=True)
    started = streams.wait(name, "started", changes.append)

    resource_id = cluster["DbClusterResourceId"]
    assert (started.status, started.mode) == ("started", "async")
    assert started.stream == f"aws-rds-das-{resource_id}"
    assert kms_key_id in started.kms_key_id
    assert {status.status for status in changes} <= {"starting"}
    names = aws.client("kinesis").list_streams()["StreamNames"]
    assert started.stream in names


def test_stopped_stream_is_gone(streams, name, kms_key_id, aws):
    started = start(streams, name, kms_key_id)

    streams.stop(name, apply_immediately=True)
    stopped = streams.wait(name, "stopped")

    assert (stopped.status, stopped.mode, stopped.stream) == ("stopped", None, None)
    assert started.stream not in aws.client("kinesis").list_streams()["StreamNames"]


def test_instance_has_a_stream_of_its_own(streams, instance, kms_key_id):
    started = start(streams, "stock", kms_key_id)

    assert started.stream == f"aws-rds-das-{instance['DbiResourceId']}"


def test_change_that_is_made_already_is_refused_before_rds_is_asked(streams, name, kms_key_id):
    with pytest.raises(ServiceError, match="it is stopped already"):
        streams.stop(name, apply_immediately=True)

    start(streams, name, kms_key_id)
    with pytest.raises(ServiceError, match="it is started already") as caught:
        streams.start(name, kms_key_id=kms_key_id, mode="async", apply_immediately=True)
    assert "dastream stream status" in caught.value.hint


def test_key_that_rds_may_not_use_is_explained(streams, name):
    with pytest.raises(ServiceError, match="KMSKeyNotAccessibleFault") as caught:
        streams.start(name, kms_key_id="alias/none", mode="async", apply_immediately=True)
    assert "customer managed key" in caught.value.hint


class Refusing:
    """An RDS that refuses to start, with a code, the activity stream of one database."""

    def __init__(self, code, *, kind="cluster", **members):
        self._code = code
        self._members = members
        self._kind = kind

    def describe_db_clusters(self, **_):
        return self._described("cluster", "DBClusters", "DBClusterIdentifier DbClusterResourceId")

    def describe_db_instances(self, **_):
        return self._described("db", "DBInstances", "DBInstanceIdentifier DbiResourceId")

    def _described(self, kind, items, names):
        if kind != self._kind:
            return {items: []}
        arn = f"arn:aws:rds:eu-south-2:123456789012:{kind}:orders"
        item = dict.fromkeys(names.split(), "orders")
        item["DBClusterArn" if kind == "cluster" else "DBInstanceArn"] = arn
        return {items: [item | self._members]}

    def start_activity_stream(self, **_):
        raise ClientError({"Error": {"Code": self._code}}, "StartActivityStream")


@pytest.mark.parametrize(
    ("rds", "mode", "hint"),
    [
        (
            Refusing("InvalidParameterValue", Engine="aurora-mysql"),
            "sync",
            "only Aurora PostgreSQL has mode sync",
        ),
        (
            Refusing("InvalidParameterCombination", kind="db", Engine="aurora-postgresql"),
            "async",
            "name the cluster",
        ),
        (
            Refusing(
                "InvalidParameterCombination",
                kind="db",
                Engine="oracle-ee",
                EngineVersion="19.0.0.0",
                DBInstanceClass="db.t3.small",
            ),
            "async",
            "oracle-ee 19.0.0.0 on db.t3.small in eu-south-2: not every engine version, instance",
        ),
        (
            Refusing("InvalidParameterCombination", Engine="aurora-mysql", EngineVersion="5.6"),
            "async",
            "aurora-mysql 5.6 in eu-south-2: not every engine version",
        ),
        (Refusing("AccessDenied", Engine="aurora-mysql"), "async", "allow rds:StartActivityStream"),
        (Refusing("InvalidDBInstanceState", Engine="oracle-ee"), "async", "busy"),
    ],
    ids=["mode", "member of a cluster", "class", "version", "permission", "state"],
)
def test_refusals_of_rds_are_explained(rds, mode, hint):
    with pytest.raises(ServiceError, match=rds._code) as caught:
        ActivityStreams(rds).start("orders", kms_key_id="k", mode=mode, apply_immediately=True)
    assert hint in caught.value.hint


def test_native_fields_are_asked_for_and_shown(streams, instance, kms_key_id, capsys):
    streams.start(
        "stock",
        kms_key_id=kms_key_id,
        mode="async",
        apply_immediately=True,
        native_audit_fields=True,
    )

    assert streams.wait("stock", "started").native_audit_fields is True
    assert run_app(["stream", "status", "stock"]) == 0
    assert "native fields    yes" in capsys.readouterr().out


def test_wait_ends_when_a_start_has_failed():
    """RDS goes back from starting to stopped, for one where the key's policy forbids it."""

    class Failing:
        states = iter(["starting", "starting", "stopped"])

        def describe_db_clusters(self):
            item = {"Engine": "aurora-postgresql", "ActivityStreamStatus": next(self.states)}
            names = ("DBClusterIdentifier", "DbClusterResourceId", "DBClusterArn")
            return {"DBClusters": [item | dict.fromkeys(names, "orders")]}

    with pytest.raises(ServiceError, match="starting, and then stopped again"):
        ActivityStreams(Failing(), poll_seconds=0).wait("orders", "started")


def test_all_pages_are_looked_through():
    class Paged:
        """RDS with one cluster a page."""

        def describe_db_clusters(self, Marker="0"):  # noqa: N803 - the API's spelling
            names = ("DBClusterIdentifier", "DbClusterResourceId", "DBClusterArn")
            item = {"Engine": "aurora-mysql"} | dict.fromkeys(names, f"c{Marker}")
            following = {"Marker": str(int(Marker) + 1)} if Marker != "2" else {}
            return {"DBClusters": [item]} | following

    assert ActivityStreams(Paged()).status("c2").engine == "aurora-mysql"


def test_command_starts_shows_and_stops(name, kms_key_id, capsys):
    begun = run_app(["stream", "start", name, "--kms-key-id", kms_key_id, "--json"])
    started = json.loads(capsys.readouterr().out)
    assert (begun, started["status"]) == (0, "started")

    assert run_app(["stream", "status", name]) == 0
    shown = capsys.readouterr().out
    assert "started" in shown
    assert started["stream"] in shown
    assert started["maintenance_window"] in shown

    assert run_app(["stream", "stop", name, "--apply-immediately", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"


def test_command_tells_what_is_wrong_in_a_line_and_a_hint(name, capsys):
    assert run_app(["stream", "status", "none"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: activity stream: no cluster or instance of this name",
        "hint: check the name and the region (AWS_REGION)",
    ]
    assert run_app(["stream", "stop", name]) == 1
    assert "it is stopped already" in capsys.readouterr().err
    assert run_app(["stream", "start", name]) == 2
    assert "--kms-key-id" in capsys.readouterr().err
