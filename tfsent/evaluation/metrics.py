"""Probabilities and labels → metrics, by the definitions of scikit-learn and SciPy."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.inference.keras_run import KerasPredictor
from tfsent.storage import atomic, run_directory


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class."""

    precision: float
    recall: float
    f1: float
    support: int
    """Reviews of this class."""


@dataclass(frozen=True)
class Metrics:
    """What `tfsent evaluate` measures."""

    reviews: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95% confidence interval (E. B. Wilson, 1927)."""
    balanced_accuracy: float
    macro_f1: float
    roc_auc: float | None
    """Probability that a review of the second class ranks above one of the first; with more classes, the macro average
    of each class against the rest. None where a class has no review."""
    log_loss: float
    """In nats."""
    classes: dict[str, ClassMetrics]
    confusion_matrix: list[list[int]]
    """Rows: the true class. Columns: the predicted class."""
    split: str = ""
    origin: str = ""
    """Where the reviews come from."""
    fingerprint: str = ""
    """SHA-256 of the reviews and labels."""

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics ready for JSON."""
        return {**asdict(self), "accuracy_interval": list(self.accuracy_interval)}


def evaluate(run: Path, split: str = "test") -> Metrics:
    """Evaluate a run's model on reviews it never learnt from; write `metrics.json` and `predictions.csv`.

    Args:
        run: the run directory, or one of several seeds: the best is evaluated.
        split: `test`, or `validation`, by which the best epoch was chosen.

    Returns:
        The metrics.

    Raises:
        RunError: the directory holds no finished run.
        DataError: its held-out reviews are damaged.
    """
    run = run_directory.require_run(run)
    predictor = KerasPredictor(run)
    run_directory.warn_if_interrupted(run)
    reviews = load_reviews(run / "heldout" / f"{split}.jsonl.gz")
    with progress_bar(f"evaluating {split}", len(reviews)) as bar:
        probabilities = predictor.predict_proba(reviews.texts, bar.update)
    about = {"split": split, "origin": reviews.origin, "fingerprint": reviews.fingerprint}
    found = compute_metrics(probabilities, reviews.labels, reviews.label_names, **about)
    suffix = "" if split == "test" else f"-{split}"
    atomic.write_json(run / f"metrics{suffix}.json", found.to_dict())
    _write_predictions(run / f"predictions{suffix}.csv", reviews, probabilities)
    return found


def compute_metrics(
    probabilities: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...], **about: str
) -> Metrics:
    """Compute the metrics of a classifier.

    Args:
        probabilities: `float32[n, classes]`, rows summing to 1.
        labels: `int32[n]`, an index into `label_names`.
        label_names: the classes in the order of the columns.
        **about: `split`, `origin` and `fingerprint` of the result.

    Example:
        >>> compute_metrics(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), ("negative", "positive")).accuracy
        1.0
    """
    classes = np.arange(len(label_names))
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    interval = stats.binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    columns = [ClassMetrics(*column) for column in zip(*(values.tolist() for values in per_class), strict=True)]
    exact = probabilities.astype(np.float64)  # rows of float32 sum to 1 only nearly, and scikit-learn insists
    exact /= exact.sum(axis=1, keepdims=True)
    return Metrics(
        reviews=len(labels),
        accuracy=correct / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        balanced_accuracy=float(np.mean([column.recall for column in columns if column.support])),
        macro_f1=float(sk.f1_score(labels, predicted, average="macro", zero_division=0.0)),
        roc_auc=_roc_auc(exact, labels),
        log_loss=float(sk.log_loss(labels, exact, labels=classes)),
        classes=dict(zip(label_names, columns, strict=True)),
        confusion_matrix=sk.confusion_matrix(labels, predicted, labels=classes).tolist(),
        **about,
    )


def _roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    classes = np.arange(probabilities.shape[1])
    if not np.isin(classes, labels).all():
        return None  # scikit-learn gives NaN, which JSON does not have
    if len(classes) == 2:
        return float(sk.roc_auc_score(labels, probabilities[:, 1]))
    return float(sk.roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes))


def _write_predictions(path: Path, reviews: Reviews, probabilities: np.ndarray) -> None:
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["true_label", "predicted_label", *(f"p_{name}" for name in reviews.label_names), "text"])
        for text, label, row in zip(reviews.texts, reviews.labels, probabilities, strict=True):
            names = reviews.label_names[label], reviews.label_names[int(row.argmax())]
            writer.writerow([*names, *(f"{p:.6f}" for p in row), text])
