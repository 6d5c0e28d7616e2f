"""A model and labelled reviews → metrics and a file of predictions: a run on its own reviews, any model on any file."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.errors import RunError
from tfsent.evaluation.metrics import Metrics, compute_metrics
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.storage import atomic, run_directory

logger = logging.getLogger(__name__)

HEADER = ("true_label", "predicted_label")
"""The first columns of a file of predictions; `p_CLASS` for each class and `text` follow."""


def evaluate_run(run: Path, split: str = "test") -> Metrics:
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
    found, probabilities = _evaluate(predictor, reviews, {}, split)
    suffix = "" if split == "test" else f"-{split}"
    atomic.write_json(run / f"metrics{suffix}.json", found.to_dict())
    _write_predictions(run / f"predictions{suffix}.csv", reviews, probabilities)
    return found


def evaluate_reviews(
    predictor: Predictor, reviews: Reviews, unknown_labels: dict[str, int], output: Path | None = None
) -> Metrics:
    """Evaluate any form of a model on labelled reviews.

    Args:
        predictor: the model.
        reviews: with the classes of the model.
        unknown_labels: labels of the source that the model does not know, with their rows.
        output: where to write a file of predictions; None writes none.

    Returns:
        The metrics.

    Raises:
        RunError: `output` is a file of something else, or cannot be written.
    """
    if output is not None:
        _require_own(output)
    found, probabilities = _evaluate(predictor, reviews, unknown_labels)
    if output is not None:
        _write_predictions(output, reviews, probabilities)
    return found


def _evaluate(
    predictor: Predictor, reviews: Reviews, unknown_labels: dict[str, int], split: str = ""
) -> tuple[Metrics, np.ndarray]:
    """Return metrics and probabilities, `float32[n, classes]`; warn of unknown tokens."""
    unknown = predictor.unknown(reviews.texts)
    if unknown is not None:
        unknown.warn("Reviews")
    with progress_bar(f"evaluating {split}".strip(), len(reviews)) as bar:
        probabilities = predictor.predict_proba(reviews.texts, bar.update)
    found = compute_metrics(
        probabilities,
        reviews.labels,
        reviews.label_names,
        split=split,
        origin=reviews.origin,
        fingerprint=reviews.fingerprint,
        unknown_labels=unknown_labels,
        unknown_tokens=None if unknown is None else unknown.tokens,
        unknown_texts=None if unknown is None else unknown.texts,
    )
    return found, probabilities


def _require_own(output: Path) -> None:
    """Refuse to replace a file that is not one of predictions."""
    if output.is_dir():
        raise RunError(f"{output} is a folder. Expected a file for the predictions.")
    if output.is_file():
        with output.open("rb") as handle:
            if not handle.readline().startswith(",".join(HEADER).encode()):
                raise RunError(f"{output} exists, and is no file of predictions. Name another with --output.")


def _write_predictions(path: Path, reviews: Reviews, probabilities: np.ndarray) -> None:
    names: Sequence[str] = reviews.label_names
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*HEADER, *(f"p_{name}" for name in names), "text"])
        for text, label, row in zip(reviews.texts, reviews.labels, probabilities, strict=True):
            writer.writerow([names[label], names[int(row.argmax())], *(f"{p:.6f}" for p in row), text])
