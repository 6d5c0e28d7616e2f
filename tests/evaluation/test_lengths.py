"""Lengths in tokens, and what is cut."""

from dataclasses import replace

import numpy as np
import pytest
from stub_predictor import Stub
from tiny import VOCABULARY

from tfsent.evaluation.lengths import describe, review_lengths, spec_of, tokens_read
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import MAX_WINDOWS, TextSpec
from tfsent.text.tokenizer import Tokenizer

SPEC = TextSpec(lowercase=True, max_tokens=8)


@pytest.mark.parametrize("kind", [Tokenizer, LightTokenizer])
def test_every_tokenizer_gives_the_same_lengths(kind):
    predictor = Stub()
    assert (spec_of(predictor), review_lengths(predictor, ["a film"])) == (None, None)
    predictor.tokenizer = kind(SPEC, VOCABULARY)
    texts = ["good film", "unlikely", "", *["a the film was it and plot"] * 1500]
    assert review_lengths(predictor, texts).tolist() == [4, 5, 2, *[9] * 1500]
    assert spec_of(predictor) == SPEC


def test_what_is_cut():
    found = describe(np.array([4, 8, 9, 20]), SPEC)
    assert (found.max_tokens, found.reviews_cut) == (8, 0.5)
    assert found.histogram.edges[0] == 0 and found.histogram.edges[-1] >= 20
    assert sum(found.histogram.counts["reviews"]) == 4
    windows = replace(SPEC, truncation="windows")
    assert tokens_read(windows) == 8 + (MAX_WINDOWS - 1) * windows.window_step
    assert describe(np.array([4, 8, 9, 1000]), windows).reviews_cut == 0.25


@pytest.mark.parametrize("longest", [2, 3, 60, 700, 250_000])
def test_there_are_about_thirty_bars_of_a_round_width(longest):
    lengths = np.concatenate([np.arange(2, longest + 1)[-2000:], [longest]])
    found = describe(lengths, TextSpec(lowercase=True, max_tokens=512))
    widths = {high - low for low, high in zip(found.histogram.edges, found.histogram.edges[1:], strict=False)}
    assert len(widths) == 1 and len(found.histogram.edges) <= 31
    assert sum(found.histogram.counts["reviews"]) == len(lengths)
