"""Lines of a log directory, as a log collector writes them."""

from __future__ import annotations

import json

import pytest

from dastream.activity.log_tail import CHUNK_BYTES, CUT, LogTail


@pytest.fixture
def log(tmp_path):
    def write(name, data):
        with (tmp_path / f"{name}.json").open("ab") as file:
            file.write(data)

    return write


@pytest.fixture
def tail(tmp_path, log):
    tail = LogTail(tmp_path, start="beginning")
    yield tail
    tail.close()


def test_lines_come_when_they_are_complete(tail, log):
    assert tail.read() == []
    log("1", b"one\ntw")
    assert tail.read() == [b"one"]
    assert tail.read() == []
    log("1", b"o\nthree\n")
    assert tail.read() == [b"two", b"three"]


def test_files_are_read_in_order_and_to_their_end(tail, log):
    log("1", b"a\n")
    log("2", b"b\n")
    assert tail.read() == [b"a"]
    log("3", b"")
    log("4", b"c\n")
    assert [tail.read(), tail.read(), tail.read()] == [[b"b"], [b"c"], []]


def test_what_a_file_gets_before_the_next_begins_is_read(tail, log):
    log("1", b"a\n")
    assert tail.read() == [b"a"]
    log("1", b"b\n")
    log("2", b"c\n")
    assert [tail.read(), tail.read()] == [[b"b"], [b"c"]]


def test_other_files_are_not_read(tmp_path, tail, log):
    (tmp_path / "1.log").write_bytes(b"no\n")
    log("2", b"yes\n")
    assert tail.read() == [b"yes"]


def test_a_tail_from_the_end_begins_with_the_next_line(tmp_path, log):
    log("1", b"old\n")
    log("2", b"old\nhal")
    tail = LogTail(tmp_path)
    log("2", b"f\nnew\n")
    assert tail.read() == [b"new"]
    tail.close()


def test_lines_longer_than_a_chunk_are_whole(tail, log):
    line = b"x" * (3 * CHUNK_BYTES + 1)
    log("1", b"a\n" + line + b"\nb\n")
    lines = []
    while more := tail.read():
        lines += more
    assert lines == [b"a", line, b"b"]


@pytest.mark.parametrize("text", ["x", "\\", "é", '"', "\n", "\u0001", "日"])
@pytest.mark.parametrize("offset", range(6))
def test_a_line_too_long_is_cut_and_is_json_all_the_same(tmp_path, log, text, offset):
    row = {"pid": 1, "message": "m" * offset + text * 300, "backend_type": "client backend"}
    log("1", json.dumps(row, ensure_ascii=False).encode() + b"\nnext\n")
    tail = LogTail(tmp_path, start="beginning", line_bytes_max=256)
    cut, following = tail.read()
    message = json.loads(cut)["message"]
    assert message.endswith(CUT)
    assert row["message"].startswith(message.removesuffix(CUT))
    assert (following, tail.cut) == (b"next", 1)
    tail.close()


def test_the_end_is_a_position_that_reading_arrives_at(tail, log):
    assert tail.position == tail.end() == ("", 0)
    log("1", b"a\n")
    log("2", b"bb\n")
    end = tail.end()
    log("2", b"c\n")
    assert end == ("2.json", 3)
    while tail.position < end:
        tail.read()
    assert tail.position == ("2.json", 5)
