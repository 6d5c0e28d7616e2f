"""Where MediaPipe's tokenizer differs from the model's, and where it does not.

test_mediapipe.py compares it with MediaPipe itself.
"""

import pytest
from nasty_texts import rich_vocabulary

from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.mediapipe_tokenizer import MediaPipeTokenizer
from tfsent.text.spec import TextSpec

SPEC = TextSpec(lowercase=True, max_tokens=64)
VOCABULARY = rich_vocabulary(lowercase=True)
OURS = LightTokenizer(SPEC, VOCABULARY)


def ids(text, normalized):
    return MediaPipeTokenizer(SPEC, VOCABULARY, normalized=normalized).tokenize([text])[0]


@pytest.mark.parametrize("text", ["good film", "Good, FILM!", "a\tb\nc", "日本good", "“quoted” – dash", "", "a" * 100])
def test_both_agree_on_plain_text(text):
    assert ids(text, False) == ids(text, True) == OURS.tokenize([text])[0]


@pytest.mark.parametrize("text", ["café", "Ärger", "goo\u0301d", "good<br />film", "ΣΊΣΥΦΟΣ"])
def test_the_apps_function_mends_what_differs(text):
    assert ids(text, False) != OURS.tokenize([text])[0]
    assert ids(text, True) == OURS.tokenize([text])[0]


@pytest.mark.parametrize("text", ["good\x00film", "good\u00a0film", "é" * 51 + " good"])
def test_some_texts_are_read_otherwise_all_the_same(text):
    if text.startswith("é"):
        assert ids(text, False)[0] == OURS.unk_id  # 102 bytes
        return
    assert ids(text, True) != OURS.tokenize([text])[0]


def test_it_keeps_the_head():
    tokenizer = MediaPipeTokenizer(SPEC, VOCABULARY, normalized=False)
    [row], _ = tokenizer(["good " * 100])
    assert len(row) == 64
    [row], _ = tokenizer(["good " * 61 + "film " * 9])
    assert row.tolist().count(VOCABULARY.index("film")) == 1
