"""The answers of an exported file beside those of the trained model: do they agree, and what does the file cost?"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.console import progress_bar
from tfsent.data.reviews import Reviews
from tfsent.evaluation.comparison import mcnemar
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.decision import MOST_PROBABLE, Decision
from tfsent.recipe.schema import ExportConfig


@dataclass(frozen=True)
class ReferenceAnswers:
    """The trained model's answers on held-out reviews."""

    reviews: Reviews
    probabilities: np.ndarray
    """`float32[n, classes]`."""
    decision: Decision = MOST_PROBABLE
    """How the model chooses a label."""

    @property
    def predicted(self) -> np.ndarray:
        """The classes that the trained model answers, `int64[n]`."""
        return self.decision.choose(self.probabilities)

    @property
    def labels(self) -> np.ndarray:
        """The true labels, `int32[n]`."""
        return self.reviews.labels

    @property
    def accuracy(self) -> float:
        """The trained model's accuracy."""
        return float((self.predicted == self.labels).mean())

    def missing_from(self, predicted: np.ndarray) -> tuple[str, ...]:
        """Return the classes that have reviews and are not among the predicted ones, `int[n]`."""
        return tuple(self.reviews.label_names[i] for i in np.setdiff1d(self.labels, predicted))


def ask_trained_model(predictor: KerasPredictor, reviews: Reviews) -> ReferenceAnswers:
    """Run the trained model on reviews.

    Args:
        predictor: the run's model.
        reviews: held-out ones.
    """
    with progress_bar("running the trained model", len(reviews)) as bar:
        return ReferenceAnswers(reviews, predictor.predict_proba(reviews.texts, bar.update), predictor.decision)


@dataclass(frozen=True)
class Budget:
    """How far a kind of file may stray from the trained model. None sets no limit."""

    max_difference: float | None = None
    """Of any probability."""
    max_flips: float | None = None
    """Share of the labels."""
    max_accuracy_drop: float | None = None

    def faults(self, difference: float, flips: float, accuracy_drop: float) -> tuple[str, ...]:
        """Return a sentence for each limit that is exceeded."""
        found = []
        if not math.isfinite(difference):
            found.append("it gave a probability that is not a number")
        if self.max_difference is not None and difference > self.max_difference:
            found.append(f"a probability differs by {difference:.2g}, budget {self.max_difference:g}")
        if self.max_flips is not None and flips > self.max_flips:
            found.append(f"{flips:.2%} of labels flip, budget {self.max_flips:.2%}")
        if self.max_accuracy_drop is not None and accuracy_drop > self.max_accuracy_drop:
            found.append(f"accuracy drops by {accuracy_drop:.2%}, budget {self.max_accuracy_drop:.2%}")
        return tuple(found)


def budgets(config: ExportConfig) -> dict[str, Budget]:
    """Return the budgets, from sections `export.budget` and `export.mobile` of the recipe.

    `mobile` is for every phone file but a float32 one with the whole vocabulary, which must give what the model gives.
    """
    serving = config.serving
    mobile = Budget(max_flips=config.mobile.max_flips, max_accuracy_drop=config.mobile.max_accuracy_drop)
    whole = config.mobile.vocabulary == "all"
    return {
        "savedmodel": Budget(max_difference=config.budget.savedmodel_difference),
        "savedmodel-bfloat16": Budget(max_flips=serving.max_flips, max_accuracy_drop=serving.max_accuracy_drop),
        "float32": Budget(max_difference=config.budget.float32_difference) if whole else mobile,
        "mobile": mobile,
    }


@dataclass(frozen=True)
class Parity:
    """What one exported file costs against the trained model, on the same reviews."""

    artifact: str
    """`savedmodel`, a kind of phone file such as `int8`, or `mediapipe`."""
    megabytes: float
    """Of 1,000,000 bytes."""
    max_difference: float | None
    """Largest difference of any probability; None where the file gave one that is not a number."""
    flips: float
    """Share of the reviews whose label changes."""
    accuracy: float
    accuracy_drop: float
    """Below the trained model's accuracy; negative where the file does better."""
    mcnemar_p: float
    """How likely such a change of accuracy is where the file is as good: McNemar's exact test over the reviews that one
    of the two has right and the other wrong (McNemar, Psychometrika 12, 1947)."""
    latency_ms: float
    """Median, one review at a time. A SavedModel tokenises within it; a `.tflite` file is given tokens."""
    faults: tuple[str, ...]
    """Where it is over budget."""
    never_predicted: tuple[str, ...] = ()
    """Classes that have reviews and that the file never predicts."""

    remark: str = ""
    """What else a person should know."""
    not_chosen: str | None = None
    """Why another candidate ships instead of this one; None where this one ships."""

    @property
    def passed(self) -> bool:
        """Whether it may ship."""
        return not self.faults


@dataclass(frozen=True)
class ParityReport:
    """What an export found."""

    reviews: int
    origin: str
    """Where the reviews come from."""
    trained_model_accuracy: float
    trained_model_never_predicted: tuple[str, ...]
    """Classes that have reviews and that the trained model never predicts."""
    threads: int | None
    artifacts: tuple[Parity, ...]
    published: tuple[str, ...] = ()
    """Folders below the run; empty where a file was over its budget."""

    @property
    def passed(self) -> bool:
        """Whether all files that were chosen may ship."""
        return all(parity.passed for parity in self.artifacts if parity.not_chosen is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON, as `verify.json` keeps it."""
        artifacts = [{**_listed(asdict(p)), "passed": p.passed} for p in self.artifacts]
        return {**_listed(asdict(self)), "artifacts": artifacts, "passed": self.passed}


def _listed(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in tree.items()}


def compare(
    artifact: str, path: Path, answers: tuple[np.ndarray, Sequence[float]], reference: ReferenceAnswers, budget: Budget
) -> Parity:
    """Compare the answers of a file with the trained model's, and hold them to a budget.

    Args:
        artifact: the kind of file.
        path: the file or folder, for its size.
        answers: its probabilities, `float32[n, classes]`, and the seconds of single inferences.
        reference: the trained model's answers.
        budget: of this kind of file.
    """
    probabilities, seconds = answers
    difference = float(np.abs(probabilities - reference.probabilities).max())
    predicted = reference.decision.choose(probabilities)
    flips = float((predicted != reference.predicted).mean())
    accuracy = float((predicted == reference.labels).mean())
    drop = reference.accuracy - accuracy
    right, before = predicted == reference.labels, reference.predicted == reference.labels
    return Parity(
        artifact,
        megabytes=_size(path) / 1e6,
        max_difference=difference if math.isfinite(difference) else None,
        flips=flips,
        accuracy=accuracy,
        accuracy_drop=drop,
        mcnemar_p=mcnemar(int((right & ~before).sum()), int((before & ~right).sum())),
        latency_ms=1000 * statistics.median(seconds),
        faults=budget.faults(difference, flips, drop),
        never_predicted=reference.missing_from(predicted),
    )


def report(parities: Sequence[Parity], reference: ReferenceAnswers) -> ParityReport:
    """Collect the parities of an export."""
    reviews = reference.reviews
    return ParityReport(
        reviews=len(reviews),
        origin=reviews.origin,
        trained_model_accuracy=reference.accuracy,
        trained_model_never_predicted=reference.missing_from(reference.predicted),
        threads=os.cpu_count(),
        artifacts=tuple(parities),
    )


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
