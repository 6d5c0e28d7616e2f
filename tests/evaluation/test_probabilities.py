"""Metrics of probabilities, against scikit-learn and figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfsent.evaluation.probabilities import metrics_of_probabilities


def answers(seed, reviews, classes, decimals=1):
    """Probabilities with many equal ones, and labels that they know something of."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=reviews - classes)])
    logits = np.round(rng.normal(size=(reviews, classes)) + np.eye(classes)[labels], decimals)
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


@given(st.integers(0, 10**6), st.integers(4, 60))
@settings(deadline=None, max_examples=30)
def test_two_classes_are_those_of_scikit_learn(seed, reviews):
    probabilities, labels = answers(seed, reviews, 2)
    found = metrics_of_probabilities(probabilities, labels)
    second = probabilities[:, 1]
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, second))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(labels, second))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(labels, second))


@given(st.integers(0, 10**6), st.integers(3, 5), st.integers(6, 60))
@settings(deadline=None, max_examples=20)
def test_several_classes_are_those_of_scikit_learn(seed, classes, reviews):
    probabilities, labels = answers(seed, reviews, classes)
    found = metrics_of_probabilities(probabilities, labels)
    truth = np.eye(classes)[labels]
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(truth, probabilities))
    assert found["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities))
    assert found["brier"] == pytest.approx(((probabilities - truth) ** 2).sum(axis=1).mean())


def test_calibration_error_by_hand():
    # Two reviews with confidence 0.9, of which one is right; two with 0.6 and 0.61, both right. The bins are a
    # fifteenth wide: 0.6 closes one, 0.61 is in the next.
    positive = np.array([0.9, 0.1, 0.6, 0.39])
    labels = np.array([1, 1, 1, 0])
    found = metrics_of_probabilities(np.stack([1 - positive, positive], axis=1), labels)
    assert found["calibration_error"] == pytest.approx((2 * abs(0.9 - 0.5) + abs(0.6 - 1) + abs(0.61 - 1)) / 4)


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large_one():
    rng = np.random.default_rng(0)
    positive = rng.uniform(size=20_000)
    labels = (rng.uniform(size=20_000) < positive).astype(int)
    honest = metrics_of_probabilities(np.stack([1 - positive, positive], axis=1), labels)
    sharper = positive**3 / (positive**3 + (1 - positive) ** 3)
    bold = metrics_of_probabilities(np.stack([1 - sharper, sharper], axis=1), labels)
    assert honest["calibration_error"] < 0.01 < 0.1 < bold["calibration_error"]
    assert honest["roc_auc"] == pytest.approx(bold["roc_auc"])
    assert honest["brier"] < bold["brier"]


def test_an_interval_is_that_of_a_plain_bootstrap():
    probabilities, labels = answers(1, 150, 2)
    found = metrics_of_probabilities(probabilities, labels)
    rng = np.random.default_rng(5)
    rows = [rng.integers(150, size=150) for _ in range(2000)]
    for name, metric in (
        ("roc_auc", lambda r: sk.roc_auc_score(labels[r], probabilities[r, 1])),
        ("pr_auc", lambda r: sk.average_precision_score(labels[r], probabilities[r, 1])),
        ("brier", lambda r: sk.brier_score_loss(labels[r], probabilities[r, 1])),
    ):
        plain = np.quantile([metric(r) for r in rows], [0.025, 0.975])
        np.testing.assert_allclose(found[f"{name}_interval"], plain, atol=0.015)
        assert found[f"{name}_interval"][0] < found[name] < found[f"{name}_interval"][1]


def test_without_a_class_the_curves_have_no_area():
    found = metrics_of_probabilities(np.full((5, 3), 1 / 3), np.array([0, 0, 1, 1, 0]))
    assert found["roc_auc"] is found["roc_auc_interval"] is found["pr_auc"] is found["pr_auc_interval"] is None
    assert found["log_loss"] == pytest.approx(np.log(3))


def test_certainty_that_is_wrong_is_a_large_loss_and_not_an_infinite_one():
    found = metrics_of_probabilities(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0]))
    assert 30 < found["log_loss"] < 40
    assert found["calibration_error"] == 1
    assert found["roc_auc"] == 0
