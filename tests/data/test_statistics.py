"""What `tfsent data` finds, on data made so that the answer is known, and on IMDb, where one figure is."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCABULARY

from tfsent.data import duplicates, statistics
from tfsent.data.reading import load_parts
from tfsent.data.reviews import Reviews
from tfsent.recipe.schema import DataConfig
from tfsent.text.spec import TextSpec, read_vocabulary
from tfsent.text.token_store import tokenize_all
from tfsent.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(TextSpec(True, 512), VOCABULARY)


def statistics_of(parts, tokenizer=TOKENIZER):
    return statistics.statistics(parts, tokenize_all(tokenizer, parts["train"].texts).review_lengths)


def reviews_of(*pairs, names=("bad", "good")):
    return Reviews(tuple(t for t, _ in pairs), np.array([n for _, n in pairs], np.int32), names, "made up")


LONG = "the actor saw a dull scene and the plot was poor but this film it was lovely i saw the movie twice over again"


def test_repeats_conflicts_and_leaks_are_counted():
    parts = {
        "train": reviews_of(("a", 0), ("a", 0), ("a", 0), ("b", 0), ("b", 1), ("c", 1)),
        "test": reviews_of(("c", 1), ("b", 0), ("a", 1), ("d", 1)),
    }
    found = duplicates.find_duplicates(parts)
    assert found.repeated_in == {"train": 3, "test": 0}
    assert found.texts_with_two_labels == 2
    assert found.shared == {"train and test": duplicates.Shared(3, 2)}


def test_nearly_the_same_is_found_across_case_punctuation_and_a_changed_word():
    parts = {
        "train": reviews_of((LONG, 0), (LONG.upper() + "!!", 0), ("quite another film was this one " * 3, 1)),
        "test": reviews_of((LONG + " indeed", 0), (LONG, 0), ("nothing like any other of them at all", 1)),
    }
    found = duplicates.find_duplicates(parts)
    assert found.near_duplicate_pairs["within train"] == 1
    assert found.near_duplicate_pairs["train and test"] >= 1
    assert found.compared == 6
    assert len(found.near_duplicate_examples) > 1


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=40)


@given(WORDS, st.lists(st.tuples(st.integers(0, 39), st.sampled_from("abcdxyz")), max_size=4))
@settings(deadline=None, max_examples=200)
def test_the_jaccard_index_is_that_of_sets_of_word_runs(words, changes):
    other = list(words)
    for place, word in changes:
        other[place % len(other)] = word

    def runs(words):
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    expected = len(runs(words) & runs(other)) / len(runs(words) | runs(other))
    found = duplicates._jaccard(duplicates._shingles(" ".join(words)), duplicates._shingles(", ".join(other).upper()))
    assert found == pytest.approx(expected)


def test_lengths_and_what_they_would_cut():
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
def test_imdb_has_123_reviews_in_train_and_in_test(minilm, tfds_folder, monkeypatch):
    parts = load_parts(DataConfig(dir=str(tfds_folder)))
    monkeypatch.setattr(duplicates, "COMPARED", 100)  # the near ones are not what this is about
    assert duplicates.find_duplicates(parts).shared == {"train and test": duplicates.Shared(123, 123)}
    tokenizer = Tokenizer(TextSpec(True, 512), read_vocabulary(minilm / "vocab.txt"))
    few = {"train": parts["train"].take(np.arange(2000))}
    assert 200 < statistics_of(few, tokenizer).tokens.quantiles["50%"] < 250
