"""The vectors of this project: each is read as it says, and can be written again."""

import base64
import json
from collections import Counter

import pytest
from vectors.cases import cases
from vectors.generate import DIRECTORY, files

from dastream.decode import Decoder
from dastream.errors import DecryptError, EnvelopeError, PayloadError
from dastream.keys import fixed_unwrap
from dastream.record import Record

OUTCOMES = {EnvelopeError: "envelope", DecryptError: "decrypt", PayloadError: "payload"}
FILES = sorted(DIRECTORY.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vector_is_read_as_it_says(file):
    vector = json.loads(file.read_bytes())

    outcome, events = read(vector)

    assert outcome == vector["expect"], vector["why"]
    assert events == vector.get("events", [])


def read(vector):
    decode = Decoder(fixed_unwrap(vector["dataKeys"]))
    try:
        events = decode(Record(base64.b64decode(vector["record"])))
    except tuple(OUTCOMES) as error:
        return OUTCOMES[type(error)], []
    return "success", [{"id": event.id, "entry": event.entry.decode()} for event in events]


def test_every_outcome_has_many_vectors():
    outcomes = Counter(json.loads(file.read_bytes())["expect"] for file in FILES)

    assert outcomes.keys() == {"success", *OUTCOMES.values()}
    assert min(outcomes.values()) >= 30


def test_written_again_they_are_the_same():
    assert {file.name: file.read_text() for file in FILES} == files()


def test_names_are_taken_once():
    names = Counter(case.name for case in cases())

    assert names.most_common(1)[0][1] == 1
