"""The policies of the template against the calls that are really made: nothing missing, nothing
superfluous.

Each test does what a role is for, on the local endpoint, and collects the calls by botocore's
event hook. What AWS's services call with a role stands in `MADE_BY_SERVICES`, with the reason.
"""

from fnmatch import fnmatchcase

import pytest
from template import ACCOUNT, REGION, Stack, as_list

from dastream.aws import firehose, kinesis
from dastream.aws.activity_stream import ActivityStreams
from dastream.aws.stream_resource import StreamResource
from dastream.clients import open_client, session
from dastream.local.event_source import EventSourceMapping
from dastream.local.firehose import DeliveryStream
from dastream.settings import Settings
from dastream.storage import S3Storage
from pipelines import GARBAGE, statements
from streamed import streamed
from support import CLUSTER, entry

BUCKET = "activity-bucket"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:activity"

MADE_BY_SERVICES = {
    ("DeliveryRole", "ReadTheStream"): "the event source mapping reads the stream",
    ("DeliveryRole", "KeepWhatLambdaGaveUp"): "the event source mapping writes what it gives up",
    ("DeliveryRole", "Log"): "Lambda writes the function's output",
    ("TransformRole", "Log"): "Lambda writes the function's output",
    ("ActivityStreamRole", "LetRdsUseTheKey"): "RDS makes its grant for who starts the stream",
    ("ActivityStreamRole", "LetRdsLookAtTheKey"): "RDS looks at the key for who starts the stream",
    ("ActivityStreamRole", "Log"): "Lambda writes the function's output",
    ("FirehoseRole", "ReadTheStream"): "Firehose reads its source",
    ("FirehoseRole", "InvokeTheTransformation"): "Firehose invokes the function",
    ("FirehoseRole", "WriteTheLake"): "Firehose writes objects, large ones in parts",
    ("FirehoseRole", "FindTheBucket"): "Firehose looks for the bucket and for parts left over",
    ("FirehoseRole", "Log"): "Firehose writes its own log",
}


class Calls(list):
    """Calls as IAM sees them: action, resource, and the context that conditions may ask for."""

    def add(self, params, model, **_):
        service, operation = model.service_model.endpoint_prefix, model.name
        self.extend(_IAM[service, operation](params))


def _decrypt(params):
    context = {
        f"kms:EncryptionContext:{name}": value
        for name, value in params["EncryptionContext"].items()
    }
    yield "kms:Decrypt", params["KeyId"], context


def _s3(action):
    def calls(params):
        yield action, f"arn:aws:s3:::{params['Bucket']}/{params['Key']}", {}

    return calls


def _get(params):
    yield from _s3("s3:GetObject")(params)
    # Of an object that is not there, S3 tells only who may list.
    yield "s3:ListBucket", f"arn:aws:s3:::{params['Bucket']}", {}


def _rds(action, name):
    def calls(params):
        yield action, params[name], {}

    return calls


_IAM = {
    ("kms", "Decrypt"): _decrypt,
    ("s3", "PutObject"): _s3("s3:PutObject"),
    ("s3", "GetObject"): _get,
    ("rds", "DescribeDBClusters"): _rds("rds:DescribeDBClusters", "DBClusterIdentifier"),
    ("rds", "DescribeDBInstances"): _rds("rds:DescribeDBInstances", "DBInstanceIdentifier"),
    ("rds", "StartActivityStream"): _rds("rds:StartActivityStream", "ResourceArn"),
    ("rds", "StopActivityStream"): _rds("rds:StopActivityStream", "ResourceArn"),
}


@pytest.fixture
def calls(aws):
    """The calls of the clients that dastream opens during the test."""
    calls = Calls()
    hook = "provide-client-params.*.*", calls.add
    session(None).events.register(*hook)
    yield calls
    session(None).events.unregister(*hook)


