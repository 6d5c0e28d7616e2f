"""The most confident errors, without those that train nearly has."""

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.evaluation.errors import CANDIDATES, worst_errors


def reviews_of(texts, labels):
    return Reviews(tuple(texts), np.array(labels, np.int32), ("no", "yes"), "")


def words(seed, count=40):
    return " ".join(f"w{i}" for i in np.random.default_rng(seed).integers(0, 5000, count))


def test_the_surest_come_first():
    positive = np.array([0.9, 0.2, 0.7, 0.99, 0.6])
    reviews = reviews_of("abcde", [0, 0, 1, 0, 0])
    found, near = worst_errors(reviews, np.stack([1 - positive, positive], axis=1), np.array([1, 0, 1, 1, 1]), None)
    assert [(one.row, one.text, one.true_label, one.predicted_label) for one in found] == [
        (3, "d", "no", "yes"),
        (0, "a", "no", "yes"),
        (4, "e", "no", "yes"),
    ]
    assert [one.probability for one in found] == [0.99, 0.9, 0.6]
    assert (near, found[0].attributions) == (None, None)


def test_the_answer_counts_and_not_the_most_probable_class():
    found, _ = worst_errors(reviews_of("ab", [0, 1]), np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([1, 1]), None)
    assert [(one.row, one.predicted_label, one.probability) for one in found] == [(0, "yes", 0.3)]


def test_texts_that_train_nearly_has_are_set_aside():
    texts = [words(i) for i in range(20)]
    train = [f"{words(0)} indeed", words(3).upper(), words(100), f"{words(5)} {words(101)}"]
    confidence = np.linspace(0.99, 0.6, 20)
    found, near = worst_errors(
        reviews_of(texts, [0] * 20), np.stack([1 - confidence, confidence], axis=1), np.ones(20, int), train
    )
    assert [one.row for one in found] == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert near == 2


def test_only_those_before_the_last_shown_are_counted():
    texts = [words(i) for i in range(8)]
    confidence = np.linspace(0.99, 0.6, 8)
    probabilities = np.stack([1 - confidence, confidence], axis=1)
    found, near = worst_errors(reviews_of(texts, [0] * 8), probabilities, np.ones(8, int), [words(1), words(7)], 3)
    assert ([one.row for one in found], near) == ([0, 2, 3], 1)


def test_a_text_is_shown_once_and_few_are_compared():
    same = ["again"] * 500
    probabilities = np.tile([0.1, 0.9], (500, 1))
    found, _ = worst_errors(reviews_of(same, [0] * 500), probabilities, np.ones(500, int), [])
    assert [one.row for one in found] == [0]
    many = [words(i) for i in range(CANDIDATES + 20)]
    probabilities = np.tile([0.1, 0.9], (len(many), 1))
    found, near = worst_errors(reviews_of(many, [0] * len(many)), probabilities, np.ones(len(many), int), many)
    assert (found, near) == ((), CANDIDATES)


def test_without_an_error_there_is_none():
    assert worst_errors(reviews_of("a", [1]), np.array([[0.1, 0.9]]), np.array([1]), ["a"]) == ((), 0)
