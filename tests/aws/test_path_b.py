"""Path B as a whole: Kinesis, the event source mapping's retries, the handler, S3, replay."""

import random
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from dastream.aws.kinesis import open_handler
from dastream.cli.app import run_app
from dastream.local.event_source import EventSourceMapping
from dastream.settings import Settings
from dastream.storage import open_storage
from pipelines import GARBAGE, statements
from streamed import streamed
from support import entry

BUCKET = "activity"
LAKE = f"s3://{BUCKET}/lake"
HANDLED = 40


@pytest.fixture
def stream(aws):
    """Records in two shards, every tenth of them poison."""
    records = [[entry(f"SELECT {n}")] if n % 10 else GARBAGE for n in range(HANDLED)]
    with streamed(aws, BUCKET, records, shards=2) as stream:
        yield stream


@pytest.fixture
def mapping(aws, stream):
    def mapping(handler, **options):
        return EventSourceMapping(
            "delivery",
            source=stream,
            handler=handler,
            kinesis=aws.client("kinesis"),
            s3=aws.client("s3"),
            on_failure_bucket=BUCKET,
            batch_records_max=7,
            **options,
        )

    return mapping


def handler(aws):
    deliver = open_handler(Settings(sink=LAKE), aws.client("kms"), log=lambda line: None)
    return lambda event, context: deliver(event)


def texts(count=1):
    return Counter({f"SELECT {n}": count for n in range(HANDLED) if n % 10})


def found():
    counted = Counter()
    for (_, text), count in statements(open_storage(LAKE)).items():
        counted[text] += count
    return counted


def dead_letter_objects():
    return [item.key for item in open_storage(LAKE).list("dead-letter/")]


def test_all_is_delivered_and_poison_holds_nothing_up(aws, mapping):
    source = mapping(handler(aws))
    source.drain()

    assert found() == texts()
    assert source.counters.delivered == HANDLED
    assert source.counters.given_up == 0
    assert dead_letter_objects()


def test_timeouts_after_delivery_and_duplicated_invocations_deliver_once(aws, mapping):
    """Every invocation may be repeated after it has done all or some of its work."""
    chance = random.Random(7)
    deliver = handler(aws)

    def unreliable(event, context):
        answer = deliver(event, context)
        if chance.random() < 0.5:
            answer = deliver(event, context)  # invoked twice for one batch
        if chance.random() < 0.5:
            raise TimeoutError("after delivery")
        return answer

    mapping(unreliable).drain()

    assert found() == texts()


def test_failing_services_are_retried_and_nothing_is_lost(aws, mapping):
    chance = random.Random(3)
    kms = aws.client("kms")
    deliver = handler(aws)

    def unreliable(event, context):
        broken = chance.choice(["", "kms", "s3"])
        if broken == "kms":
            fresh = open_handler(Settings(sink=LAKE), Broken(kms), log=lambda line: None)
            return fresh(event)
        if broken == "s3":
            fresh = open_handler(
                Settings(sink="s3://no-such-bucket/lake"), kms, log=lambda line: None
            )
            return fresh(event)
        return deliver(event, context)

    mapping(unreliable).drain()

    assert found() == texts()


class Broken:
    """A KMS that throttles."""

    def __init__(self, kms):
        self._kms = kms

    def decrypt(self, **request):
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Decrypt")


def test_what_is_given_up_is_kept_whole(aws, mapping):
    deliver = handler(aws)
    fails = iter([True] * 4)

    def failing(event, context):
        if next(fails, False):
            raise TimeoutError("before delivery")
        return deliver(event, context)

    source = mapping(failing, retries_max=3)
    source.drain()

    assert source.counters.given_up == 7
    assert found().total() < texts().total()
    for _ in range(2):  # the second time all of it is there
        assert run_app(["replay", f"s3://{BUCKET}/aws/lambda", "--sink", LAKE]) in (0, 3)
        assert found() == texts()
