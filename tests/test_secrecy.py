"""Nothing that is printed, logged or raised holds SQL text, bind values or keys.

Every way of reading runs over good and bad records with every logger at debug level. Local
variables of a traceback are not looked at: they are shown to nobody.
"""

import base64
import gzip
import io
import json
import logging
import traceback
from contextlib import contextmanager

import pytest

from dastream.aws import firehose, kinesis
from dastream.aws.firehose import FirehoseTransform
from dastream.aws.metrics import print_line
from dastream.cli.app import run_app
from dastream.clients import open_client
from dastream.decode import Decoder
from dastream.errors import DastreamError
from dastream.keys import open_unwrap
from dastream.local.event_source import event_record
from dastream.local.firehose.reader import SourceRecord
from dastream.settings import Settings
from dastream.storage import open_storage
from dastream.transforms import open_transforms
from support import (
    CLUSTER,
    CONTEXT,
    SUITES,
    encrypt,
    entry,
    envelope,
    key_provider,
    payload,
    record,
    sealed,
)

SQL = "SELECT pin FROM cards WHERE holder"
BIND = "4242-4242-bind"
SECRETS = (SQL, BIND, "pin FROM", "cards")
STREAM = f"aws-rds-das-{CLUSTER}"

TRANSFORMS = """
def fails(event):
    raise ValueError(f"cannot handle {event.entry!r} of {event.columns!r}")

def fails_with_cause(event):
    try:
        fails(event)
    except ValueError as error:
        raise RuntimeError(event.columns.statement) from error

def returns_text(event):
    return event.columns.statement
"""


def secret_entry(**members):
    return entry(f"{SQL} = $1", paramList=[BIND], errorMessage=f"near {SQL}", **members)


@pytest.fixture
def keys(aws):
    """A data key as KMS knows it."""
    kms = aws.client("kms")
    kms_key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    return kms.generate_data_key(KeyId=kms_key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)


@pytest.fixture
def records(keys):
    """Good records of every suite, and one for each way in which a record can be bad."""
    data_key, key = keys["Plaintext"], keys["CiphertextBlob"]
    entries = [secret_entry(), {"type": "heartbeat"}, secret_entry(dbUserName="rdsadmin")]
    text = payload(entries)

    def of_payload(data):
        return envelope(encrypt(data, provider=key_provider(data_key)), key=key)

    def flipped(data, place):
        message = bytearray(encrypt(gzip.compress(data), provider=key_provider(data_key)))
        message[place] ^= 1
        return envelope(bytes(message), key=key)

    good = [sealed(entries, data_key=data_key, key=key, suite=suite) for suite in SUITES]
    return [
        *good,
        text,  # in the clear, where an envelope should be
        b"\xff" + text,
        good[0][:-1],
        good[0].replace(b'"1.1"', b"1.1"),
        good[0].replace(b"Records", b"Record"),
        envelope(text, key=key),  # in the clear, where a message should be
        envelope(encrypt(text), key=key),  # under another data key
        sealed(entries, data_key=data_key, key=key + b"x"),
        *(flipped(text, place) for place in (3, 30, 60, -30, -1)),
        of_payload(text),  # not gzip
        of_payload(gzip.compress(text)[:-1]),
        of_payload(gzip.compress(text) + text),
        of_payload(gzip.compress(text[:-1])),
        of_payload(gzip.compress(text.replace(b"cards", b"cards\xff"))),
        of_payload(gzip.compress(payload(secret_entry()))),
        of_payload(gzip.compress(payload(entries, type=SQL))),
        of_payload(gzip.compress(payload(entries, clusterId=[SQL]))),
        of_payload(gzip.compress(payload(entries) + b" " * 70_000_000)),
    ]


