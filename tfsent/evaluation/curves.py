"""Curves and histograms of scores, small enough for a report: what changes the shape is kept."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sk

from tfsent.evaluation.analysis import Curve, Histogram

POINTS = 200
"""Of a curve, at most."""
SCORE_BINS = 20


def roc(scores: np.ndarray, positive: np.ndarray) -> Curve | None:
    """Return false and true positive rates, by a falling threshold; None where all reviews are of one class.

    Args:
        scores: `float[n]`, probability of the second class.
        positive: `bool[n]`, whether a review is of that class.
    """
    if positive.all() or not positive.any():
        return None
    false, true, _ = sk.roc_curve(positive, scores)
    return thinned(false, true)


def precision_recall(scores: np.ndarray, positive: np.ndarray) -> Curve | None:
    """Return recall and precision, by a falling threshold; see `roc`."""
    if positive.all() or not positive.any():
        return None
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    return thinned(recall[::-1], precision[::-1])


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> Curve:
    """Keep the points of a curve that its shape needs most, and both ends.

    The point that is furthest from the curve so far is added until there are enough (after U. Ramer, 1972, and
    D. Douglas and T. Peucker, 1973, with a number of points in place of a distance).

    Args:
        x, y: `float[n]`, in the order of the curve.
        points: at most, and at least two.
    """
    line = np.stack([x, y], axis=1).astype(np.float64)
    kept = {0, len(line) - 1}
    parts = [_furthest(line, 0, len(line) - 1)]
    while len(kept) < points and parts[0][0] < 0:
        _, at, start, stop = heapq.heappop(parts)
        kept.add(at)
        for part in ((start, at), (at, stop)):
            heapq.heappush(parts, _furthest(line, *part))
    return tuple((float(a), float(b)) for a, b in line[sorted(kept)])


def _furthest(line: np.ndarray, start: int, stop: int) -> tuple[float, int, int, int]:
    """Return the point furthest from the chord of a part: its distance with a minus sign, where it is, the part."""
    inner = line[start + 1 : stop] - line[start]
    if not len(inner):
        return 0.0, start, start, stop
    chord = line[stop] - line[start]
    length = float(np.hypot(*chord))
    across = np.abs(inner[:, 0] * chord[1] - inner[:, 1] * chord[0]) / length if length else np.hypot(*inner.T)
    at = int(across.argmax())
    return -float(across[at]), start + 1 + at, start, stop


def score_histogram(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str], right: np.ndarray
) -> Histogram:
    """Count scores in twenty equal bins from 0 to 1.

    Args:
        probabilities: `float[n, classes]`.
        labels: `int[n]`.
        names: of the classes.
        right: `bool[n]`, whether the model has a review right.

    Returns:
        Of two classes: the probability of the second, by true class. Of more: the confidence, `right` and `wrong`.
    """
    if len(names) == 2:
        series = {name: probabilities[labels == i, 1] for i, name in enumerate(names)}
    else:
        confidence = probabilities.max(axis=1)
        series = {"right": confidence[right], "wrong": confidence[~right]}
    edges = np.arange(SCORE_BINS + 1) / SCORE_BINS
    return histogram(series, edges.tolist())


def histogram(series: dict[str, np.ndarray], edges: Sequence[float]) -> Histogram:
    """Count values between edges; what lies beyond the last edge counts in the last bin."""
    counts = {}
    for name, values in series.items():
        inside = np.clip(values.astype(np.float64), edges[0], edges[-1])
        counts[name] = tuple(np.histogram(inside, edges)[0].tolist())
    assert all(low < high for low, high in itertools.pairwise(edges))
    return Histogram(tuple(edges), counts)