@pytest.fixture
def key_arn(aws):
    return aws.client("kms").create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def database(aws):
    """A cluster and an instance, by the type of resource: ARN and id."""
    rds = aws.client("rds")
    credentials = {"MasterUsername": "davide", "MasterUserPassword": "not-used-by-anything"}
    cluster = rds.create_db_cluster(
        DBClusterIdentifier="policies", Engine="aurora-postgresql", **credentials
    )["DBCluster"]
    instance = rds.create_db_instance(
        DBInstanceIdentifier="policies",
        DBInstanceClass="db.r5.large",
        AllocatedStorage=100,
        Engine="oracle-ee",
        **credentials,
    )["DBInstance"]
    yield {
        "cluster": (cluster["DBClusterArn"], cluster["DbClusterResourceId"]),
        "instance": (instance["DBInstanceArn"], instance["DbiResourceId"]),
    }
    rds.delete_db_cluster(DBClusterIdentifier="policies", SkipFinalSnapshot=True)
    rds.delete_db_instance(DBInstanceIdentifier="policies", SkipFinalSnapshot=True)


@pytest.fixture
def records(aws, key_arn):
    with streamed(aws, BUCKET, [[entry()], GARBAGE], key_id=key_arn) as stream:
        yield stream


def stack(path="kinesis", kind="cluster", arn="arn:aws:rds:x:1:cluster:x", id=CLUSTER, key="key"):
    attributes = {
        "Bucket": BUCKET,
        "Bucket.Arn": f"arn:aws:s3:::{BUCKET}",
        "ActivityStream.StreamName": f"aws-rds-das-{id}",
        "TransformFunction.Arn": f"{FUNCTION}-transform",
        "FirehoseRole.Arn": "firehose-role",
        **{
            f"{log}.Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log}"
            for log in ("ActivityStreamLog", "DeliveryLog", "FirehoseLog")
        },
        "ActivityStreamFunction.Arn": f"{FUNCTION}-activity-stream",
        **{
            name: name
            for name in ("FirehoseLog", "FirehoseLogStream", "DeliveryFunction", "DeliveryLog")
        },
        "DeliveryRole.Arn": "delivery-role",
    }
    parameters = {
        "DeliveryPath": path,
        "ResourceType": kind,
        "ResourceArn": arn,
        "ResourceId": id,
        "KmsKeyArn": key,
    }
    return Stack(parameters, attributes)


def is_allowed(statement, action, resource, context):
    return (
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        and all(
            _is_met(operator, keys, context)
            for operator, keys in statement.get("Condition", {}).items()
        )
    )


def _is_met(operator, keys, context):
    assert operator in ("StringEquals", "Bool")
    return all(context.get(key) == value for key, value in keys.items())


def check(stack, role, calls):
    """Every call is allowed, and every permission is used by a call or by a service."""
    statements = stack.statements(role)
    assert calls
    for call in calls:
        assert any(is_allowed(statement, *call) for statement in statements), call
    for statement in statements:
        used = {call[0] for call in calls if is_allowed(statement, *call)}
        unused = set(as_list(statement["Action"])) - used
        is_of_service = (role, statement["Sid"]) in MADE_BY_SERVICES
        assert bool(unused) == is_of_service, (role, statement["Sid"], unused)


def test_delivery_role(aws, calls, records, key_arn):
    deployed = stack(key=key_arn)
    mapping = deployed.properties("DeliverySource")
    environment = deployed.properties("DeliveryFunction")["Environment"]["Variables"]
    settings = Settings.from_environment(environment, kms_key_id=key_arn, resource_id=CLUSTER)
    deliver = kinesis.open_handler(settings, open_client("kms"), log=lambda line: None)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is False

    for _ in range(2):  # the second time all is there
        EventSourceMapping(
            "delivery",
            source=mapping["EventSourceArn"].rpartition("/")[2],
            handler=lambda event, context: deliver(event),
            kinesis=aws.client("kinesis"),
            s3=aws.client("s3"),
            on_failure_bucket=mapping["DestinationConfig"]["OnFailure"]["Destination"],
            batch_records_max=mapping["BatchSize"],
            retries_max=mapping["MaximumRetryAttempts"],
        ).drain()

    assert statements(S3Storage(aws.client("s3"), BUCKET, "lake")).total() == 1
    check(deployed, "DeliveryRole", calls)