@contextmanager
def everything_logged():
    """All that any logger is told at debug level, formatted with the exceptions."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield told
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def all_of(error):
    """An exception in every way in which it is shown, with those that it is chained to."""
    shown = [str(error), repr(error), *traceback.format_exception(error)]
    return "\n".join([*shown, str(error.hint)])


def hidden(keys):
    """Everything that may not show, in the forms in which it might."""
    data_key = keys["Plaintext"]
    forms = {data_key.hex(), base64.b64encode(data_key).decode(), repr(data_key)[2:-1]}
    forms.add(base64.urlsafe_b64encode(data_key).decode())
    forms.add(repr(bytearray(data_key))[12:-2])
    return {*SECRETS, *forms, base64.b64encode(SQL.encode()).decode()[:-4]}


def assert_nothing_shows(told, keys):
    for secret in hidden(keys):
        place = told.find(secret)
        assert place < 0, f"{secret!r} shows: …{told[max(0, place - 300) : place + 100]}…"


def test_a_leak_would_be_found(keys):
    """The test of this test: each form is found where it does show."""
    for secret in hidden(keys):
        with pytest.raises(AssertionError, match="shows"):
            assert_nothing_shows(f"… {secret} …", keys)
    error = DastreamError("told")
    error.__context__ = ValueError(SQL)
    assert SQL in all_of(error)


def test_decode_tells_nothing(records, keys):
    with everything_logged() as logged:
        decode = Decoder(open_unwrap(Settings(), open_client("kms")))
        told = []
        for data in records:
            try:
                events = decode(record(data))
            except DastreamError as error:
                told.append(all_of(error))
            else:
                told += [repr(events), str(events), repr(events[0].origin)]
                told += [f"{event} {event!r}" for event in events]

    assert sum("Error" in one for one in told) >= len(records) - len(SUITES)
    assert_nothing_shows("\n".join(told) + logged.getvalue(), keys)


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "leaking_transforms.py").write_text(TRANSFORMS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["fails", "fails_with_cause", "returns_text"])
def test_transforms_that_quote_events_tell_nothing(records, keys, user_module, capfd, name):
    transforms = open_transforms(f"leaking_transforms:{name}")
    with everything_logged() as logged:
        unwrap = open_unwrap(Settings(), open_client("kms"))
        transform = FirehoseTransform(Decoder(unwrap), transforms, print_line, unwrap=unwrap)
        reply = transform(invocation(records[:4]))

    assert {answer["result"] for answer in reply["records"]} == {"ProcessingFailed"}
    out, err = capfd.readouterr()
    assert "TransformError" in out
    assert_nothing_shows(out + err + logged.getvalue(), keys)


def invocation(records):
    return {
        "sourceKinesisStreamArn": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
        "records": [
            {"recordId": str(number), "data": base64.b64encode(data).decode()}
            | {
                "kinesisRecordMetadata": {
                    "shardId": "shardId-000000000000",
                    "sequenceNumber": str(number),
                    "approximateArrivalTimestamp": 1,
                }
            }
            for number, data in enumerate(records)
        ],
    }


def test_handler_tells_nothing(records, keys, capfd):
    firehose._from_environment.cache_clear()
    with everything_logged() as logged:
        reply = firehose.handler(invocation(records), None)
    firehose._from_environment.cache_clear()

    results = [answer["result"] for answer in reply["records"]]
    assert results == ["Ok"] * len(SUITES) + ["ProcessingFailed"] * (len(records) - len(SUITES))
    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert sum("reason" in line for line in lines) == len(records) - len(SUITES)
    assert_nothing_shows(out + err + logged.getvalue(), keys)


def test_kinesis_handler_tells_nothing(records, keys, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("DASTREAM_SINK", f"file://{tmp_path}")
    event = {
        "Records": [
            event_record(
                SourceRecord(data, "p", "shardId-000000000000", str(number), 1),
                f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
                "arn:aws:iam::123456789012:role/delivery",
                "us-east-1",
            )
            for number, data in enumerate(records, start=1)
        ]
    }
    kinesis._from_environment.cache_clear()
    with everything_logged() as logged:
        reply = kinesis.handler(event, None)
    kinesis._from_environment.cache_clear()

    assert reply == {"batchItemFailures": []}
    out, err = capfd.readouterr()
    assert "DeadLetters" in out
    assert_nothing_shows(out + err + logged.getvalue(), keys)


@pytest.fixture
def stream(aws, records):
    """The stream of all records."""
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    for data in records:
        kinesis.put_record(StreamName=STREAM, Data=data, PartitionKey="p")
    yield f"kinesis://{STREAM}"
    kinesis.delete_stream(StreamName=STREAM)


@pytest.fixture
def told_by_run(stream, aws, tmp_path, capfd):
    """Runs once into a new bucket; gives the exit code, and all that was told."""

    def run(bucket):
        aws.client("s3").create_bucket(Bucket=bucket)
        to = ["--sink", f"s3://{bucket}", "--state", f"sqlite://{tmp_path}/state.sqlite"]
        with everything_logged() as logged:
            code = run_app(["run", "--source", stream, *to, "--once"])
        return code, "".join(capfd.readouterr()) + logged.getvalue()

    return run


def test_run_tells_nothing_and_delivers(told_by_run, keys):
    code, told = told_by_run("a-lake")

    assert code == 3
    assert len(list(open_storage("s3://a-lake").list("events/"))) == 1
    assert_nothing_shows(told, keys)


def test_run_that_kms_refuses_tells_nothing_and_delivers_nothing(told_by_run, keys, aws):
    aws.client("kms").disable_key(KeyId=keys["KeyId"].rpartition("/")[2])

    code, told = told_by_run("an-empty-lake")

    assert code == 1
    assert list(open_storage("s3://an-empty-lake").list()) == []
    assert_nothing_shows(told, keys)


def test_decode_command_tells_nothing_but_the_events(records, keys, tmp_path, capfd):
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\n".join(records) + b"\n")
    known = {
        base64.b64encode(keys["CiphertextBlob"]).decode(): base64.b64encode(
            keys["Plaintext"]
        ).decode()
    }
    (tmp_path / "keys.json").write_text(json.dumps(known))

    with everything_logged() as logged:
        code = run_app(["decode", str(file), "--data-keys", str(tmp_path / "keys.json")])

    out, err = capfd.readouterr()
    assert code == 3
    assert SQL in out
    assert_nothing_shows(err + logged.getvalue(), keys)


@pytest.mark.parametrize("text", ['{"aw==": "%s"}', '["%s"]', '{"aw==": "%s'])
def test_wrong_data_keys_are_not_quoted(keys, tmp_path, capfd, text):
    data_key = base64.b64encode(keys["Plaintext"] + b"too long").decode()
    (tmp_path / "keys.json").write_text(text % data_key)
    (tmp_path / "records.jsonl").write_bytes(b"{}\n")

    code = run_app(
        ["decode", str(tmp_path / "records.jsonl"), "--data-keys", str(tmp_path / "keys.json")]
    )

    assert code == 2
    assert data_key[:20] not in "".join(capfd.readouterr())
