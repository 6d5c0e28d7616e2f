"""Bins of confidence, against the calibration error and figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsent.evaluation import probabilities as metrics
from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.reliability import BINS, bin_of, normalized, reliability


def test_bins_by_hand():
    positive = np.array([0.9, 0.1, 0.6, 0.39, 0.61])
    found = reliability(np.stack([1 - positive, positive], axis=1), np.array([1, 1, 1, 0, 1]))
    # 0.6 closes a bin, 0.61 is in the next; 0.9 and 0.9 are in the bin up to 14/15.
    assert [(round(one.low * 15), round(one.high * 15), one.reviews) for one in found.bins] == [
        (8, 9, 1),
        (9, 10, 2),
        (13, 14, 2),
    ]
    assert [one.accuracy for one in found.bins] == [1, 1, 0.5]
    assert found.bins[1].confidence == pytest.approx(0.61)
    assert found.bins[2].interval == wilson(1, 2)
    assert found.error == pytest.approx((0.4 + 2 * 0.39 + 2 * 0.4) / 5)


@given(st.integers(0, 10**6), st.integers(2, 6))
@settings(deadline=None, max_examples=30)
def test_the_error_is_that_of_the_metrics(seed, classes):
    """There is one definition of a bin."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), 80).astype(np.float32)
    labels = rng.integers(classes, size=80)
    found = reliability(probabilities, labels)
    assert found.error == pytest.approx(metrics.calibration_error(normalized(probabilities), labels))
    assert sum(one.reviews for one in found.bins) == 80
    assert all(one.low < one.confidence <= one.high for one in found.bins)
    assert metrics.BINS == BINS


def test_certainty_is_in_the_last_bin():
    assert bin_of(np.array([1.0, 14 / 15 + 1e-9, 1 / 15, 1e-9])).tolist() == [14, 14, 0, 0]
