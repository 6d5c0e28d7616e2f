"""What `metrics.json` says, read with patience: earlier versions wrote fewer figures, and a figure may be missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

PLAIN = ("accuracy", "balanced_accuracy", "macro_f1", "matthews", "roc_auc", "pr_auc")
OF_PROBABILITIES = ("log_loss", "brier", "calibration_error")


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% interval, where that is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassRow:
    """Figures of one class."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    reviews: int


@dataclass(frozen=True)
class Measured:
    """What an evaluation found."""

    reviews: int
    split: str
    origin: str
    fingerprint: str
    figures: dict[str, Figure]
    """By the names of `evaluation.metrics.Metrics`; those that are not numbers are left out."""
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: the true class. Empty where it does not fit the classes."""
    without_reviews: tuple[str, ...]
    never_predicted: tuple[str, ...]
    unknown_labels: dict[str, int]
    unknown_tokens: float | None
    threshold: float | None
    """With which the classes were chosen."""
    calibration_error_before: float | None
    """Without the temperature; None where there is none."""

    @property
    def majority(self) -> float | None:
        """Accuracy of answering the most frequent class always."""
        largest = max((row.reviews for row in self.classes), default=0)
        return largest / self.reviews if self.reviews else None

    @property
    def confusions(self) -> list[tuple[str, str, int, float]]:
        """True class, predicted class, reviews and share of the true class, the most frequent first."""
        names = [row.name for row in self.classes]
        found = [
            (names[i], names[j], cell, cell / sum(row))
            for i, row in enumerate(self.confusion)
            for j, cell in enumerate(row)
            if i != j and cell
        ]
        return sorted(found, key=lambda one: -one[2])


def number(value: Any) -> float | None:
    """Return a number, or None for what is not a finite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def whole(value: Any) -> int:
    """Return a whole number, 0 for what is not a number."""
    return int(number(value) or 0)


def words(value: Any) -> tuple[str, ...]:
    """Return a list of words, empty for what is none."""
    return tuple(str(word) for word in value) if isinstance(value, (list, tuple)) else ()


def read_measured(tree: dict[str, Any]) -> Measured | None:
    """Read the tree of `metrics.json`; None where it has no accuracy."""
    figures = {}
    for name in (*PLAIN, *OF_PROBABILITIES):
        if (value := number(tree.get(name))) is not None:
            figures[name] = Figure(value, *_interval(tree.get(f"{name}_interval")))
    if "accuracy" not in figures or whole(tree.get("reviews")) < 1:
        return None
    classes = tuple(_class_row(name, row) for name, row in _tree(tree.get("classes")).items())
    return Measured(
        reviews=whole(tree.get("reviews")),
        split=str(tree.get("split") or ""),
        origin=str(tree.get("origin") or ""),
        fingerprint=str(tree.get("fingerprint") or ""),
        figures=figures,
        classes=classes,
        confusion=_confusion(tree.get("confusion_matrix"), len(classes)),
        without_reviews=words(tree.get("without_reviews")),
        never_predicted=words(tree.get("never_predicted")),
        unknown_labels={str(name): whole(rows) for name, rows in _tree(tree.get("unknown_labels")).items()},
        unknown_tokens=number(tree.get("unknown_tokens")),
        threshold=number(tree.get("threshold")),
        calibration_error_before=number(tree.get("calibration_error_before")),
    )


def _interval(value: Any) -> tuple[float | None, float | None]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None, None
    low, high = map(number, value)
    return (None, None) if low is None or high is None else (low, high)


def _tree(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _class_row(name: Any, row: Any) -> ClassRow:
    row = _tree(row)
    precision, recall, f1 = (number(row.get(key)) for key in ("precision", "recall", "f1"))
    return ClassRow(str(name), precision, recall, f1, whole(row.get("support")))


def _confusion(value: Any, classes: int) -> tuple[tuple[int, ...], ...]:
    rows = value if isinstance(value, list) else []
    found = tuple(tuple(map(whole, row)) for row in rows if isinstance(row, list))
    return found if len(found) == classes and all(len(row) == classes for row in found) else ()
