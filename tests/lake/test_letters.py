import json

import pytest

from dastream import dead_letter
from dastream.errors import EnvelopeError
from dastream.lake.letters import find_letters, parse_letters
from dastream.lake.reader import DamageError
from dastream.record import DeadLetter, Record
from lakes import write
from letters import firehose_line, lambda_object
from support import ARRIVAL_MS, CLUSTER, SHARD, record

DATA = b"\xff any bytes \n"


def test_own_dead_letter_comes_back_with_position_and_arrival():
    letter = record(DATA, 7)

    line = dead_letter.write(DeadLetter(letter, EnvelopeError("envelope: not a JSON object")))

    assert list(parse_letters(line)) == [letter]


def test_own_dead_letter_may_have_no_position():
    letter = Record(DATA, None, ARRIVAL_MS)

    line = dead_letter.write(DeadLetter(letter, EnvelopeError("envelope: not a JSON object")))

    assert list(parse_letters(line)) == [letter]


def test_record_that_firehose_gave_up_has_no_position():
    assert list(parse_letters(firehose_line(DATA))) == [Record(DATA, None, ARRIVAL_MS)]


def test_firehoses_arrival_may_be_a_string():
    """The Developer Guide shows every member as a string."""
    line = json.dumps({"rawData": "AA==", "arrivalTimestamp": str(ARRIVAL_MS)}).encode()

    assert list(parse_letters(line)) == [Record(b"\0", None, ARRIVAL_MS)]


def test_invocation_record_of_lambda_has_all_records_with_their_positions():
    letters = [record(b"%d" % number, number) for number in (1, 2, 3)]

    assert list(parse_letters(lambda_object(*letters))) == letters


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no JSON",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"eventId":"a-0","clusterId":null}',
        b'{"rawData":"AA=="}',
        b'{"rawData":"A","arrivalTimestamp":1}',
        b'{"rawData":"AA==","arrivalTimestamp":-1}',
        b'{"rawData":"AA==","arrivalTimestamp":253402300800000}',
        b'{"rawData":"AA==","arrivalTimestamp":"soon"}',
        b'{"rawData":"AA==","arrivalTimestamp":1e300}',
        lambda_object(payload="no JSON"),
        lambda_object(payload="{}"),
        lambda_object(payload=json.dumps({"Records": [{"dynamodb": {}}]})),
        dead_letter.write(DeadLetter(Record(DATA), EnvelopeError("of no known arrival"))),
    ],
)
def test_whatever_else_is_damage(line):
    with pytest.raises(DamageError, match="not a dead letter"):
        list(parse_letters(line))


def test_one_unreadable_record_makes_the_whole_invocation_damage():
    letters = record(b"1", 1), record(b"2", 2)._replace(arrival_ms=-1000)

    with pytest.raises(DamageError):
        list(parse_letters(lambda_object(*letters)))


KEYS = {
    f"lake/dead-letter/cluster={CLUSTER}/day=2026-11-23/{SHARD}-from-1.jsonl.gz": CLUSTER,
    "firehose/processing-failed/2026/11/23/07/name": None,
    f"firehose/cluster={CLUSTER}/processing-failed/2026/11/23/07/name": CLUSTER,
    f"aws/lambda/1f2e/{SHARD}/2026/11/23/2026-11-23T07.29.06-uuid": None,
    "lake/dead-letter/cluster=no-resource/day=2026-11-23/name": None,
}
OTHER_KEYS = (
    f"lake/events/cluster={CLUSTER}/day=2026-11-23/{SHARD}-from-1.jsonl.gz",
    "firehose/2026/11/23/07/name",
    "aws/other/lambda",
)


@pytest.fixture
def place(tmp_path):
    for key in (*KEYS, *OTHER_KEYS):
        write(tmp_path / "place", key, b"x")
    return tmp_path / "place"


def found(url):
    return {source.item.key: source.owner for source in find_letters(url)}


def test_dead_letters_of_all_kinds_are_found_below_a_place(place):
    assert found(str(place)) == found(place.as_uri()) == found(f"{place.as_uri()}/") == KEYS


@pytest.mark.parametrize(
    "folder", ["lake/dead-letter", "firehose/processing-failed/2026/11", "aws"]
)
def test_place_may_lie_within_a_folder_of_dead_letters(place, folder):
    expected = {key.removeprefix(f"{folder}/") for key in KEYS if key.startswith(f"{folder}/")}

    assert found(f"{place}/{folder}").keys() == expected
    assert expected


@pytest.mark.parametrize("key", [*KEYS, *OTHER_KEYS])
def test_object_that_is_named_is_taken_wherever_it_lies(place, key):
    (source,) = find_letters(f"{place}/{key}")

    assert source.item.key == key.rpartition("/")[2]
    assert source.owner == KEYS.get(key, CLUSTER if CLUSTER in key else None)
    assert source.storage.get(source.item.key) == b"x"


def test_object_may_be_named_from_where_one_stands(place, monkeypatch):
    monkeypatch.chdir(place / "firehose/processing-failed/2026/11/23/07")

    assert found("name") == {"name": None}


def test_nothing_is_found_where_nothing_is(place):
    assert found(str(place / "no-such")) == found(str(place / "lake/events")) == {}


def test_bucket_and_its_objects_can_be_named(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="letters")
    for key in (*KEYS, *OTHER_KEYS, "top"):
        s3.put_object(Bucket="letters", Key=key, Body=b"x")

    assert found("s3://letters") == KEYS
    assert found("s3://letters/top") == {"top": None}
    assert found("s3://letters/firehose/2026/11/23/07/name") == {"name": None}
    assert found("s3://letters/firehose/2026/11/23/07/nam") == {}
