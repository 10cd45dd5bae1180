"""The corpus of the fuzzer, read again: every way through the readers that it has found."""

from collections import Counter
from pathlib import Path

from fuzz.harness import LAYERS, run

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())


def test_no_input_of_the_corpus_raises_or_gives_a_wrong_result():
    failed = {}
    for file in CORPUS:
        try:
            run(file.read_bytes())
        except Exception as error:  # noqa: BLE001 - all that matters is that none is raised
            failed[file.name] = repr(error)

    assert failed == {}


def test_corpus_goes_through_every_reader_and_every_outcome():
    inputs = [data for data in (file.read_bytes() for file in CORPUS) if data]

    layers = Counter(data[0] % len(LAYERS) for data in inputs)
    outcomes = Counter(map(run, inputs))

    assert len(CORPUS) > 500
    assert sum(map(len, inputs)) < 1_000_000
    assert layers.keys() == set(range(len(LAYERS)))
    assert outcomes.keys() == {"read", "EnvelopeError", "DecryptError", "PayloadError"}
