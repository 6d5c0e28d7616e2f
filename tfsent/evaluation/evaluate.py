"""A model and labelled reviews → metrics and a file of predictions: a run on its own reviews, any model on any file."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.errors import RunError
from tfsent.evaluation.metrics import Metrics, compute_metrics
from tfsent.evaluation.probabilities import calibration_error
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.storage import atomic, run_directory

if TYPE_CHECKING:
    from tfsent.text.unknown import Unknown

logger = logging.getLogger(__name__)

HEADER = ("true_label", "predicted_label")
"""The first columns of a file of predictions; `p_CLASS` for each class and `text` follow."""


def evaluate_run(run: Path, split: str = "test") -> Metrics:
    """Evaluate a run's model on reviews it never learnt from.

    Writes `metrics.json`, `predictions.csv`, `analysis.json`, `report.html` and `README.md`.

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
    answers = ask(predictor, reviews, split)
    found = answers.metrics(split=split)
    suffix = "" if split == "test" else f"-{split}"
    atomic.write_json(run / f"metrics{suffix}.json", found.to_dict())
    _write_predictions(run / f"predictions{suffix}.csv", answers)
    return found


def evaluate_reviews(
    predictor: Predictor,
    reviews: Reviews,
    unknown_labels: dict[str, int] | None = None,
    output: Path | None = None,
    split: str = "",
) -> Metrics:
    """Evaluate any form of a model on labelled reviews.

    Args:
        predictor: the model.
        reviews: with the classes of the model.
        unknown_labels: labels of the source that the model does not know, with their rows.
        output: where to write a file of predictions; None writes none.
        split: `test` or `validation`, where the reviews are a run's.

    Returns:
        The metrics.

    Raises:
        RunError: `output` is a file of something else, or cannot be written.
    """
    if output is not None:
        _require_own(output)
    answers = ask(predictor, reviews, split)
    if output is not None:
        _write_predictions(output, answers)
    return answers.metrics(split=split, unknown_labels=unknown_labels or {})


@dataclass(frozen=True)
class Answers:
    """What a model says of labelled reviews."""

    predictor: Predictor
    reviews: Reviews
    probabilities: np.ndarray
    """`float32[n, classes]`."""
    before: np.ndarray | None
    """The same without the temperature; None where the model has none, or only a finished file is at hand."""
    unknown: Unknown | None

    def metrics(self, **about: Any) -> Metrics:
        """Return the metrics.

        Args:
            **about: other fields of them.
        """
        reviews, unknown = self.reviews, self.unknown
        return compute_metrics(
            self.probabilities,
            reviews.labels,
            reviews.label_names,
            self.predictor.decision,
            calibration_error_before=None if self.before is None else calibration_error(self.before, reviews.labels),
            origin=reviews.origin,
            fingerprint=reviews.fingerprint,
            unknown_tokens=None if unknown is None else unknown.tokens,
            unknown_texts=None if unknown is None else unknown.texts,
            **about,
        )


def ask(predictor: Predictor, reviews: Reviews, split: str = "") -> Answers:
    """Run a model on labelled reviews; warn of unknown tokens.

    Args:
        predictor: the model.
        reviews: with its classes.
        split: for the progress bar.
    """
    unknown = predictor.unknown(reviews.texts)
    if unknown is not None:
        unknown.warn("Reviews")
    before = None
    with progress_bar(f"evaluating {split}".strip(), len(reviews)) as bar:
        if isinstance(predictor, KerasPredictor) and predictor.decision.temperature != 1:
            probabilities, before = predictor.predict_proba_before(reviews.texts, bar.update)
        else:
            probabilities = predictor.predict_proba(reviews.texts, bar.update)
    return Answers(predictor, reviews, probabilities, before, unknown)


def _require_own(output: Path) -> None:
    """Refuse to replace a file that is not one of predictions."""
    if output.is_dir():
        raise RunError(f"{output} is a folder. Expected a file for the predictions.")
    if output.is_file():
        with output.open("rb") as handle:
            if not handle.readline().startswith(",".join(HEADER).encode()):
                raise RunError(f"{output} exists, and is no file of predictions. Name another with --output.")


def _write_predictions(path: Path, answers: Answers) -> None:
    reviews, names = answers.reviews, answers.reviews.label_names
    rows = zip(
        reviews.texts,
        reviews.labels.tolist(),
        answers.predictor.choose(answers.probabilities).tolist(),
        answers.probabilities,
        strict=True,
    )
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*HEADER, *(f"p_{name}" for name in names), "text"])
        for text, label, predicted, row in rows:
            writer.writerow([names[label], names[predicted], *(f"{p:.6f}" for p in row), text])
