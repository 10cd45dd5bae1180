import base64
import json
import random
import sys
import time
from collections import Counter

import pytest

from dastream.aws import firehose
from dastream.aws.firehose import FirehoseTransform, open_handler
from dastream.checkpoint import MemoryCheckpoints
from dastream.decode import Decoder
from dastream.delivery import Deliverer
from dastream.errors import ConfigError, KeyServiceError
from dastream.event import Event
from dastream.keys import CachingUnwrap
from dastream.pipeline import Pipeline
from dastream.settings import Settings
from dastream.sinks.lake import LakeSink
from dastream.testing import MemorySource, MemoryStorage
from dastream.transforms import DEFAULT, NamedTransform
from emf import dimensions, values
from support import (
    ARRIVAL_MS,
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    DAY,
    HEARTBEAT,
    INSTANCE,
    SHARD,
    STREAM,
    entry,
    gunzip_lines,
    record,
    sealed,
    unwrap,
)

pytestmark = pytest.mark.usefixtures("with_and_without_accelerators")

ARN = f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}"
LAMBDA_REPLY_BYTES_MAX = 6_291_556

GOOD = sealed([entry("SELECT 1"), HEARTBEAT, entry("SELECT 2")])
SMALL = sealed([{"a": 1}])
NOTHING = sealed([HEARTBEAT, entry(dbUserName="rdsadmin")])
BAD = b"no envelope"
POISON = sealed([entry()], data_key=bytes(32))


def item(data, number):
    """A record as the service hands it over."""
    return {
        "recordId": f"4959033827149025660855969253836157109592157598913658{number:04d}000000",
        "approximateArrivalTimestamp": ARRIVAL_MS,
        "data": base64.b64encode(data).decode() if isinstance(data, bytes) else data,
        "kinesisRecordMetadata": {
            "sequenceNumber": str(number),
            "subsequenceNumber": 0,
            "partitionKey": "1cb4ff7e-0d4c-4f5e-8a76-4d5d5a0b7d3e",
            "shardId": SHARD,
            "approximateArrivalTimestamp": ARRIVAL_MS,
        },
    }


def invocation(*data):
    """An invocation as the service makes it."""
    return {
        "invocationId": "5b0ab49a-7d3f-4a17-9d4b-3d1f4b8c2e11",
        "sourceKinesisStreamArn": ARN,
        "deliveryStreamArn": "arn:aws:firehose:us-east-1:123456789012:deliverystream/activity",
        "region": "us-east-1",
        "records": [item(one, number) for number, one in enumerate(data, start=1)],
    }


def transform(transforms, log, unwrap=unwrap, **settings):
    unwrap = CachingUnwrap(unwrap)
    return FirehoseTransform(Decoder(unwrap), transforms, log, unwrap=unwrap, **settings)


def answer(event, *, transforms=DEFAULT, unwrap=unwrap):
    """The handler's answers, and what it logged."""
    logged = []
    reply = transform(transforms, logged.append, unwrap, resource_id=CLUSTER)(event)
    assert reply.keys() == {"records"}
    ids = [answer["recordId"] for answer in reply["records"]]
    assert ids == [record["recordId"] for record in event["records"]]
    return reply["records"], logged


def results(answers):
    return [answer["result"] for answer in answers]


def lines_of(answer):
    text = base64.b64decode(answer["data"], validate=True)
    assert text.endswith(b"\n")
    return text.splitlines()


def test_every_record_is_answered_once_and_in_order():
    answers, _ = answer(invocation(GOOD, BAD, NOTHING, GOOD, POISON, BAD))

    assert results(answers) == [
        "Ok",
        "ProcessingFailed",
        "Dropped",
        "Ok",
        "ProcessingFailed",
        "ProcessingFailed",
    ]
    assert [answer.keys() for answer in answers] == [
        {"recordId", "result"} | ({"data", "metadata"} if answer["result"] == "Ok" else set())
        for answer in answers
    ]


def test_data_is_a_json_line_for_each_event():
    (only,), _ = answer(invocation(GOOD))

    assert [json.loads(line)["commandText"] for line in lines_of(only)] == ["SELECT 1", "SELECT 2"]


def test_no_records_are_no_answers():
    answers, logged = answer(invocation())

    assert answers == []
    (metrics,) = logged
    assert metrics["Records"] == 0
    assert "SecondsBehind" not in metrics


def test_lines_are_those_of_run_for_the_same_records():
    storage = MemoryStorage()
    source = MemorySource(STREAM, [record(data, n) for n, data in enumerate((GOOD, BAD, GOOD), 1)])
    deliver = Deliverer(Decoder(unwrap), DEFAULT, [LakeSink(storage)], resource_id=CLUSTER)
    Pipeline(source, deliver, MemoryCheckpoints()).run()
    (delivered,) = storage.list("events/")

    answers, _ = answer(invocation(GOOD, BAD, GOOD))

    assert [line for one in answers if "data" in one for line in lines_of(one)] == gunzip_lines(
        storage.get(delivered.key)
    )


