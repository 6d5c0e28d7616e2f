"""What `tfsent data` counts, on data made so that the answer is known."""

import json

import numpy as np
import pytest
from tiny import VOCABULARY

from tfsent.data import statistics
from tfsent.data.reviews import Reviews
from tfsent.text.spec import TextSpec, read_vocabulary
from tfsent.text.token_store import tokenize_all
from tfsent.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(TextSpec(True, 512), VOCABULARY)


def statistics_of(parts, tokenizer=TOKENIZER):
    return statistics.statistics(parts, tokenize_all(tokenizer, parts["train"].texts).review_lengths, (0.25, 0.5))


def reviews_of(*pairs, names=("bad", "good")):
    return Reviews(tuple(t for t, _ in pairs), np.array([n for _, n in pairs], np.int32), names, "made up")


def test_lengths_and_truncation_are_counted():
    texts = ["good " * n for n in (10, 30, 62, 63, 600)]
    found = statistics_of({"train": reviews_of(*((t, i % 2) for i, t in enumerate(texts)))}).tokens
    assert (found.up_to, found.reviews) == ([*statistics.LENGTHS, 602], [2, 1, 1, 0, 0, 0, 0, 1])
    assert found.longest == 602
    assert found.max_tokens[64].reviews_cut == 0.4
    lost = (1 + 602 - 64) / (10 + 30 + 62 + 63 + 600)
    assert found.max_tokens[64].tokens_lost == pytest.approx(lost)
    assert found.max_tokens[512].reviews_cut == 0.2


def test_the_result_is_ready_for_json():
    found = statistics_of({"train": reviews_of(("a", 0), ("b", 1)), "test": reviews_of(("a", 0))}).to_dict()
    assert json.loads(json.dumps(found))["duplicates"]["shared"]["train and test"]["texts"] == 1
    assert found["parts"]["train"]["classes"] == {"bad": 1, "good": 1}


def test_the_plot_is_a_png(tmp_path):
    parts = {"train": reviews_of(("a", 0), ("b", 1)), "test": reviews_of(("c", 0))}
    statistics.plot(statistics_of(parts), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.real
def test_the_median_review_of_imdb(minilm, imdb):
    tokenizer = Tokenizer(TextSpec(True, 512), read_vocabulary(minilm / "vocab.txt"))
    few = {"train": imdb.take(np.arange(2000))}
    assert 200 < statistics_of(few, tokenizer).tokens.quantiles["50%"] < 250