def test_transform_role(aws, calls, records, key_arn):
    """With the delivery stream as the template has it."""
    deployed = stack(path="firehose", key=key_arn)
    settings = Settings(kms_key_id=key_arn, resource_id=CLUSTER)
    transform = firehose.open_handler(settings, open_client("kms"), log=lambda line: None)
    properties = deployed.properties("Firehose")
    to_s3 = properties["ExtendedS3DestinationConfiguration"]
    assert to_s3["DynamicPartitioningConfiguration"]["Enabled"]
    (processor,) = to_s3["ProcessingConfiguration"]["Processors"]
    lambda_buffer = {p["ParameterName"]: p["ParameterValue"] for p in processor["Parameters"]}
    source = properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]

    stream = DeliveryStream(
        properties["DeliveryStreamName"],
        source=source.rpartition("/")[2],
        handler=lambda event, context: transform(event),
        bucket=to_s3["BucketARN"].rpartition(":")[2],
        prefix=to_s3["Prefix"],
        error_prefix=to_s3["ErrorOutputPrefix"],
        compression=to_s3["CompressionFormat"],
        extension=to_s3["FileExtension"],
        lambda_buffer_bytes_max=int(float(lambda_buffer["BufferSizeInMBs"]) * 2**20),
        buffer_bytes_max=to_s3["BufferingHints"]["SizeInMBs"] << 20,
        buffer_seconds_max=to_s3["BufferingHints"]["IntervalInSeconds"],
        kinesis=aws.client("kinesis"),
        s3=aws.client("s3"),
    )
    stream.start()
    stream.stop()

    lake = S3Storage(aws.client("s3"), BUCKET, "lake")
    assert statements(lake).total() == 1
    (failed,) = lake.list("processing-failed/")
    assert failed.key.count("/") == 5
    check(deployed, "TransformRole", calls)


@pytest.mark.parametrize("kind", ["cluster", "instance"])
def test_activity_stream_role(aws, calls, database, key_arn, kind):
    arn, id = database[kind]
    deployed = stack(kind=kind, arn=arn, id=id, key=key_arn)
    answers = []
    resource = StreamResource(
        ActivityStreams(open_client("rds"), poll_seconds=0.02),
        lambda url, body: answers.append(b'"SUCCESS"' in body),
    )
    properties = deployed.properties("ActivityStream") | {"KeepActivityStream": "no"}
    event = {
        "ResponseURL": "https://x",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "l",
        "ResourceProperties": properties,
    }

    class Context:
        def get_remaining_time_in_millis(self):
            return 900_000

    for request in ("Create", "Update", "Delete"):
        resource(event | {"RequestType": request, "PhysicalResourceId": "p"}, Context())

    assert answers == [True] * 3
    check(deployed, "ActivityStreamRole", calls)


def test_key_of_another_database_is_refused():
    """The same key wraps data keys of other databases: the context tells them apart."""
    for path, role in (("kinesis", "DeliveryRole"), ("firehose", "TransformRole")):
        (unwrap,) = [s for s in stack(path).statements(role) if "kms:Decrypt" in s["Action"]]
        ours = {"kms:EncryptionContext:aws:rds:dbc-id": CLUSTER}
        other = {"kms:EncryptionContext:aws:rds:dbc-id": "cluster-OTHER"}
        as_instance = {"kms:EncryptionContext:aws:rds:db-id": CLUSTER}
        assert is_allowed(unwrap, "kms:Decrypt", "key", ours)
        for context in (other, as_instance, {}):
            assert not is_allowed(unwrap, "kms:Decrypt", "key", context)


def test_what_services_do_is_there_and_has_its_reason():
    roles = {
        (role, statement["Sid"])
        for path in ("kinesis", "firehose")
        for role, resource in stack(path).resources.items()
        if resource["Type"] == "AWS::IAM::Role"
        for statement in stack(path).statements(role)
    }
    assert MADE_BY_SERVICES.keys() <= roles


@pytest.mark.parametrize("path", ["kinesis", "firehose"])
def test_nothing_is_allowed_on_everything(path):
    deployed = stack(path)
    for role, resource in deployed.resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        for statement in deployed.statements(role):
            for item in as_list(statement["Resource"]):
                assert item.startswith("arn:") or item == "key", (role, item)
            assert not any("*" in action for action in as_list(statement["Action"]))
