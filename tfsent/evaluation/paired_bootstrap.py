"""How much two models differ, with intervals by the paired bootstrap: reviews are drawn, and both models have the same.

Accuracy and F1 follow from how often each triple of a true label and two answers is drawn: a draw is a row of counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.evaluation.reliability import normalized

DRAWS = 10_000
"""Samples of the bootstrap."""
CHUNK = 100
"""Draws that are in memory at a time."""


@dataclass(frozen=True)
class Difference:
    """A metric of two models."""

    a: float
    b: float
    difference: float
    """B minus A."""
    interval: tuple[float, float]
    """95%, of the difference, by the paired bootstrap (B. Efron, 1979): both models are drawn on the same reviews."""


def paired_differences(
    reviews: Reviews, probabilities: tuple[np.ndarray, np.ndarray], predicted: tuple[np.ndarray, np.ndarray]
) -> tuple[Difference, Difference, Difference]:
    """Return the differences of two models in accuracy, macro F1 and log loss.

    Args:
        reviews: labelled ones.
        probabilities: of A and of B, `float32[n, classes]`.
        predicted: what A and B answer, `int[n]`.
    """
    labels, (a, b) = reviews.labels.astype(np.int64), predicted
    count, classes = len(labels), len(reviews.label_names)
    codes, cell = np.unique((labels * classes + a) * classes + b, return_inverse=True)
    losses = [_losses(one, labels) for one in probabilities]
    excess = losses[1] - losses[0]
    of_cells = (codes // classes**2, (codes // classes % classes, codes % classes), classes)
    rng, drawn = np.random.default_rng(0), np.empty((3, DRAWS))
    for start in range(0, DRAWS, CHUNK):
        counts = np.empty((CHUNK, len(codes)))
        for i in range(CHUNK):
            rows = rng.integers(count, size=count, dtype=np.int32)
            counts[i] = np.bincount(cell[rows], minlength=len(codes))
            drawn[2, start + i] = excess[rows].mean()
        of_chunk = _of_counts(counts, *of_cells)
        drawn[:2, start : start + CHUNK] = of_chunk[:, 1] - of_chunk[:, 0]
    whole = _of_counts(np.bincount(cell).astype(float)[None], *of_cells)[:, :, 0].tolist()
    values = [*whole, [float(one.mean()) for one in losses]]
    accuracy, f1, loss = (_difference(a, b, spread) for (a, b), spread in zip(values, drawn, strict=True))
    return accuracy, f1, loss


def _of_counts(
    counts: np.ndarray, true: np.ndarray, answers: tuple[np.ndarray, np.ndarray], classes: int
) -> np.ndarray:
    """Return accuracy and macro F1 of A and B, `float64[2, 2, draws]`.

    Args:
        counts: `float64[draws, cells]`, how often each cell is drawn.
        true, answers: the labels and answers of the cells, `int[cells]`.
        classes: how many there are.
    """
    of_both = [[metric(counts, true, one, classes) for one in answers] for metric in (_accuracy, _macro_f1)]
    return np.array(of_both)


def _difference(a: float, b: float, drawn: np.ndarray) -> Difference:
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return Difference(a, b, b - a, (low, high))


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = normalized(probabilities)[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, np.finfo(np.float64).eps, 1))  # as in `probabilities.py`


def _accuracy(counts: np.ndarray, true: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """Return the accuracy of each draw, `float64[draws]`, from the counts of cells, `float64[draws, cells]`."""
    return counts @ (true == answer) / counts.sum(axis=1)


def _macro_f1(counts: np.ndarray, true: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    is_true, is_answer = ((codes[:, None] == np.arange(classes)).astype(float) for codes in (true, answer))
    hits = counts @ (is_true * is_answer)
    either = counts @ (is_true + is_answer)
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    return f1.sum(axis=1) / (either > 0).sum(axis=1)
