import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dastream import surrogates
from dastream.errors import NOT_JSON

decode = msgspec.json.Decoder().decode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"a \udE00 b"', "a \ufffd b"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\uD83D\uDE00"', "\U0001f600"),
        (rb'"\\ud83d"', "\\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'"\\ud83d\ude00"', "\\ud83d\ufffd"),
        (rb'"\n\ud83d\n\ude00"', "\n\ufffd\n\ufffd"),
        (rb'"\u00e9\n"', "é\n"),
    ],
)
def test_half_of_a_character_is_a_replacement_character(data, text):
    assert surrogates.decode(decode, data) == text


@given(st.text(st.characters(), max_size=20))
def test_text_with_halves_decodes_to_what_is_whole_in_it(text):
    data = json.dumps(text).encode()
    whole = json.loads(data)  # joins two halves that stand together

    mended = surrogates.replace_lone(data)

    assert len(mended) == len(data)
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in whole)
    assert surrogates.decode(decode, data) == expected


@pytest.mark.parametrize("data", [b"", b'"', rb'"\q"', rb'"\ud83d', b"[" * 100_000])
def test_what_is_no_json_is_none_with_halves_either(data):
    with pytest.raises(NOT_JSON):
        surrogates.decode(decode, data)


@pytest.mark.parametrize("piece", [rb"\n", b"\\\\", rb"\\ud83d"])
def test_escapes_of_other_things_stay(piece):
    data = piece * 200_000

    assert surrogates.replace_lone(data) == data


@pytest.mark.parametrize("data", [b"[1, 2", rb'"\n\\\u00e9"', b"\\" * 100_000])
def test_json_without_halves_is_the_same_bytes_and_no_copy(data):
    assert surrogates.replace_lone(data) is data
    assert surrogates.hide(data) is data


@pytest.mark.parametrize("backslashes", [0, 1, 2, 3, 4, 5, 8, 9])
def test_number_of_backslashes_tells_whether_half_a_character_follows(backslashes):
    before = b"\\" * backslashes

    is_half = backslashes % 2 == 0
    assert surrogates.hide(before + rb"\uDE00") == before + (
        b"\xffuDE00" if is_half else rb"\uDE00"
    )


@given(st.text(st.characters() | st.sampled_from(["\\", '"', "\ud83d", "\ude00"]), max_size=20))
def test_hidden_halves_are_shown_again_and_do_not_keep_json_from_being_passed_on(text):
    data = json.dumps([text]).encode()

    hidden = surrogates.hide(data)

    (raw,) = msgspec.json.decode(hidden, type=list[msgspec.Raw])
    assert surrogates.show(bytes(raw)) == data[1:-1]
