"""The errors that a model is surest of: of the model, of the labels, or of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfsent.data.duplicates import nearly_in
from tfsent.data.reviews import Reviews
from tfsent.evaluation.analysis import WorstError

SHOWN = 10
CANDIDATES = 50
"""Errors among which those are found that do not occur in train."""


def worst_errors(
    reviews: Reviews,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    train: Sequence[str] | None,
    shown: int = SHOWN,
) -> tuple[tuple[WorstError, ...], int | None]:
    """Find the most confident errors. Texts that nearly occur in train are set aside: they tell of the split.

    Args:
        reviews: labelled ones.
        probabilities: `float[n, classes]`.
        predicted: `int[n]`, what the model answers.
        train: texts of the training reviews; None where they are not at hand.
        shown: how many errors are wanted.

    Returns:
        The errors, each text once, and how many were set aside; None without the training reviews.
    """
    wrong = np.flatnonzero(predicted != reviews.labels)
    confidence = probabilities[wrong, predicted[wrong]]
    rows = _each_text_once(wrong[np.argsort(-confidence, kind="stable")].tolist(), reviews.texts)
    near = [False] * len(rows) if train is None else nearly_in([reviews.texts[i] for i in rows], train).tolist()
    found: list[WorstError] = []
    aside = 0
    for row, is_near in zip(rows, near, strict=True):
        if len(found) == shown:
            break
        if is_near:
            aside += 1
            continue
        true, answer = (reviews.label_names[labels[row]] for labels in (reviews.labels, predicted))
        found.append(WorstError(row, reviews.texts[row], true, answer, float(probabilities[row, predicted[row]])))
    return tuple(found), None if train is None else aside


def _each_text_once(rows: Sequence[int], texts: Sequence[str]) -> list[int]:
    """Return the first `CANDIDATES` rows with different texts."""
    seen: dict[str, int] = {}
    for row in rows:
        seen.setdefault(texts[row], row)
        if len(seen) == CANDIDATES:
            break
    return list(seen.values())
