"""Metrics of the probabilities themselves, each with a 95% interval by the bootstrap (B. Efron, 1979) over the reviews.

A draw of reviews with replacement is a weight for each review. Reviews are sorted once, and every metric is a sum over
the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfsent.evaluation.reliability import BINS, bin_of

DRAWS = 1000
"""Samples of the bootstrap."""
CHUNK = 50
"""Draws that are in memory at a time."""

Values = Callable[[np.ndarray], np.ndarray]
"""Weights, `float64[draws, n]`, → a metric, `float64[draws]`."""


def metrics_of_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compute metrics by name, and the interval of each as `NAME_interval`.

    - `roc_auc`: probability that a review of the second class ranks above one of the first; with more classes, the mean
      of each class against the rest.
    - `pr_auc`: average precision of the second class; with more classes, the mean of each class against the rest. It is
      the area under the curve of precision and recall without interpolation.
    - `log_loss`: in nats.
    - `brier`: mean squared error of the second class's probability; with more classes, the mean of the squared errors
      summed over the classes (G. W. Brier, 1950).
    - `calibration_error`: expected calibration error, the mean distance of confidence and accuracy over 15 bins of
      equal width (C. Guo et al., 2017).

    Args:
        probabilities: `float64[n, classes]`, rows summing to 1.
        labels: `int32[n]`.

    Returns:
        Floats and pairs of floats. `roc_auc` and `pr_auc` and their intervals are None where a class has no review.
    """
    functions = _functions(probabilities, labels)
    values = {name: [float(value(np.ones((1, len(labels))))[0])] for name, value in functions.items()}
    rng = np.random.default_rng(0)
    for _ in range(0, DRAWS, CHUNK):
        chosen = rng.integers(len(labels), size=(CHUNK, len(labels)))
        weights = np.stack([np.bincount(row, minlength=len(labels)) for row in chosen]).astype(np.float64)
        for name, value in functions.items():
            values[name] += value(weights).tolist()
    found: dict[str, Any] = {}
    for name in ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error"):
        found[name], found[f"{name}_interval"] = None, None
        if name in values:
            found[name], *drawn = values[name]
            found[f"{name}_interval"] = tuple(np.nanquantile(drawn, [0.025, 0.975]).tolist())
    return found


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error, see `metrics_of_probabilities`.

    Args:
        probabilities: `float32[n, classes]`.
        labels: `int32[n]`.
    """
    return float(_calibration_error(probabilities, labels)(np.ones((1, len(labels))))[0])


def _functions(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Values]:
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    # scikit-learn's limit: a probability of 0 for what happened would be an infinite loss.
    own = np.clip(probabilities[rows, labels], np.finfo(probabilities.dtype).eps, 1)
    errors = (probabilities - (labels[:, None] == np.arange(classes))) ** 2
    functions: dict[str, Values] = {
        "log_loss": _mean(-np.log(own)),
        "brier": _mean(errors[:, 1] if classes == 2 else errors.sum(axis=1)),
        "calibration_error": _calibration_error(probabilities, labels),
    }
    if np.isin(np.arange(classes), labels).all():
        of_classes = [1] if classes == 2 else range(classes)
        rankings = [_Ranking(probabilities[:, c], labels == c) for c in of_classes]
        functions["roc_auc"] = lambda weights: np.mean([one.roc_auc(weights) for one in rankings], axis=0)
        functions["pr_auc"] = lambda weights: np.mean([one.average_precision(weights) for one in rankings], axis=0)
    return functions


def _mean(losses: np.ndarray) -> Values:
    return lambda weights: weights @ losses / weights.sum(axis=1)


def _calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> Values:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = bin_of(confidence)
    excess = (bins[:, None] == np.arange(BINS)) * (confidence - right)[:, None]  # [n, bins]
    return lambda weights: np.abs(weights @ excess).sum(axis=1) / weights.sum(axis=1)


class _Ranking:
    """Reviews from the highest score to the lowest; equal scores count as one step.

    Args:
        scores: `float64[n]`.
        positive: `bool[n]`.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        self._order = np.argsort(-scores, kind="stable")
        self._positive = positive[self._order]
        self._steps = np.flatnonzero(np.diff(scores[self._order], prepend=np.inf))

    def _hits(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the false positives at each step, `float64[draws, steps]`."""
        ordered = weights[:, self._order]
        true = np.add.reduceat(ordered * self._positive, self._steps, axis=1)
        return true, np.add.reduceat(ordered, self._steps, axis=1) - true

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Return the area under the curve of true and false positives, `float64[draws]`."""
        true, false = self._hits(weights)
        below = np.cumsum(true, axis=1) - true / 2  # equal scores count half
        with np.errstate(invalid="ignore"):  # a draw may lack a class
            return (false * below).sum(axis=1) / (true.sum(axis=1) * false.sum(axis=1))

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean precision over the positive reviews, `float64[draws]`."""
        true, false = self._hits(weights)
        so_far = np.cumsum(true, axis=1)
        with np.errstate(invalid="ignore"):
            precision = np.divide(so_far, so_far + np.cumsum(false, axis=1))
            return np.nansum(true * precision, axis=1) / true.sum(axis=1)
