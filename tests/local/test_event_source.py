"""The event source mapping does with a handler's answers what the service documents."""

import base64
import json
import re

import pytest

from dastream.local.event_source import EventSourceMapping


@pytest.fixture
def mapping(endpoint, stream, bucket):
    def mapping(handler, **options):
        return EventSourceMapping(
            "delivery",
            source=stream,
            handler=handler,
            kinesis=endpoint.client("kinesis"),
            s3=endpoint.client("s3"),
            on_failure_bucket=bucket,
            **options,
        )

    return mapping


@pytest.fixture
def put(endpoint, stream):
    """Put data into one shard; returns the sequence numbers."""

    def put(*data):
        kinesis = endpoint.client("kinesis")
        return [
            kinesis.put_record(StreamName=stream, Data=one, PartitionKey="a")["SequenceNumber"]
            for one in data
        ]

    return put


@pytest.fixture
def given_up(endpoint, bucket):
    """The objects of what was given up, by key."""

    def given_up():
        s3 = endpoint.client("s3")
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            item["Key"]: json.load(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"])
            for item in found
        }

    return given_up


class Handler:
    """Answers with one after the other of given answers, and then with success."""

    def __init__(self, *answers):
        self.answers = [*answers]
        self.seen = []

    def __call__(self, event, context):
        assert context.get_remaining_time_in_millis() > 0
        records = event["Records"]
        self.seen.append([base64.b64decode(record["kinesis"]["data"]) for record in records])
        if not self.answers:
            return {"batchItemFailures": []}
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(records) if callable(answer) else answer


def report(*indexes):
    def answer(records):
        failures = [{"itemIdentifier": records[i]["kinesis"]["sequenceNumber"]} for i in indexes]
        return {"batchItemFailures": failures}

    return answer


def test_events_are_as_the_service_makes_them(mapping, put, stream):
    (number,) = put(b"one")
    events = []
    mapping(lambda event, context: events.append(event)).drain()

    (record,) = events[0]["Records"]
    arrived = record["kinesis"].pop("approximateArrivalTimestamp")
    assert isinstance(arrived, float)
    shard = record["eventID"].partition(":")[0]
    assert record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "a",
            "sequenceNumber": number,
            "data": base64.b64encode(b"one").decode(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/delivery",
        "awsRegion": "us-east-1",
        "eventSourceARN": f"arn:aws:kinesis:us-east-1:123456789012:stream/{stream}",
    }


def test_records_come_once_in_order_in_batches(mapping, put):
    put(b"1", b"2", b"3")
    handler = Handler()
    source = mapping(handler, batch_records_max=2)

    source.drain()
    put(b"4")
    source.drain()

    assert handler.seen == [[b"1", b"2"], [b"3"], [b"4"]]
    assert (source.counters.records, source.counters.delivered, source.counters.given_up) == (
        4,
        4,
        0,
    )


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, report()])
def test_empty_reports_are_successes(mapping, put, answer):
    put(b"1", b"2")
    handler = Handler(answer)
    mapping(handler).drain()

    assert handler.seen == [[b"1", b"2"]]


@pytest.mark.parametrize("reported", [(1,), (2, 1), (1, 2)])
def test_batch_is_repeated_from_the_lowest_number_on(mapping, put, reported):
    put(b"1", b"2", b"3")
    handler = Handler(report(*reported))
    mapping(handler).drain()

    assert handler.seen == [[b"1", b"2", b"3"], [b"2", b"3"]]


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("broken"),
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemidentifier": "1"}]},
        {"batchItemFailures": [{"itemIdentifier": "of no record"}]},
        lambda records: {1, 2},
    ],
    ids=["raises", "empty", "null", "bad key", "unknown", "no JSON"],
)
def test_whole_batch_is_repeated(mapping, put, answer):
    put(b"1", b"2")
    handler = Handler(answer)
    mapping(handler).drain()

    assert handler.seen == [[b"1", b"2"], [b"1", b"2"]]


def test_batch_is_given_up_after_its_retries_and_kept(mapping, put, given_up, stream):
    first, second, _ = put(b"1", b"2", b"3")
    handler = Handler(*[RuntimeError("broken")] * 3)
    source = mapping(handler, retries_max=2, batch_records_max=2)

    source.drain()

    assert handler.seen == [[b"1", b"2"]] * 3 + [[b"3"]]
    assert (source.counters.delivered, source.counters.given_up) == (1, 2)
    ((key, kept),) = given_up().items()
    info = kept["KinesisBatchInfo"]
    date = r"\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d"
    assert re.fullmatch(rf"aws/lambda/{source.id}/{info['shardId']}/{date}-[0-9a-f-]{{36}}", key)
    assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (first, second)
    assert info["batchSize"] == 2
    assert info["streamArn"].endswith(f":stream/{stream}")
    assert kept["requestContext"]["condition"] == "RetryAttemptsExhausted"
    records = json.loads(kept["payload"])["Records"]
    assert [base64.b64decode(record["kinesis"]["data"]) for record in records] == [b"1", b"2"]


def test_only_what_is_left_of_a_batch_is_given_up(mapping, put, given_up):
    put(b"1", b"2", b"3")
    source = mapping(Handler(report(1), report(0), report(1)), retries_max=2)
    source.drain()

    ((_, kept),) = given_up().items()
    assert kept["KinesisBatchInfo"]["batchSize"] == 1
    assert (source.counters.delivered, source.counters.given_up) == (2, 1)


def test_big_records_make_small_batches(mapping, put):
    put(*[bytes(900_000)] * 9)
    handler = Handler()
    mapping(handler).drain()

    assert [len(batch) for batch in handler.seen] == [5, 4]
