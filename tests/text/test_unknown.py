"""The share of [UNK], counted by hand."""

import pytest
from tiny import VOCABULARY

from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import TextSpec
from tfsent.text.unknown import Unknown, count_unknown, some


@pytest.fixture(scope="module")
def examine():
    tokenizer = LightTokenizer(TextSpec(max_tokens=8, lowercase=True, truncation="head"), VOCABULARY)
    return lambda texts: count_unknown(tokenizer(texts)[0], tokenizer.unk_id)


KNOWN = next(token for token in VOCABULARY if token.isalpha() and len(token) > 2)


def test_shares_are_of_tokens_and_of_texts(examine):
    assert examine([f"{KNOWN} {KNOWN} 🎉", "🎉 🥰", KNOWN, KNOWN]) == Unknown(tokens=3 / 7, texts=1 / 4)
    assert examine([""]) == Unknown(0.0, 0.0)
    assert examine([]) == Unknown(0.0, 0.0)


def test_what_truncation_cuts_does_not_count(examine):
    assert examine([f"{KNOWN} " * 6 + "🎉"]).tokens == 0


def test_a_sample_lies_evenly_over_all(monkeypatch):
    monkeypatch.setattr("tfsent.text.unknown.EXAMINED_AT_MOST", 100)
    assert some(range(50)) == list(range(50))
    found = some(range(1000))
    assert len(found) == 100
    assert (found[0], found[-1]) == (0, 999)
    assert some([]) == []


@pytest.mark.parametrize(("tokens", "texts", "said"), [(0.01, 0.0, False), (0.011, 0.0, True), (0.0, 0.02, True)])
def test_the_advice_names_a_multilingual_encoder(tokens, texts, said, messages):
    found = Unknown(tokens, texts)
    found.warn("Training reviews")
    assert (found.advice is not None) == said
    if said:
        assert "hf:google-bert/bert-base-multilingual-cased" in found.advice
        assert "learning" not in found.advice
        assert "Training reviews: " in messages.text
