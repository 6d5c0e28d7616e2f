"""Confidence against accuracy: of the reviews that a model is 80% sure of, does it have 80% right?"""

from __future__ import annotations

import numpy as np

from tfsent.evaluation.analysis import Bin, Reliability
from tfsent.evaluation.intervals import wilson

BINS = 15
"""Of equal width, from 0 to 1, as C. Guo et al. (ICML 2017) have them."""


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, `int64[n]`, from 0. A bin has its upper end and not its lower one.

    Args:
        confidence: `float[n]`, above 0.
    """
    return np.minimum(np.ceil(confidence * BINS).astype(int), BINS) - 1


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """Compare confidence with accuracy.

    Args:
        probabilities: `float[n, classes]`. The most probable class counts, whatever the threshold of the model.
        labels: `int[n]`.

    Returns:
        The bins that have reviews, and the expected calibration error: the mean distance of confidence and accuracy.
    """
    exact = normalized(probabilities)
    confidence, right = exact.max(axis=1), exact.argmax(axis=1) == labels
    bins, error = [], 0.0
    for number, rows in ((number, bin_of(confidence) == number) for number in range(BINS)):
        if count := int(rows.sum()):
            hits, mean = int(right[rows].sum()), float(confidence[rows].mean())
            interval = wilson(hits, count)
            bins.append(Bin(number / BINS, (number + 1) / BINS, count, mean, hits / count, interval))
            error += count * abs(mean - hits / count) / len(labels)
    return Reliability(error, tuple(bins))


def normalized(probabilities: np.ndarray) -> np.ndarray:
    """Return `float64[n, classes]` whose rows sum to 1 exactly; those of float32 do so nearly."""
    exact = probabilities.astype(np.float64)
    return exact / exact.sum(axis=1, keepdims=True)
