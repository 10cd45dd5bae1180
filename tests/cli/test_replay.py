import base64
import json
from collections import Counter

import pytest

from dastream.aws import firehose
from dastream.cli.app import run_app
from dastream.local.firehose import DeliveryStream
from dastream.storage import open_storage
from lakes import write
from letters import firehose_line, numbered
from support import (
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    STREAM,
    encrypt,
    entry,
    envelope,
    gunzip_lines,
    key_provider,
    sealed,
)

SECRET = "SELECT 'of no concern'"


@pytest.fixture
def put(aws):
    """Puts data into the stream; `put.seal` makes a record that KMS can open."""
    kinesis, kms = aws.client("kinesis"), aws.client("kms")
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]

    def put(*records):
        for data in records:
            kinesis.put_record(StreamName=STREAM, Data=data, PartitionKey="p")

    def seal(*entries, context=CONTEXT):
        key = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=context)
        return sealed(entries, data_key=key["Plaintext"], key=key["CiphertextBlob"])

    put.seal = seal
    yield put
    kinesis.delete_stream(StreamName=STREAM)


@pytest.fixture
def lake(tmp_path):
    return (tmp_path / "lake").as_uri()


@pytest.fixture
def failing_transform(tmp_path, monkeypatch):
    """Transforms with one of a user's own, which raises until the file `mended` is there."""
    code = (
        "import pathlib\n"
        "def check(event):\n"
        "    mended = pathlib.Path(__file__).with_name('mended').exists()\n"
        "    if event.columns.user == 'mallory' and not mended:\n"
        "        raise ValueError(event.columns.statement)\n"
        "    return event\n"
    )
    (tmp_path / "marks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return "heartbeats,marks:check"


def data_keys_file(path, *records, data_key=DATA_KEY):
    """The file that --data-keys takes, with the keys of envelopes."""
    known = {json.loads(data)["key"]: base64.b64encode(data_key).decode() for data in records}
    path.write_text(json.dumps(known))
    return str(path)


def events(url):
    """The delivered statements, and how often; nothing of them may be there twice."""
    storage = open_storage(url)
    lines = [
        json.loads(line)
        for item in storage.list("events/")
        for line in gunzip_lines(storage.get(item.key))
    ]
    assert len({line["eventId"] for line in lines}) == len(lines)
    return Counter(line["commandText"] for line in lines)


def run(lake, tmp_path, *options):
    state = f"sqlite://{tmp_path}/state.sqlite"
    source = f"kinesis://{STREAM}"
    return run_app(
        ["run", "--source", source, "--sink", lake, "--state", state, "--once", *options]
    )


def replay(capsys, *arguments):
    """The exit code and the JSON report."""
    capsys.readouterr()
    code = run_app(["replay", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_every_kind_of_dead_letter_is_kept_as_it_was_and_comes_back_once_mended(
    put, lake, tmp_path, failing_transform, *, capsys, monkeypatch
):
    foreign = sealed([entry("SELECT 'KMS refuses the key'")])
    large = put.seal(entry("SELECT 'too large'", objectName="x" * 3000))
    records = {
        "EnvelopeError": b"\xff no envelope",
        "DecryptError": foreign,
        "PayloadError": large,
        "TransformError": put.seal(entry("SELECT 'a mistake'", dbUserName="mallory")),
    }
    put(put.seal(entry("SELECT 1")), *records.values())
    monkeypatch.setenv("DASTREAM_PAYLOAD_BYTES_MAX", "2000")

    assert run(lake, tmp_path, "--transforms", failing_transform) == 3

    storage = open_storage(lake)
    (item,) = storage.list("dead-letter/")
    kept = [json.loads(line) for line in gunzip_lines(storage.get(item.key))]
    assert {letter["error"]: base64.b64decode(letter["data"]) for letter in kept} == records
    assert all(letter["stream"] == STREAM and letter["shardId"] for letter in kept)
    assert all(int(letter["sequenceNumber"]) and letter["arrivalTime"] for letter in kept)
    assert "mistake" not in json.dumps([letter["reason"] for letter in kept])

    monkeypatch.delenv("DASTREAM_PAYLOAD_BYTES_MAX")
    options = [lake, "--sink", lake, "--transforms", failing_transform]
    code, report = replay(capsys, *options)
    assert (code, report["records"]) == (3, 1)
    assert report["undeliverable"] == {"EnvelopeError": 1, "DecryptError": 1, "TransformError": 1}

    (tmp_path / "mended").touch()
    code, report = replay(capsys, *options)
    assert (code, report["records"], report["held"]) == (3, 1, 1)
    assert report["undeliverable"] == {"EnvelopeError": 1, "DecryptError": 1}

    keys = data_keys_file(tmp_path / "keys.json", foreign)
    code, report = replay(capsys, *options, "--data-keys", keys)
    assert (code, report["records"], report["held"]) == (3, 1, 2)
    assert report["undeliverable"] == {"EnvelopeError": 1}
    assert events(lake) == {
        "SELECT 1": 1,
        "SELECT 'too large'": 1,
        "SELECT 'a mistake'": 1,
        "SELECT 'KMS refuses the key'": 1,
    }


def test_run_without_its_state_goes_on_after_a_replay_into_its_lake(put, lake, tmp_path, capsys):
    foreign = sealed([entry("SELECT 2")])
    put(put.seal(entry("SELECT 1")), foreign, put.seal(entry("SELECT 3")))
    keys = data_keys_file(tmp_path / "keys.json", foreign)
    assert run(lake, tmp_path) == 3

    assert replay(capsys, lake, "--sink", lake, "--data-keys", keys)[0] == 0
    for state in tmp_path.glob("state.sqlite*"):
        state.unlink()
    put(put.seal(entry("SELECT 4")))

    assert run(lake, tmp_path) == 0
    assert events(lake) == {f"SELECT {number}": 1 for number in (1, 2, 3, 4)}
    assert replay(capsys, lake, "--sink", lake)[1]["held"] == 1


def test_everything_that_firehose_gave_up_comes_back(put, lake, aws, capsys, monkeypatch):
    """The function may not use the key: Firehose tries, and puts whole batches aside."""
    aws.client("s3").create_bucket(Bucket="audit")
    put(*(put.seal(entry(f"SELECT {number}")) for number in range(30)), b"no envelope")
    monkeypatch.setenv("DASTREAM_RESOURCE_ID", "cluster-WRONG")
    delivery = DeliveryStream(
        "audit",
        source=STREAM,
        handler=lambda event, context: firehose.handler(
            event | {"sourceKinesisStreamArn": "arn:aws:kinesis:::stream/copied"}, context
        ),
        bucket="audit",
        kinesis=aws.client("kinesis"),
        s3=aws.client("s3"),
        lambda_buffer_seconds_max=0.05,
        buffer_seconds_max=0.1,
        retry_seconds=0.01,
    )
    delivery.start()
    delivery.stop()
    assert delivery.counters.failed == 31
    monkeypatch.delenv("DASTREAM_RESOURCE_ID")

    assert run_app(["replay", "s3://audit", "--sink", lake]) == 2
    assert "--resource-id" in capsys.readouterr().err
    for records, held in ((30, 0), (0, 30)):
        code, report = replay(capsys, "s3://audit", "--sink", lake, "--resource-id", CLUSTER)
        assert (code, report["letters"], report["records"], report["held"]) == (
            3,
            31,
            records,
            held,
        )
        assert report["undeliverable"] == {"EnvelopeError": 1}
    assert events(lake) == {f"SELECT {number}": 1 for number in range(30)}


def test_letters_are_replayed_into_s3_and_found_there(aws, tmp_path, capsys):
    aws.client("s3").create_bucket(Bucket="a-lake")
    write(tmp_path, "letters.jsonl", b"".join(firehose_line(numbered(n)) for n in (1, 2, 2)))
    keys = data_keys_file(tmp_path / "keys.json", numbered(1), numbered(2))
    options = ["--sink", "s3://a-lake/x", "--resource-id", CLUSTER, "--data-keys", keys]

    first = replay(capsys, str(tmp_path / "letters.jsonl"), *options)
    second = replay(capsys, str(tmp_path / "letters.jsonl"), *options)

    assert first[0] == second[0] == 0
    assert [r["records"] for _, r in (first, second)] == [2, 0]
    assert [r["copies"] for _, r in (first, second)] == [1, 1]
    assert events("s3://a-lake/x") == {"SELECT 1": 1, "SELECT 2": 1}


def test_report_for_people_names_no_content(tmp_path, lake, capsys):
    poison = encrypt(SECRET.encode(), provider=key_provider(bytes(32)))
    letters = [numbered(1), numbered(1), envelope(poison, key=b"key 2"), b"no envelope"]
    write(tmp_path, "a", b"".join(map(firehose_line, letters)) + b"no letter\n")
    keys = data_keys_file(tmp_path / "keys.json", numbered(1), envelope(poison, key=b"key 2"))
    place = str(tmp_path / "a")

    options = ["replay", place, "--sink", lake, "--resource-id", CLUSTER, "--data-keys", keys]
    assert run_app(options) == 3
    told = capsys.readouterr()
    assert told.err == "error: a: line 5: not a dead letter\n"
    assert told.out.splitlines() == [
        "4 letters in 1 object",
        "  delivered      1 (1 event)",
        "  left out       1 as copies",
        "  undeliverable  2",
        "    DecryptError   1, such as: message key: does not open under this data key",
        "    EnvelopeError  1, such as: envelope: not a JSON object",
    ]

    assert run_app(options) == 3
    assert "  held already   1" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{dir}", "--sink", "{dir}"], "no dead letters"),
        (["ftp://x", "--sink", "{dir}"], "neither file"),
        (["{dir}", "--sink", "ftp://x"], "no sink for ftp"),
        (["{dir}", "--sink", "{dir}?format=parquet&raw=no"], "no sink keeps the entries"),
        (["{dir}", "--sink", "{dir}", "--resource-id", "my-cluster"], "neither cluster"),
        (["{dir}"], "--sink"),
        (["--sink", "{dir}"], "URL"),
    ],
)
def test_wrong_usage_ends_with_2(aws, tmp_path, arguments, reason, capsys):
    given = [argument.format(dir=tmp_path.as_uri()) for argument in arguments]

    assert run_app(["replay", *given]) == 2
    assert reason in capsys.readouterr().err
