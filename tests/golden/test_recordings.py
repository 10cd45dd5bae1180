"""Recorded logs give the entries that they gave when somebody looked at them."""

from __future__ import annotations

import gzip
import json

import pytest
import trails
from scenes import SECRET

from conftest import RECORDINGS
from dastream.activity.log_tail import LogTail
from dastream.activity.postgres_log import LogReader


@pytest.fixture(params=RECORDINGS)
def recording(request):
    return RECORDINGS[request.param]


def test_versions_14_to_18_are_there_and_pgaudit_with_the_oldest_and_newest():
    assert {name.partition("-")[0] for name in RECORDINGS} == {"14", "15", "16", "17", "18"}
    assert {"15-pgaudit", "17-pgaudit", "18-pgaudit"} <= RECORDINGS.keys()


def test_the_entries_are_those_that_are_expected(recording, tmp_path):
    found = [trails.members(entry) for entry in recording.entries(tmp_path)]
    for entry, expected in zip(found, recording.expected(), strict=False):
        assert entry == expected
    assert len(found) == len(recording.expected())


def test_a_log_that_grows_in_pieces_gives_the_same(recording, tmp_path):
    whole, growing = tmp_path / "whole", tmp_path / "growing"
    whole.mkdir()
    growing.mkdir()
    expected = recording.entries(whole)
    reader, tail = LogReader(recording.server, mode=recording.mode), None
    found = []
    for file in sorted(whole.iterdir()):
        content = file.read_bytes()
        with (growing / file.name).open("ab", buffering=0) as log:
            for start in range(0, len(content), 7919):
                log.write(content[start : start + 7919])
                tail = tail or LogTail(growing, start="beginning", still_seconds=0.0)
                found += reader.read(*tail.read())
    while len(found) < len(expected) and (lines := tail.read()).rows:
        found += reader.read(*lines)
    tail.close()
    assert found == expected


def test_no_password_is_in_what_is_expected(recording):
    assert SECRET not in (recording.directory / "entries.jsonl").read_text()
    logs = [gzip.decompress(one.read_bytes()) for one in recording.directory.glob("*.gz")]
    assert SECRET.encode() in b"".join(logs), "the log does hold it"


def test_every_row_of_the_log_is_one(recording, tmp_path):
    recording.unpack(tmp_path)
    for log in tmp_path.glob("*.json"):
        for line in log.read_text(errors="replace").splitlines():
            assert json.loads(line)["timestamp"]
