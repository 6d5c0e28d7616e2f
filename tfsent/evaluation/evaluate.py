"""A model and labelled reviews → metrics and a file of predictions: a run on its own reviews, any model on any file."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews, load_reviews
from tfsent.data.splits import load_splits
from tfsent.errors import RunError, TfsentError
from tfsent.evaluation import suspects
from tfsent.evaluation.analyse import Attribute, analyse, explainer
from tfsent.evaluation.metrics import Metrics, compute_metrics
from tfsent.evaluation.probabilities import calibration_error
from tfsent.evaluation.report.renew import renew
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.recipe.loader import load_config
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
    attribute = explainer(predictor) if split == "test" else None  # which takes seconds a review
    found = answers.judged(split=split, train=training_texts(run), attribute=attribute)
    suffix = "" if split == "test" else f"-{split}"
    atomic.write_json(run / f"metrics{suffix}.json", found.to_dict())
    if found.analysis is not None:
        atomic.write_json(run / f"analysis{suffix}.json", found.analysis.to_dict())
    _write_predictions(run / f"predictions{suffix}.csv", answers)
    renew(run)
    return found


def evaluate_reviews(
    predictor: Predictor,
    reviews: Reviews,
    unknown_labels: dict[str, int] | None = None,
    output: Path | None = None,
    label_errors: Path | None = None,
    split: str = "",
) -> Metrics:
    """Evaluate any form of a model on labelled reviews.

    Args:
        predictor: the model.
        reviews: with the classes of the model.
        unknown_labels: labels of the source that the model does not know, with their rows.
        output: where to write a file of predictions; None writes none.
        split: `test` or `validation`, where the reviews are a run's.
        label_errors: where to write all reviews with those first whose labels may be wrong; None writes none.

    Returns:
        The metrics.

    Raises:
        RunError: `output` or `label_errors` is a file of something else, or cannot be written.
        ConfigError: `label_errors` needs cleanlab, which is not installed.
    """
    if output is not None:
        _require_own(output)
    if label_errors is not None:
        suspects.require_cleanlab()
        suspects.require_own(label_errors)
    answers = ask(predictor, reviews, split)
    if output is not None:
        _write_predictions(output, answers)
    if label_errors is not None:
        found = suspects.find_suspects(reviews, answers.probabilities)
        suspects.write_suspects(label_errors, reviews, answers.probabilities, found)
    return answers.judged(split=split, unknown_labels=unknown_labels or {})


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

    def judged(
        self, *, split: str, train: Sequence[str] | None = None, attribute: Attribute | None = None, **about: Any
    ) -> Metrics:
        """Return the metrics and the analysis.

        Args:
            split: `test` or `validation` of a run; empty for others.
            train: texts of the training reviews; None where they are not at hand.
            attribute: explains the worst errors; None leaves them unexplained.
            **about: other fields of the metrics.
        """
        reviews, unknown = self.reviews, self.unknown
        found = analyse(
            self.predictor,
            reviews,
            self.probabilities,
            before=self.before,
            split=split,
            train=train,
            attribute=attribute,
        )
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
            split=split,
            analysis=found,
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


def training_texts(run: Path) -> Sequence[str] | None:
    """Return the texts that a run learnt from; None where they are not at hand without a download, or changed."""
    config = load_config(run / "config.yaml").data
    downloaded = config.source == "imdb" or config.source.startswith("tfds:")
    if config.source == "memory" or (downloaded and config.dir is None):
        return None
    try:
        with _silent("tfsent.data"):  # what it warns of was said when the run was trained
            train = load_splits(config).train
        known = json.loads((run / "data.json").read_text(encoding="utf-8"))["splits"]["train"]["fingerprint"]
    except (TfsentError, OSError, ValueError, KeyError, TypeError):
        return None
    return train.texts if train.fingerprint == known else None


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger's messages to itself, and those of the loggers below it."""
    spoken = logging.getLogger(name)
    level = spoken.level
    spoken.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        spoken.setLevel(level)


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
