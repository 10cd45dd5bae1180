"""`dastream run` with its progress in DynamoDB."""

import os
import subprocess
import sys

import pytest
from run_streams import expected, statements, wait_until

from dastream.cli.app import run_app


@pytest.fixture
def arguments(stream, lake, table):
    return ["run", "--source", stream.url, "--sink", lake, "--state", f"dynamodb://{table}"]


def test_next_run_goes_on_where_the_last_one_ended(stream, lake, arguments):
    for numbers in (range(5), range(5, 10)):
        stream.put_statements(numbers)
        assert run_app([*arguments, "--once"]) == 0

    assert statements(lake) == expected(range(10))


def test_older_consumer_stops_when_a_newer_one_takes_the_stream_over(stream, lake, arguments):
    stream.put_statements(range(4))
    with subprocess.Popen(
        [sys.executable, "-m", "dastream", *arguments, "--flush-bytes-max", "1"],
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as older:
        wait_until(lambda: statements(lake).total() == 4)

        assert run_app([*arguments, "--once"]) == 0
        stream.put_statements(range(4, 8))
        err = older.stderr.read().decode().splitlines()

    assert older.returncode == 1
    assert err[-2] == "error: state: another consumer has taken this stream over"
    assert err[-1].startswith("hint: a stream has one consumer")
    assert run_app([*arguments, "--once"]) == 0
    assert statements(lake) == expected(range(8))


def test_missing_table_ends_with_2_before_anything_is_read(stream, lake, arguments, capsys):
    stream.put_statements(range(4))

    assert run_app([*arguments[:-1], "dynamodb://not-there", "--once"]) == 2

    assert "hint: create one: aws dynamodb create-table" in capsys.readouterr().err
    assert not statements(lake)
