"""Metrics, against figures worked out by hand."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfsent.cli.tables import print_metrics
from tfsent.evaluation.metrics import ClassMetrics, compute_metrics


def test_two_classes_by_hand():
    positive = np.array([0.9, 0.8, 0.3, 0.6, 0.2], np.float32)
    labels = np.array([1, 1, 1, 0, 0])
    found = compute_metrics(np.stack([1 - positive, positive], axis=1), labels, ("no", "yes"))
    assert found.accuracy == 3 / 5
    # Wilson: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964, p = 0.6, n = 5
    assert found.accuracy_interval == pytest.approx([0.230724, 0.882379], abs=1e-5)
    assert found.confusion_matrix == [[1, 1], [1, 2]]
    assert found.classes["yes"].support == 3
    yes = found.classes["yes"]
    assert (yes.precision, yes.recall, yes.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Of the 6 pairs (positive, negative) the positive ranks higher in 5.
    assert found.roc_auc == pytest.approx(5 / 6)
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.4, 0.8]).mean(), abs=1e-6)


def test_three_classes_one_never_predicted():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]], np.float32)
    found = compute_metrics(probabilities, np.array([0, 1, 2]), ("a", "b", "c"))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.classes["c"] == ClassMetrics(precision=0.0, recall=0.0, f1=0.0, support=1)
    assert found.confusion_matrix[2] == [1, 0, 0]
    probabilities = np.array([[0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.25, 0.25, 0.5]], np.float32)
    found = compute_metrics(probabilities, np.array([0, 0, 1, 2]), ("a", "b", "c"))
    # Each class against the rest, pair by pair. a: 0.3 and 0.2 against 0.4 and 0.25: 1 of 4. b: 0.4 against 0.6, 0.5
    # and 0.25: 1 of 3. c: 3 of 3. The mean, whatever their sizes:
    assert found.roc_auc == pytest.approx((1 / 4 + 1 / 3 + 1) / 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_reviews_has_no_roc_auc(classes, capsys):
    probabilities = np.full((3, classes), 1 / classes, np.float32)
    names = tuple("abc"[:classes])
    found = compute_metrics(probabilities, np.array([0, 0, classes - 2]), names)
    assert found.roc_auc is None
    json.dumps(found.to_dict(), allow_nan=False)
    print_metrics(found)
    assert "ROC-AUC –\n" in capsys.readouterr().out


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
@settings(deadline=None, max_examples=50)
def test_metrics_are_those_of_scikit_learn(pairs):
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = compute_metrics(np.eye(4, dtype=np.float32)[predicted] * 0.97 + 0.0075, labels, tuple("abcd"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
        assert found.macro_f1 == pytest.approx(sk.f1_score(labels, predicted, average="macro", zero_division=0.0))
        assert found.matthews == pytest.approx(sk.matthews_corrcoef(labels, predicted))
    for name in ("balanced_accuracy", "macro_f1", "matthews", "accuracy"):
        low, high = getattr(found, f"{name}_interval")
        assert low - 1e-9 <= high
    assert found.without_reviews == tuple(name for i, name in enumerate("abcd") if i not in labels)
    assert set(found.never_predicted) == {"abcd"[i] for i in set(labels.tolist()) - set(predicted.tolist())}


def test_intervals_are_those_of_the_bootstrap():
    """Against draws of the reviews themselves, one by one."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.7, labels, rng.integers(0, 3, 400))
    found = compute_metrics(np.eye(3, dtype=np.float32)[predicted], labels, tuple("abc"))
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, 400, 400)
        drawn.append(sk.matthews_corrcoef(labels[rows], predicted[rows]))
    assert found.matthews_interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    assert found == compute_metrics(np.eye(3, dtype=np.float32)[predicted], labels, tuple("abc"))


@pytest.mark.parametrize("classes", [2, 4, 10, 77, 300])
def test_tables_stay_within_100_columns(classes, capsys):
    names = tuple(f"customer_request_number_{i:02}" for i in range(classes))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 2000)
    print_metrics(compute_metrics(rng.dirichlet(np.ones(classes), 2000).astype(np.float32), labels, names))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert ("Most frequent confusions" in printed) == (classes > 10)


def test_what_the_figures_do_not_cover_is_said(capsys):
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]], np.float32)
    print_metrics(compute_metrics(probabilities, np.array([0, 1]), ("a", "b", "c"), unknown_labels={"x": 3}))
    printed = capsys.readouterr().out
    assert "No review here has the class 'c'" in printed
    assert "Never predicted: 'b'" in printed
    assert "Left out: 3 rows with labels that the model does not know: 'x'" in printed
