"""Curves against scikit-learn; what is thinned keeps the shape."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfsent.evaluation.curves import POINTS, histogram, precision_recall, roc, score_histogram, thinned


def scores(seed, count):
    rng = np.random.default_rng(seed)
    positive = np.arange(count) % 2 == 0
    return 1 / (1 + np.exp(-rng.normal(size=count) - 1.5 * (2 * positive - 1))), positive


def area(curve):
    return np.trapezoid([y for _, y in curve], [x for x, _ in curve])


@pytest.mark.parametrize("count", [10, 300, 25_000])
def test_areas_are_those_of_scikit_learn(count):
    values, positive = scores(1, count)
    curve = roc(values, positive)
    assert curve[0] == (0, 0) and curve[-1] == (1, 1)
    assert area(curve) == pytest.approx(sk.roc_auc_score(positive, values), abs=0.001)
    recall_precision = precision_recall(values, positive)
    precision, recall, _ = sk.precision_recall_curve(positive, values)
    assert area(recall_precision) == pytest.approx(sk.auc(recall, precision), abs=0.002)
    for one in (curve, recall_precision):
        assert len(one) <= POINTS
        assert all(a <= b for (a, _), (b, _) in itertools.pairwise(one))


def test_no_point_of_the_whole_curve_is_far_from_the_thinned_one():
    values, positive = scores(2, 25_000)
    precision, recall, _ = sk.precision_recall_curve(positive, values)
    x, y = zip(*precision_recall(values, positive), strict=True)
    # At both ends precision falls steeply: there the distance is not upright.
    steady = (recall > 0.02) & (recall < 0.99)
    assert np.abs(np.interp(recall[steady], x, y) - precision[steady]).max() < 0.005


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(2, 12))
@settings(deadline=None, max_examples=50)
def test_points_are_points_of_the_curve(seed, count, points):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.random(count)), rng.integers(0, 3, count) / 2
    found = thinned(x, y, points)
    assert 2 <= len(found) <= points
    assert set(found) <= set(zip(x.tolist(), y.tolist(), strict=True))
    assert (found[0], found[-1]) == ((x[0], y[0]), (x[-1], y[-1]))


def test_a_line_needs_its_ends_only():
    assert thinned(np.array([0, 0.5, 1]), np.array([0, 0.5, 1])) == ((0, 0), (1, 1))
    assert thinned(np.array([0, 0.1, 1]), np.array([0, 0.9, 1])) == ((0, 0), (0.1, 0.9), (1, 1))


def test_one_class_has_no_curve():
    assert roc(np.array([0.1, 0.9]), np.array([True, True])) is None
    assert precision_recall(np.array([0.1, 0.9]), np.array([False, False])) is None


def test_scores_of_two_classes_by_true_class_and_of_more_by_right_and_wrong():
    positive = np.array([0.01, 0.04, 0.99, 1.0])
    two = score_histogram(
        np.stack([1 - positive, positive], axis=1), np.array([0, 1, 1, 1]), ("n", "p"), np.ones(4, bool)
    )
    assert len(two.edges) == 21
    assert (two.counts["n"][0], two.counts["p"][0], two.counts["p"][-1]) == (1, 1, 2)
    three = np.array([[0.8, 0.1, 0.1], [0.42, 0.3, 0.28]])
    found = score_histogram(three, np.array([0, 1]), ("a", "b", "c"), np.array([True, False]))
    assert (sum(found.counts["right"]), sum(found.counts["wrong"]), found.counts["wrong"][8]) == (1, 1, 1)


def test_what_is_beyond_the_last_edge_counts_in_the_last_bin():
    assert histogram({"n": np.array([1, 5, 9, 1000])}, [0.0, 5.0, 10.0]).counts == {"n": (1, 3)}
