"""Duplicates, on data made so that the answer is known, and on IMDb, where one figure is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.data import duplicates
from tfsent.data.reviews import Reviews


def reviews_of(*pairs, names=("bad", "good")):
    return Reviews(tuple(t for t, _ in pairs), np.array([n for _, n in pairs], np.int32), names, "made up")


def test_repeats_conflicts_and_leaks_are_counted():
    parts = {
        "train": reviews_of(("a", 0), ("a", 0), ("a", 0), ("b", 0), ("b", 1), ("c", 1)),
        "test": reviews_of(("c", 1), ("b", 0), ("a", 1), ("d", 1)),
    }
    found = duplicates.find_duplicates(parts)
    assert found.repeated_in == {"train": 3, "test": 0}
    assert found.texts_with_two_labels == 2
    assert found.shared == {"train and test": duplicates.Shared(3, 2)}


def test_overlap_with_train_is_warned_about(messages):
    train = reviews_of(*((f"review {i}", i % 2) for i in range(10)))
    held_out = {"validation": reviews_of(("new", 0), ("Review 3", 1)), "test": reviews_of(("new", 0), ("review 3", 1))}
    duplicates.warn_about_overlap(held_out, train)
    assert [(record.levelname, record.message.partition(" (")[0]) for record in messages.records] == [
        (
            "WARNING",
            "1 of the 2 test reviews also occur in train, verbatim. Memorised reviews inflate the reported accuracy",
        )
    ]


LONG = "the actor saw a dull scene and the plot was poor but this film it was lovely i saw the movie twice over again"


def test_near_duplicates_ignore_case_and_punctuation():
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
def test_the_jaccard_index_is_exact(words, changes):
    other = list(words)
    for place, word in changes:
        other[place % len(other)] = word

    def runs(words):
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    expected = len(runs(words) & runs(other)) / len(runs(words) | runs(other))
    found = duplicates.jaccard(
        duplicates.shingles_of(" ".join(words)), duplicates.shingles_of(", ".join(other).upper())
    )
    assert found == pytest.approx(expected)


@pytest.mark.real
def test_imdb_shares_123_reviews(tfds_parts, monkeypatch):
    monkeypatch.setattr(duplicates, "COMPARED", 100)  # the near ones are not what this is about
    assert duplicates.find_duplicates(tfds_parts).shared == {"train and test": duplicates.Shared(123, 123)}


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_texts_are_found_among_others(seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 9, rng.integers(0, 12))) for _ in range(12)]
    others = [" ".join(f"w{i}" for i in rng.integers(0, 9, rng.integers(0, 12))) for _ in range(12)]
    others += [f"{text.upper()} again" for text in texts[::2]]
    index = [[set(duplicates.shingles_of(one).tolist()) for one in group] for group in (texts, others)]
    expected = [any(len(a & b) / len(a | b) >= 0.8 for b in index[1]) for a in index[0]]
    assert duplicates.nearly_in(texts, others).tolist() == expected
    assert duplicates.nearly_in([], others).tolist() == []
    assert duplicates.nearly_in(texts, []).tolist() == [False] * 12
