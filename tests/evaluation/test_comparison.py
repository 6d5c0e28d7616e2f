"""Two models' answers, against scikit-learn, SciPy and figures worked out by hand."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from tfsent.data.reviews import Reviews
from tfsent.errors import RunError
from tfsent.evaluation.comparison import HEADER, compare_answers, mcnemar, write_flips


def reviews_of(labels, classes=2):
    texts = tuple(f'review {i}, with\n"quotes"' for i in range(len(labels)))
    return Reviews(texts, np.array(labels, np.int32), tuple("abcdefgh"[:classes]), "reviews of a test")


def answers(seed, count, classes, skill=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    found = []
    for strength in (1.0, skill):
        z = np.exp(rng.normal(size=(count, classes)) + strength * np.eye(classes)[labels])
        found.append((z / z.sum(axis=1, keepdims=True)).astype(np.float32))
    return reviews_of(labels, classes), tuple(found)


def compared(reviews, probabilities, **options):
    return compare_answers(reviews, probabilities, tuple(one.argmax(axis=1) for one in probabilities), **options)


def test_four_reviews_by_hand():
    second = np.array([[0.9, 0.2, 0.4, 0.3], [0.9, 0.6, 0.7, 0.1]])
    a, b = (np.stack([1 - one, one], axis=1) for one in second)
    found = compared(reviews_of([1, 1, 0, 0]), (a, b), names=("x", "y"), split="test")
    assert (found.a, found.b, found.split, found.reviews) == ("x", "y", "test", 4)
    assert (found.gained, found.lost, found.both_wrong, found.mcnemar_p) == (1, 1, 0, 1.0)
    assert (found.accuracy.a, found.accuracy.b, found.accuracy.difference) == (0.75, 0.75, 0)
    assert found.log_loss.a == pytest.approx(-np.log([0.9, 0.2, 0.6, 0.7]).mean())
    assert found.log_loss.b == pytest.approx(-np.log([0.9, 0.6, 0.3, 0.9]).mean())
    # A has two of class a and one of b right: F1 is 2·2/(2+3) and 2·1/(2+1).
    assert found.macro_f1.a == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert [(flip.row, flip.change, flip.label_a, flip.label_b) for flip in found.flips] == [
        (1, "gained", "a", "b"),
        (2, "lost", "a", "b"),
    ]
    assert (found.flips[0].probability_a, found.flips[0].probability_b) == pytest.approx((0.2, 0.6))


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (8, 1, 20 / 512), (121, 59, 4.434e-6), (6, 6, 1.0)],
)
def test_mcnemar_is_a_fair_coin(gained, lost, p):
    """2·P(X ≤ min) of a binomial with a half: 8 against 1 is 2·(1 + 9)/512; 121 against 59 is in many textbooks."""
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == pytest.approx(p, rel=1e-3)
    exact = min(1.0, 2 * stats.binom.cdf(min(gained, lost), gained + lost, 0.5))
    assert mcnemar(gained, lost) == pytest.approx(exact)


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(deadline=None, max_examples=5)
def test_values_are_those_of_scikit_learn(seed, classes):
    reviews, probabilities = answers(seed, 40, classes)
    found = compared(reviews, probabilities)
    for name, one in zip("ab", probabilities, strict=True):
        predicted = one.argmax(axis=1)
        assert getattr(found.accuracy, name) == pytest.approx(sk.accuracy_score(reviews.labels, predicted))
        f1 = sk.f1_score(reviews.labels, predicted, average="macro", zero_division=0.0)
        assert getattr(found.macro_f1, name) == pytest.approx(f1)
        exact = one.astype(float) / one.sum(axis=1, keepdims=True)
        assert getattr(found.log_loss, name) == pytest.approx(sk.log_loss(reviews.labels, exact, labels=range(classes)))
    wrong = [one.argmax(axis=1) != reviews.labels for one in probabilities]
    flipped = probabilities[0].argmax(axis=1) != probabilities[1].argmax(axis=1)
    assert found.both_wrong == (wrong[0] & wrong[1] & flipped).sum()
    assert len(found.flips) == flipped.sum() == found.gained + found.lost + found.both_wrong


@pytest.mark.parametrize("classes", [2, 4])
def test_intervals_are_those_of_a_plain_paired_bootstrap(classes):
    reviews, (a, b) = answers(3, 300, classes, skill=1.3)
    found = compared(reviews, (a, b))
    labels, rng = reviews.labels, np.random.default_rng(99)
    drawn = []
    for _ in range(3000):
        rows = rng.integers(300, size=300)
        of_both = []
        for one in (a, b):
            said = one.argmax(axis=1)[rows]
            f1 = []
            for c in range(classes):  # by definition
                hits = ((said == c) & (labels[rows] == c)).sum()
                either = (said == c).sum() + (labels[rows] == c).sum()
                f1 += [2 * hits / either] if either else []
            loss = -np.log(one[rows, labels[rows]]).mean()
            of_both.append(((said == labels[rows]).mean(), np.mean(f1), loss))
        drawn.append(np.subtract(of_both[1], of_both[0]))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for i, one in enumerate((found.accuracy, found.macro_f1, found.log_loss)):
        assert one.interval == pytest.approx((low[i], high[i]), abs=0.012)
        assert one.interval[0] < one.difference < one.interval[1]
    assert found == compared(reviews, (a, b))  # the seed is fixed


def test_the_verdict_says_what_a_person_asks():
    labels = np.zeros(400, int)
    right, wrong = [0.9, 0.1], [0.2, 0.8]
    a = np.array([right] * 300 + [wrong] * 100)
    better = np.array([right] * 380 + [wrong] * 20)
    reviews = reviews_of(labels)
    assert compared(reviews, (a, better)).verdict.startswith("B is better than A, by 20.00 points of accuracy (95%")
    said = compared(reviews, (better, a)).verdict
    assert said.startswith("A is better than B, by 20.00 points of accuracy (95% confidence interval 1")
    assert said.endswith(
        "B alone is right on 0 reviews, A alone on 80: chance gives so uneven a split in less than 1 of 1,000 cases. "
        "The probabilities of A are better: log loss 0.1806 against 0.4814."
    )
    near = a.copy()
    near[0], near[399] = wrong, right
    assert compared(reviews, (a, near)).verdict.startswith(
        "No difference in accuracy is shown. B alone is right on 1 review, A alone on 1: chance gives so uneven a "
        "split in 100 of 100 cases. The true difference, B minus A, is between -"
    )
    same = compared(reviews, (a, a))
    assert same.verdict == "No difference in accuracy: A and B are right and wrong alike on all 400 reviews."
    assert (same.flips, same.mcnemar_p, same.accuracy.interval) == ((), 1.0, (0, 0))


def test_certainty_that_is_wrong_is_a_large_loss_and_not_an_infinite_one():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = compared(reviews_of([0, 0]), (certain, certain[::-1]))
    json.dumps(found.to_dict(), allow_nan=False)


def test_flips_are_written_with_their_texts_and_json_names_rows(tmp_path):
    reviews, probabilities = answers(1, 50, 3)
    found = compared(reviews, probabilities)
    write_flips(tmp_path / "flips.csv", found.flips)
    with (tmp_path / "flips.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["text"] for row in rows] == [reviews.texts[flip.row] for flip in found.flips]
    assert {row["change"] for row in rows} <= {"gained", "lost", "both wrong"}
    tree = json.loads(json.dumps(found.to_dict()))
    assert [flip["row"] for flip in tree["flips"]] == [int(row["row"]) for row in rows]
    assert "text" not in tree["flips"][0]
    assert tree["verdict"] == found.verdict
    assert len(tree["accuracy"]["interval"]) == 2
    write_flips(tmp_path / "flips.csv", found.flips)  # its own file is replaced


def test_a_file_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(RunError, match="mine.csv exists, and is no file of flips. Name another with --output"):
        write_flips(tmp_path / "mine.csv", ())
    with pytest.raises(RunError, match="is a folder. Expected a file for the flips"):
        write_flips(tmp_path, ())
    assert (tmp_path / "mine.csv").read_text() == "precious"
    assert HEADER[0] == "change"
