import base64
import json
import os
import subprocess
import sys

import pytest

from dastream import line
from dastream.cli.app import run_app
from dastream.decode import Decoder
from dastream.record import Record
from support import (
    CLUSTER,
    CONTEXT,
    DATA_KEY,
    HEARTBEAT,
    WRAPPED_KEY,
    encrypt,
    entry,
    envelope,
    sealed,
)

GOOD = sealed([HEARTBEAT, entry("SELECT 1", dbUserName="rdsadmin"), entry("SELECT 'ü'")])
POISON = sealed([entry()], data_key=bytes(32))

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def keys_file(tmp_path):
    """The data keys, as `--data-keys` takes them."""
    known = {base64.b64encode(WRAPPED_KEY).decode(): base64.b64encode(DATA_KEY).decode()}
    (tmp_path / "keys.json").write_text(json.dumps(known))
    return str(tmp_path / "keys.json")


@pytest.fixture
def records_file(tmp_path):
    """Writes records, a line each, and gives the file's name."""

    def write(*records, end=b"\n"):
        (tmp_path / "records.jsonl").write_bytes(b"\n".join(records) + end)
        return str(tmp_path / "records.jsonl")

    return write


def dastream(*arguments, stdin=b"", **options):
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dastream", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ,
        **options,
    )


def expected(*records):
    decode = Decoder(lambda *_: DATA_KEY)
    return [line.write(event) for data in records for event in decode(Record(data))]


@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n  \n"])
def test_envelopes_become_events_a_line_each(records_file, keys_file, capfdbinary, end):
    file = records_file(GOOD, GOOD, end=end)

    assert run_app(["decode", file, "--data-keys", keys_file]) == 0

    out, err = capfdbinary.readouterr()
    assert out.splitlines() == expected(GOOD, GOOD)
    assert len(out.splitlines()) == 6  # nothing is filtered
    assert err == b""


def test_standard_input_is_read_where_no_file_is_named(keys_file):
    done = dastream("decode", "--data-keys", keys_file, stdin=GOOD + b"\n")

    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected(GOOD), b"")


HINT = (
    "hint: a line is the data of one record as JSON; `aws kinesis get-records` prints it in "
    "base64, which is to be decoded first"
)


def test_line_that_does_not_decode_is_told_and_the_rest_goes_on(
    records_file, keys_file, capfdbinary
):
    file = records_file(b"not json", GOOD, POISON, envelope(encrypt(b"text")), GOOD)

    assert run_app(["decode", file, "--data-keys", keys_file]) == 3

    out, err = capfdbinary.readouterr()
    assert out.splitlines() == expected(GOOD, GOOD)
    assert err.decode().splitlines() == [
        "error: line 1: EnvelopeError: envelope: not a JSON object",
        "error: line 3: DecryptError: message key: does not open under this data key",
        "error: line 4: PayloadError: payload: not gzip, or damaged",
        HINT,
    ]


def test_key_that_is_not_given_is_told(records_file, tmp_path, capfd):
    (tmp_path / "none.json").write_text("{}")

    code = run_app(["decode", records_file(GOOD), "--data-keys", str(tmp_path / "none.json")])

    assert code == 3
    assert "not among those given" in capfd.readouterr().err


def test_kms_unwraps_where_no_data_keys_are_given(aws, records_file, capfdbinary):
    kms = aws.client("kms")
    made = kms.generate_data_key(
        KeyId=kms.create_key()["KeyMetadata"]["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT
    )
    data = sealed([entry("SELECT 1")], data_key=made["Plaintext"], key=made["CiphertextBlob"])
    file = records_file(data)

    assert run_app(["decode", file, "--resource-id", CLUSTER]) == 0
    assert json.loads(capfdbinary.readouterr().out)["commandText"] == "SELECT 1"

    assert run_app(["decode", file, "--resource-id", "cluster-OTHER"]) == 3
    assert b"kms refused it" in capfdbinary.readouterr().err


def test_trouble_with_kms_ends_the_command(aws, records_file, capfd):
    """moto has no such key, which is what AWS says of one in another region."""
    missing = sealed([entry()], key=b"0" * 36 + b"x" * 60)

    code = run_app(["decode", records_file(missing), "--resource-id", CLUSTER])

    assert code in {1, 3}
    assert capfd.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--resource-id", "my-cluster", "--data-keys", "{dir}/none.json"],
            "resource id: neither cluster-… nor db-…",
        ),
        ([], "decode: the resource id is missing"),
        (["--data-keys", "{dir}/no.json"], "No such file"),
        (["--data-keys", "{dir}/list.json"], "not a JSON object of strings"),
        (["--data-keys", "{dir}/binary.json"], "not a JSON object of strings"),
        (["--data-keys", "{dir}/short.json"], "a data key is 32 bytes"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_ends_before_anything_is_read(
    tmp_path, records_file, capfd, arguments, message
):
    (tmp_path / "none.json").write_text("{}")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "binary.json").write_bytes(b'{"\xff": "x"}')
    (tmp_path / "short.json").write_text('{"aw==": "aw=="}')
    arguments = [argument.format(dir=tmp_path) for argument in arguments]

    assert run_app(["decode", records_file(GOOD), *arguments]) == 2

    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


def test_file_that_is_not_there_is_wrong_usage(capfd):
    assert run_app(["decode", "no-such-file"]) == 2
    assert "No such file" in capfd.readouterr().err


@pytest.mark.parametrize("count", [1, 2000])
def test_reader_that_has_seen_enough_is_no_error(records_file, keys_file, count):
    file = records_file(*[GOOD] * count)
    command = [sys.executable, "-m", "dastream", "decode", file, "--data-keys", keys_file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        err = running.stderr.read()

    assert (running.returncode, err) == (0, b"")


def test_version_is_told():
    done = dastream("--version")

    assert (done.returncode, done.stdout[:9]) == (0, b"dastream ")