def test_context_comes_from_the_arn_of_the_stream():
    asked = []

    answer(invocation(GOOD), unwrap=lambda _, context: asked.append(context) or DATA_KEY)

    assert asked == [CONTEXT]


def test_record_that_was_put_directly_has_no_position():
    event = invocation(GOOD)
    del event["sourceKinesisStreamArn"]
    del event["records"][0]["kinesisRecordMetadata"]

    (only,), _ = answer(event)
    line = json.loads(lines_of(only)[0])

    assert (line["shardId"], line["sequenceNumber"]) == (None, None)
    assert line["arrivalTime"] == "2026-11-23T07:28:05.123Z"


def test_invocation_is_refused_where_nothing_tells_whose_stream_it_is():
    event = invocation(GOOD)
    event["sourceKinesisStreamArn"] = "arn:aws:kinesis:eu-central-1:1:stream/a-copy"

    with pytest.raises(ConfigError, match="resource id") as caught:
        transform(DEFAULT, [].append)(event)
    assert "DASTREAM_RESOURCE_ID" in caught.value.hint


@pytest.mark.parametrize("data", ["", "?", "a", "ü", "!!!!", "QUJD", "eyJ0eXBl=="])
def test_data_that_is_not_base64_of_an_envelope_fails_alone(data):
    answers, logged = answer(invocation(GOOD, data, GOOD))

    assert results(answers) == ["Ok", "ProcessingFailed", "Ok"]
    assert logged[0]["error"] == "EnvelopeError"


def test_trouble_with_kms_raises_so_that_the_service_tries_again():
    def throttled(key, context):
        raise KeyServiceError("kms decrypt: ThrottlingException")

    with pytest.raises(KeyServiceError):
        answer(invocation(BAD, GOOD), unwrap=throttled)


def test_raising_transform_fails_its_record_alone():
    def mask(event):
        raise ValueError(f"cannot mask {event.entry!r}")

    answers, logged = answer(invocation(GOOD, BAD), transforms=[NamedTransform("mask", mask)])

    assert results(answers) == ["ProcessingFailed", "ProcessingFailed"]
    assert logged[0]["reason"] == "transform mask: raised ValueError"


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (lambda one: sys.exit(), "raised SystemExit"),
        (lambda one: Event(one.id, one.entry.decode(), one.origin), "an event that is not one"),
        (lambda one: Event(one.id, b"***", one.origin), "returned an event that is not one"),
        (lambda one: setattr(one, "entry", b"{}"), "raised AttributeError"),
    ],
)
def test_transform_of_a_user_fails_its_record_alone_whatever_it_does(mask, reason):
    def masks_first(one):
        return mask(one) if one.columns.statement == "SELECT 2" else one

    other = sealed([entry("SELECT 3")])
    chain = [NamedTransform("mask", masks_first)]

    answers, logged = answer(invocation(other, GOOD, other), transforms=chain)

    assert results(answers) == ["Ok", "ProcessingFailed", "Ok"]
    assert reason in logged[0]["reason"]


def test_log_tells_failures():
    _, logged = answer(invocation(GOOD, BAD))

    assert logged[0] == {
        "message": "record failed",
        "recordId": item(BAD, 2)["recordId"],
        "shardId": SHARD,
        "sequenceNumber": "2",
        "error": "EnvelopeError",
        "reason": "envelope: not a JSON object",
    }


def test_metrics_tell_what_became_of_the_records():
    _, logged = answer(invocation(GOOD, BAD, NOTHING))

    metrics = {"/".join(dimensions(line)): values(line) for line in logged[1:]}
    of_stream = metrics[STREAM]
    assert of_stream.pop("DecodeMilliseconds") > 0
    assert of_stream.pop("SecondsBehind") >= 0
    assert of_stream == {
        "Records": 3,
        "Bytes": len(GOOD) + len(BAD) + len(NOTHING),
        "Events": 2,
        "Dropped": 3,
        "DeadLetters": 1,
        "KeyCacheHits": 1,
        "KeyCacheMisses": 1,
    }
    assert metrics | {STREAM: None} == {
        STREAM: None,
        f"{STREAM}/{INSTANCE}": {"Records": 2},
        f"{STREAM}/heartbeats": {"Dropped": 2},
        f"{STREAM}/service-users": {"Dropped": 1},
        f"{STREAM}/EnvelopeError": {"DeadLetters": 1},
    }


def test_records_with_data_tell_where_they_belong():
    answers, _ = answer(invocation(GOOD, NOTHING))

    keys = {"cluster": CLUSTER, "day": DAY}
    assert [one.get("metadata") for one in answers] == [{"partitionKeys": keys}, None]


