"""The share of [UNK], counted by hand."""

import numpy as np
import pytest
from tiny import VOCABULARY

from tfsent.text.spec import TextSpec
from tfsent.text.tokenizer import Tokenizer
from tfsent.text.unknown import Unknown, examine


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(TextSpec(max_tokens=8, lowercase=True, truncation="head"), VOCABULARY)


def test_shares_are_of_tokens_and_of_texts(tokenizer):
    known = next(token for token in VOCABULARY if token.isalpha() and len(token) > 2)
    found = examine(tokenizer, [f"{known} {known} 🎉", "🎉 🥰", known, known])
    assert found == Unknown(tokens=3 / 7, texts=1 / 4)


def test_what_truncation_cuts_does_not_count(tokenizer):
    known = next(token for token in VOCABULARY if token.isalpha() and len(token) > 2)
    assert examine(tokenizer, [f"{known} " * 6 + "🎉"]).tokens == 0


def test_many_texts_are_sampled(tokenizer, monkeypatch):
    monkeypatch.setattr("tfsent.text.unknown.EXAMINED_AT_MOST", 100)
    assert examine(tokenizer, ["🎉"] * 500).texts == 1
    half = ["🎉" if i < 500 else "film" for i in range(1000)]
    assert examine(tokenizer, half).texts == pytest.approx(np.mean([t == "🎉" for t in half]), abs=0.02)


@pytest.mark.parametrize(("tokens", "texts", "said"), [(0.01, 0.0, False), (0.011, 0.0, True), (0.0, 0.02, True)])
def test_the_advice_names_a_multilingual_encoder(tokens, texts, said, messages):
    found = Unknown(tokens, texts)
    found.warn("Training reviews")
    assert (found.advice is not None) == said
    if said:
        assert "hf:google-bert/bert-base-multilingual-cased" in found.advice
        assert "learning" not in found.advice
        assert "Training reviews: " in messages.text
