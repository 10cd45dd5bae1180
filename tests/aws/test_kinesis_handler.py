"""Path B: what the handler behind an event source mapping delivers, and leaves to a retry."""

import base64
import json
from collections import Counter

import pytest

from dastream.aws import kinesis
from dastream.aws.kinesis import KinesisDelivery, open_handler
from dastream.decode import Decoder
from dastream.errors import ConfigError, KeyServiceError, SinkError
from dastream.keys import CachingUnwrap
from dastream.settings import Settings
from dastream.sinks.lake import LakeSink
from dastream.testing import MemoryStorage
from dastream.transforms import DEFAULT
from emf import dimensions, values
from pipelines import DAY_MS, GARBAGE, activity, dead_letters, heartbeat, statements
from support import (
    ARRIVAL_MS,
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    DAY,
    INSTANCE,
    SHARD,
    STREAM,
    entry,
    sealed,
    unwrap,
)

ARN = f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}"


def item(data, number, *, arrival_ms=ARRIVAL_MS, arn=ARN):
    """A record as the event source mapping hands it over."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1cb4ff7e-0d4c-4f5e-8a76-4d5d5a0b7d3e",
            "sequenceNumber": str(number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": arrival_ms / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/delivery",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn,
    }


def invocation(numbers, **how):
    return {"Records": [item(activity(number), number, **how) for number in numbers]}


def delivered(*numbers):
    return Counter((SHARD, f"SELECT {sign}{n}") for n in numbers for sign in ("", "-"))


class FailingStorage(MemoryStorage):
    """Puts fail for the keys that a function tells, before or after they are stored."""

    def __init__(self, fails=lambda _: False, *, is_stored=False):
        super().__init__()
        self.fails = fails
        self.is_stored = is_stored

    def put_if_absent(self, key, data):
        if self.fails(key) and not self.is_stored:
            raise SinkError("s3: cannot write (SlowDown)")
        is_first = super().put_if_absent(key, data)
        if self.fails(key):
            raise SinkError("s3: cannot write (ReadTimeoutError)")
        return is_first


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def logged():
    return []


@pytest.fixture
def deliver(storage, logged):
    return delivery(storage, logged.append)


def delivery(storage, log=lambda _: None, *, unwrap=unwrap, **settings):
    cached = CachingUnwrap(unwrap, age_seconds_max=settings.pop("age_seconds_max", 300))
    return KinesisDelivery(
        Decoder(cached), DEFAULT, LakeSink(storage), log, unwrap=cached, **settings
    )


def failed(answer):
    """The sequence numbers that an answer reports."""
    assert answer.keys() == {"batchItemFailures"}
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_invocation_is_delivered_as_one_object_named_by_its_first_record(deliver, storage):
    assert failed(deliver(invocation(range(7, 10)))) == []

    assert statements(storage) == delivered(7, 8, 9)
    assert list(storage.objects) == [f"events/cluster={CLUSTER}/day={DAY}/{SHARD}-after-6.jsonl.gz"]


def test_poison_is_a_dead_letter_and_no_failure(deliver, storage):
    event = invocation([1, 3])
    event["Records"].insert(1, item(GARBAGE, 2))

    assert failed(deliver(event)) == []
    assert statements(storage) == delivered(1, 3)
    assert dead_letters(storage) == {(SHARD, "2", GARBAGE): 1}


def test_invocation_full_of_poison_is_dead_letters_and_goes_on(deliver, storage):
    """Where `dastream run` would stop, a function has nobody who mends its settings."""
    poison = sealed([entry()], data_key=bytes(32))

    assert failed(deliver({"Records": [item(poison, n) for n in range(1, 151)]})) == []
    assert dead_letters(storage).total() == 150


def test_invocation_over_midnight_is_an_object_for_each_day(deliver, storage):
    event = invocation([1, 2])
    event["Records"] += invocation([3, 4], arrival_ms=ARRIVAL_MS + DAY_MS)["Records"]

    assert failed(deliver(event)) == []
    assert statements(storage) == delivered(1, 2, 3, 4)
    assert [key.split("/", 2)[2] for key in storage.objects] == [
        f"day={DAY}/{SHARD}-after-0.jsonl.gz",
        f"day=2026-11-24/{SHARD}-after-2.jsonl.gz",
    ]


def test_repeated_invocation_finds_what_is_there(deliver, storage):
    event = invocation(range(1, 6))
    event["Records"].append(item(GARBAGE, 6))

    assert failed(deliver(event)) == []
    before = dict(storage.objects)
    assert failed(deliver(event)) == []
    assert failed(delivery(storage)(event)) == []  # another instance of the function
    assert storage.objects == before


def test_longer_repetition_delivers_the_rest(deliver, storage):
    deliver(invocation(range(1, 4)))

    assert failed(deliver(invocation(range(1, 8)))) == []
    assert statements(storage) == delivered(*range(1, 8))


def test_shorter_repetition_is_done_already(deliver, storage):
    deliver(invocation(range(1, 8)))

    assert failed(deliver(invocation(range(1, 4)))) == []
    assert statements(storage) == delivered(*range(1, 8))


def test_when_s3_fails_the_first_undelivered_record_is_reported(logged):
    storage = FailingStorage(lambda key: "day=2026-11-24" in key)
    event = invocation([1, 2])
    event["Records"] += invocation([3, 4], arrival_ms=ARRIVAL_MS + DAY_MS)["Records"]

    assert failed(delivery(storage, logged.append)(event)) == ["3"]
    assert statements(storage) == delivered(1, 2)
    assert logged[0] == {
        "message": "delivery failed",
        "shardId": SHARD,
        "sequenceNumber": "3",
        "error": "SinkError",
        "reason": "s3: cannot write (SlowDown)",
        "hint": None,
    }

    storage.fails = lambda _: False
    event["Records"] = event["Records"][2:]  # as the service tries again
    assert failed(delivery(storage)(event)) == []
    assert statements(storage) == delivered(1, 2, 3, 4)


def test_object_that_was_stored_although_s3_failed_is_not_delivered_twice():
    storage = FailingStorage(lambda _: True, is_stored=True)
    event = invocation([1, 2])

    assert failed(delivery(storage)(event)) == ["1"]
    storage.fails = lambda _: False
    assert failed(delivery(storage)(event)) == []
    assert statements(storage) == delivered(1, 2)


def test_crash_between_events_and_dead_letters_is_made_whole():
    storage = FailingStorage(lambda key: key.startswith("dead-letter/"))
    event = invocation([1])
    event["Records"] += [item(GARBAGE, 2), item(activity(3), 3)]

    assert failed(delivery(storage)(event)) == ["1"]
    storage.fails = lambda _: False
    shorter = {"Records": event["Records"][:2]}
    assert failed(delivery(storage)(shorter)) == ["1"]  # it cannot know what is missing
    assert failed(delivery(storage)(event)) == []
    assert statements(storage) == delivered(1, 3)
    assert dead_letters(storage).total() == 1
    assert failed(delivery(storage)(shorter)) == []


def no_key_for(*numbers):
    """Records whose keys differ, and an unwrap that KMS throttles at some of them."""
    records = [
        item(sealed([entry(f"SELECT {n}")], key=f"key {n}".encode()), n) for n in range(1, 6)
    ]
    throttled = {f"key {number}".encode() for number in numbers}

    def unwrap(key, context):
        if key in throttled:
            raise KeyServiceError("kms decrypt: ThrottlingException")
        assert context == CONTEXT
        return DATA_KEY

    return {"Records": records}, unwrap, throttled


def test_when_kms_fails_all_before_that_record_is_delivered(storage):
    event, unwrap, throttled = no_key_for(4)

    assert failed(delivery(storage, unwrap=unwrap)(event)) == ["4"]
    assert statements(storage) == Counter((SHARD, f"SELECT {n}") for n in (1, 2, 3))

    throttled.clear()
    event["Records"] = event["Records"][3:]
    assert failed(delivery(storage, unwrap=unwrap)(event)) == []
    assert statements(storage) == Counter((SHARD, f"SELECT {n}") for n in range(1, 6))


def test_when_kms_fails_at_the_first_record_nothing_is_delivered(storage):
    event, unwrap, _ = no_key_for(1)

    assert failed(delivery(storage, unwrap=unwrap)(event)) == ["1"]
    assert not storage.objects


def test_when_kms_fails_in_a_repetition_nothing_is_delivered_twice(storage):
    """The function had delivered all, and was timed out; then KMS fails."""
    event, unwrap, throttled = no_key_for()
    delivery(storage, unwrap=unwrap)(event)
    throttled.add(b"key 3")

    while reported := failed(delivery(storage, unwrap=unwrap)(event)):
        throttled.clear()
        event["Records"] = [
            record for record in event["Records"] if int(record["eventID"][-1]) >= int(reported[0])
        ]
    assert statements(storage) == Counter((SHARD, f"SELECT {n}") for n in range(1, 6))


def test_other_records_under_the_name_are_reported_and_not_lost(storage):
    """A stream that was recreated under its name, with the same numbers."""
    delivery(storage)({"Records": [item(activity(9), 1)]})

    assert failed(delivery(storage)(invocation([1]))) == ["1"]
    assert statements(storage) == delivered(9)


def test_lake_is_not_listed(deliver, storage, monkeypatch):
    monkeypatch.setattr(storage, "list", None)

    assert failed(deliver(invocation([1]))) == []


def test_metrics_tell_what_was_delivered(deliver, logged):
    event = invocation([1, 2])
    event["Records"] += [item(heartbeat(), 3), item(GARBAGE, 4)]
    deliver(event)

    metrics = {"/".join(dimensions(line)): values(line) for line in logged}
    of_stream = metrics.pop(STREAM)
    assert of_stream.pop("DecodeMilliseconds") > 0
    assert of_stream.pop("SecondsBehind") >= 0
    assert of_stream.pop("Bytes") == sum(
        len(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]
    )
    assert of_stream == {
        "Records": 4,
        "Events": 4,
        "Dropped": 1,
        "DeadLetters": 1,
        "KeyCacheHits": 2,
        "KeyCacheMisses": 1,
    }
    assert metrics == {
        f"{STREAM}/{INSTANCE}": {"Records": 3},
        f"{STREAM}/heartbeats": {"Dropped": 1},
        f"{STREAM}/EnvelopeError": {"DeadLetters": 1},
    }
    assert "SELECT" not in json.dumps(logged)


def test_a_service_that_fails_is_counted_since_the_function_itself_does_not_fail(logged):
    storage = FailingStorage(lambda _: True)

    assert failed(delivery(storage, logged.append)(invocation([1]))) == ["1"]

    of_stream = next(values(line) for line in logged if "_aws" in line)
    assert of_stream["ServiceErrors"] == 1
    assert of_stream["Records"] == 0


def test_invocation_is_refused_where_nothing_tells_whose_stream_it_is(storage):
    event = invocation([1], arn="arn:aws:kinesis:eu-central-1:1:stream/a-copy")

    with pytest.raises(ConfigError, match="resource id"):
        delivery(storage)(event)

    assert failed(delivery(storage, resource_id=CLUSTER)(event)) == []
    assert statements(storage) == delivered(1)


def test_handler_wants_a_sink():
    with pytest.raises(ConfigError, match="no sink") as caught:
        open_handler(Settings(), kms=None)
    assert "DASTREAM_SINK" in caught.value.hint


def test_handler_delivers_parquet(aws, tmp_path):
    """As in a container, which has pyarrow."""
    settings = Settings(sink=f"file://{tmp_path}?format=parquet", resource_id=CLUSTER)
    deliver = open_handler(settings, aws.client("kms"), [].append)

    assert failed(deliver({"Records": [item(GARBAGE, 1)]})) == []
    assert [path.suffix for path in tmp_path.rglob("events/**/*-after-0*")] == [".parquet"]
    assert len(list(tmp_path.rglob("dead-letter/**/*.jsonl.gz"))) == 1


def test_handler_wants_the_entries_kept(tmp_path):
    settings = Settings(sink=f"file://{tmp_path}?format=parquet&raw=no")
    with pytest.raises(ConfigError, match="raw=no"):
        open_handler(settings, kms=None)


@pytest.fixture
def cold_start():
    kinesis._from_environment.cache_clear()
    yield
    kinesis._from_environment.cache_clear()


def test_handler_takes_its_settings_from_the_environment(
    aws, cold_start, tmp_path, monkeypatch, capsys
):
    made = aws.client("kms").generate_data_key(
        KeyId=aws.client("kms").create_key()["KeyMetadata"]["KeyId"],
        KeySpec="AES_256",
        EncryptionContext=CONTEXT,
    )
    data = sealed([entry()], data_key=made["Plaintext"], key=made["CiphertextBlob"])
    monkeypatch.setenv("DASTREAM_SINK", f"file://{tmp_path}")

    assert failed(kinesis.handler({"Records": [item(data, 1)]}, None)) == []
    assert len(list(tmp_path.rglob("*.jsonl.gz"))) == 1
    first, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert values(first)["Events"] == 1
