import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream import surrogates

TEXTS = st.text(st.characters() | st.sampled_from(["\\", '"', "\ud83d", "\ude00", "\U0001f600"]))


def escaped(text):
    return json.dumps(text).encode()


@given(TEXTS)
def test_hidden_json_holds_no_lone_surrogate_and_is_shown_again(text):
    hidden = surrogates.hide(escaped(text))

    assert surrogates.show(hidden) == escaped(text)
    assert len(hidden) == len(escaped(text))
    assert hidden.count(b"\xff") == len([c for c in json.loads(escaped(text)) if is_lone(c)])


@given(TEXTS)
def test_mended_json_has_u_fffd_for_each_lone_surrogate(text):
    read = json.loads(escaped(text))

    assert json.loads(surrogates.mend(escaped(text))) == "".join(
        "\ufffd" if is_lone(c) else c for c in read
    )


@pytest.mark.parametrize(
    ("data", "mended"),
    [
        (rb'"\\ud800"', rb'"\\ud800"'),
        (rb'"\\\ud800"', rb'"\\\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uD83D\uDE00"', rb'"\uD83D\uDE00"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ud83dx\ude00"', rb'"\ufffdx\ufffd"'),
    ],
)
def test_only_halves_without_the_other_half_are_lone(data, mended):
    assert surrogates.mend(data) == mended


def is_lone(character):
    """Python's JSON joins pairs, so every surrogate that is left is a lone one."""
    return "\ud800" <= character <= "\udfff"
