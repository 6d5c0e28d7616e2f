"""Probabilities and labels → metrics. scikit-learn's and SciPy's definitions, so that a figure means what it says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.inference.keras_run import KerasPredictor
from tfsent.storage import atomic, run_directory


def evaluate(run: Path, split: str = "test") -> dict[str, Any]:
    """Evaluate a run's model on reviews it never learnt from; write `metrics.json` and `predictions.csv`.

    Args:
        run: the run directory.
        split: `test`, or `validation` (by which the best epoch was chosen: it flatters).

    Returns:
        What `compute_metrics` gives, with `split`, `origin` and `reviews`.

    Raises:
        RunError: no finished run is there.
        DataError: its held-out reviews are damaged.
    """
    predictor = KerasPredictor(run_directory.require_run(run))
    run_directory.warn_if_interrupted(run)
    reviews = load_reviews(run / "heldout" / f"{split}.jsonl.gz")
    with progress_bar(f"evaluating {split}", len(reviews)) as bar:
        probabilities = predictor.predict_proba(reviews.texts, bar.update)
    result = {
        "split": split,
        "origin": reviews.origin,
        "fingerprint": reviews.fingerprint,
        **compute_metrics(probabilities, reviews.labels, reviews.label_names),
    }
    suffix = "" if split == "test" else f"-{split}"
    atomic.write_json(run / f"metrics{suffix}.json", result)
    _write_predictions(run / f"predictions{suffix}.csv", reviews, probabilities)
    return result


def compute_metrics(probabilities: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> dict[str, Any]:
    """Metrics of a classifier.

    Args:
        probabilities: `float32[n, classes]`, rows summing to 1.
        labels: `int32[n]`.
        label_names: of the classes.

    Returns:
        `accuracy` with `accuracy_interval`, its 95% interval (E. B. Wilson, 1927), `roc_auc` (the probability that a
        positive review ranks above a negative one; macro average of one class against the rest beyond two classes),
        `log_loss` (natural logarithm), `classes` with precision, recall, F1 and support, and `confusion_matrix` (rows:
        the true class, columns: the predicted one).
    """
    classes = np.arange(len(label_names))
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    interval = stats.binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    names = ("precision", "recall", "f1", "support")
    columns = [dict(zip(names, column, strict=True)) for column in zip(*(v.tolist() for v in per_class), strict=True)]
    # float32 rows sum to 1 only nearly, and the metrics insist.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "reviews": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_interval": [float(interval.low), float(interval.high)],
        "roc_auc": _roc_auc(exact, labels),
        "log_loss": float(sk.log_loss(labels, exact, labels=classes)),
        "classes": dict(zip(label_names, columns, strict=True)),
        "confusion_matrix": sk.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def _roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    if probabilities.shape[1] == 2:
        return float(sk.roc_auc_score(labels, probabilities[:, 1]))
    return float(sk.roc_auc_score(labels, probabilities, multi_class="ovr", labels=np.arange(probabilities.shape[1])))


def _write_predictions(path: Path, reviews: Reviews, probabilities: np.ndarray) -> None:
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["true_label", "predicted_label", *(f"p_{name}" for name in reviews.label_names), "text"])
        for text, label, row in zip(reviews.texts, reviews.labels, probabilities, strict=True):
            names = reviews.label_names[label], reviews.label_names[int(row.argmax())]
            writer.writerow([*names, *(f"{p:.6f}" for p in row), text])
