"""AWS refuses, is slow, breaks off, or does what is asked and does not say so.

What passes is waited for; what stays ends the run with 1, and the next one goes on. After each,
everything is there once. Outages that stay until every retry is used up are in `make soak`.
"""

import random
from collections import Counter

import pytest
from outages import Outages, cut, failed_after, lost, refused, reset, slow

SLOW_DOWN = refused(503, "SlowDown")
THROTTLED = refused(400, "ThrottlingException")
EXCEEDED = refused(400, "ProvisionedThroughputExceededException")
EXPIRED = refused(400, "ExpiredIteratorException")
LIMITED = refused(400, "LimitExceededException")
DENIED = refused(403, "AccessDenied")
KMS_DENIED = refused(400, "AccessDeniedException")
KMS_REFUSED = refused(400, "InvalidCiphertextException")
CONFLICT = refused(409, "ConditionalRequestConflict")


@pytest.fixture
def outages(aws):
    started = Outages(aws)
    yield started
    started.close()


@pytest.fixture
def scene(make_scene, make_bucket, outages):
    made = make_scene(make_bucket())
    made.environment = outages.environment
    made.put(random.Random(1), 30)
    return made


@pytest.mark.parametrize(
    "faults",
    [
        {"PutObject": [SLOW_DOWN, SLOW_DOWN, failed_after, lost]},
        {"PutObject": [reset, slow, CONFLICT], "GetObject": [SLOW_DOWN, reset]},
        {"ListObjectsV2": [SLOW_DOWN, lost, slow]},
        {"Decrypt": [THROTTLED, lost, slow, reset]},
        {"GetRecords": [EXCEEDED, lost, EXPIRED, slow, reset, EXPIRED, EXCEEDED]},
        {"GetShardIterator": [EXCEEDED, reset], "ListShards": [LIMITED, lost]},
    ],
    ids="+".join,
)
def test_outage_that_passes_is_waited_for(scene, runs, outages, faults):
    for operation, some in faults.items():
        outages.next[operation].extend(some)

    run = runs(*scene.arguments, "--once", "--flush-bytes-max", "2000", **scene.environment)

    assert run.code == 3, run.errors  # there are dead letters
    assert outages.hits == {operation: len(some) for operation, some in faults.items()}
    scene.assert_everything_is_there()


@pytest.mark.parametrize(
    ("operation", "fault", "passes", "said"),
    [
        ("PutObject", DENIED, 0, "s3: cannot write"),
        ("PutObject", DENIED, 3, "s3: cannot write"),
        ("GetObject", DENIED, 0, "s3: cannot read"),
        ("GetObject", cut, 0, "s3: cannot read"),
        ("ListObjectsV2", DENIED, 0, "s3: cannot list"),
        ("Decrypt", KMS_DENIED, 1, "kms decrypt: AccessDeniedException"),
        ("GetRecords", KMS_DENIED, 1, "kinesis: cannot read"),
        ("GetShardIterator", KMS_DENIED, 1, "kinesis: cannot read"),
        ("ListShards", KMS_DENIED, 0, "kinesis: cannot read"),
    ],
)
def test_outage_that_stays_ends_the_run_and_the_next_one_goes_on(
    scene, runs, outages, operation, fault, passes, said
):
    outages.next[operation].extend([None] * passes)
    outages.lasting[operation] = fault
    arguments = [*scene.arguments, "--once", "--flush-bytes-max", "2000"]

    run = runs(*arguments, **scene.environment)
    assert (run.code, said in run.errors) == (1, True), run.errors
    outages.end()

    assert runs(*arguments, **scene.environment).code in {0, 3}
    scene.assert_everything_is_there()


def test_batch_of_which_kms_refuses_every_key_stops_the_run(make_scene, make_bucket, runs, outages):
    """A wrong resource id, or a wrong KMS key: not a stream of dead letters."""
    scene = make_scene(make_bucket(), shards=1)
    scene.put_these([scene.feed.activity(number) for number in range(110)], random.Random(2))
    outages.lasting["Decrypt"] = KMS_REFUSED

    run = runs(*scene.arguments, "--once", **outages.environment)
    assert (run.code, "110 records in a row did not open" in run.errors) == (1, True), run.errors
    outages.end()

    assert runs(*scene.arguments, "--once", **outages.environment).code == 0
    scene.assert_everything_is_there()


def test_record_that_a_producer_sent_twice_is_there_twice_under_the_same_ids(
    make_scene, make_bucket, runs
):
    """ADR 0003: only its producer knows that it is the same; the ids let every reader know."""
    scene = make_scene(make_bucket())
    fed = scene.feed.activity(1)
    scene.put_these([fed] * 4, random.Random(3))

    assert runs(*scene.arguments, "--once", **scene.environment).code == 0

    scene.assert_everything_is_there()
    ids = [id for events in scene.found().events.values() for id, _ in events]
    assert Counter(ids) == {id: 4 for id, _ in fed.events["default"]}