def big(size, seed=1):
    """A record whose lines have about `size` bytes and which is itself small enough."""
    text = random.Random(seed).randbytes(1000).hex() * (size // 2000)
    return sealed([entry(text)])


def test_reply_with_many_big_records_stays_below_the_limit_of_lambda():
    event = invocation(*(big(300_000, seed) for seed in range(25)), GOOD)

    answers, logged = answer(event)

    reply = json.dumps({"records": answers})
    assert 5_500_000 < len(reply) < 6_000_000 < LAMBDA_REPLY_BYTES_MAX
    counted = Counter(results(answers))
    assert counted["Ok"] + counted["ProcessingFailed"] == 26
    assert answers[-1]["result"] == "Ok"  # it is small and finds room
    (metrics,) = [line for line in logged if "Events" in line]
    assert metrics["DeadLetters"] == counted["ProcessingFailed"]
    assert metrics["Events"] == counted["Ok"] + 1
    assert values(logged[-1]) == {"DeadLetters": counted["ProcessingFailed"]}
    assert dimensions(logged[-1]) == [STREAM, "oversize"]


def test_record_that_no_reply_has_room_for_fails_as_oversize():
    answers, logged = answer(invocation(big(7_000_000), GOOD))

    assert results(answers) == ["ProcessingFailed", "Ok"]
    assert (logged[0]["error"], logged[0]["reason"]) == (
        "oversize",
        "the reply has no room for it",
    )
    (metrics,) = [line for line in logged if "Events" in line]
    assert (metrics["Records"], metrics["Dropped"], metrics["DeadLetters"]) == (2, 1, 1)


@pytest.mark.parametrize(("nothing", "good", "small"), [(10_000, 5_000, 0), (0, 0, 12_000)])
def test_answers_of_thousands_of_small_records_fit_in_the_reply(nothing, good, small):
    """What is beside their data comes to more than what lies between our limit and Lambda's."""
    data = [NOTHING] * nothing + [GOOD] * good + [SMALL] * small

    answers, _ = answer(invocation(*data))

    assert len(json.dumps({"records": answers})) < LAMBDA_REPLY_BYTES_MAX
    counted = Counter(results(answers))
    assert counted["Dropped"] == nothing
    assert counted["Ok"] > 1_000 < counted["ProcessingFailed"]


@pytest.mark.parametrize("order", [(0, 3600), (3600, 0), (3600, 0, None), (None, 0)])
def test_seconds_behind_are_those_of_the_newest_record(order):
    event = invocation(*[GOOD] * len(order))
    now_ms = time.time_ns() // 1_000_000
    for one, age_seconds in zip(event["records"], order, strict=True):
        arrival_ms = None if age_seconds is None else now_ms - age_seconds * 1000
        one["kinesisRecordMetadata"]["approximateArrivalTimestamp"] = arrival_ms

    _, logged = answer(event)

    [behind] = [line["SecondsBehind"] for line in logged if "SecondsBehind" in line]
    assert behind < 600


@pytest.fixture
def wrapped(aws):
    """A good record whose data key KMS knows."""
    kms = aws.client("kms")
    made = kms.generate_data_key(
        KeyId=kms.create_key()["KeyMetadata"]["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT
    )
    return sealed([entry()], data_key=made["Plaintext"], key=made["CiphertextBlob"])


@pytest.fixture
def cold_start():
    firehose._from_environment.cache_clear()
    yield
    firehose._from_environment.cache_clear()


def test_handler_takes_its_settings_from_the_environment(wrapped, cold_start, monkeypatch, capsys):
    monkeypatch.setenv("DASTREAM_TRANSFORMS", "heartbeats")

    reply = firehose.handler(invocation(wrapped, NOTHING), None)

    assert results(reply["records"]) == ["Ok", "ProcessingFailed"]
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert logged[0]["message"] == "record failed"
    assert logged[1]["Records"] == 2


def test_data_key_is_kept_between_invocations_and_nothing_else(wrapped, cold_start):
    first = firehose.handler(invocation(wrapped), None)
    second = firehose.handler(invocation(wrapped), None)

    assert first == second
    unwrap = firehose._from_environment()._decode._unwrap
    assert (unwrap.hits, unwrap.misses) == (1, 1)


def test_wrong_setting_stops_before_anything_is_read(aws, cold_start, monkeypatch):
    monkeypatch.setenv("DASTREAM_RESOURCE_ID", "my-cluster")

    with pytest.raises(ConfigError):
        firehose.handler(invocation(GOOD), None)


def test_users_own_transform_is_opened_by_name(wrapped, aws, tmp_path, monkeypatch):
    text = "def mask(event):\n    return event.replace(commandText='***')\n"
    (tmp_path / "of_a_user.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings = Settings(transforms="default,of_a_user:mask")

    transform = open_handler(settings, aws.client("kms"), [].append)
    (only,) = transform(invocation(wrapped))["records"]

    assert [json.loads(line)["commandText"] for line in lines_of(only)] == ["***"]
