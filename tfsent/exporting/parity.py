"""Exported files + held-out reviews → do they agree with the trained model, and what do they cost?

Every file is run through its own runtime: a SavedModel in a process without Keras or tfsent, a `.tflite` file by
ai-edge-litert. A file that only loads has proved nothing.
"""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.recipe.schema import BudgetConfig


@dataclass(frozen=True)
class Parity:
    """What one exported file costs against the trained model, on the same reviews."""

    artifact: str
    megabytes: float
    """Of 1,000,000 bytes."""
    max_difference: float
    """Largest difference of any probability; NaN when the file gave one."""
    flips: float
    """Share of reviews whose label changes."""
    accuracy: float
    accuracy_drop: float
    """Of the trained model's accuracy; negative when the file does better."""
    latency_ms: float
    """Median, one review at a time; a SavedModel tokenises too, a `.tflite` file does not."""
    faults: tuple[str, ...]
    """Where it is over budget."""

    @property
    def passed(self) -> bool:
        """Whether it may ship."""
        return not self.faults


def compare(
    artifact: str,
    path: Path,
    probabilities: np.ndarray,
    seconds: list[float],
    reference: ReferenceAnswers,
    budget: BudgetConfig,
) -> Parity:
    """Measure an artifact's probabilities against the trained model's and hold them to the budget.

    Args:
        artifact: `savedmodel`, `float32` or `int8`.
        path: the file or folder, for its size.
        probabilities: what the artifact gave, `float32[n, classes]`.
        seconds: of single inferences.
        reference: what the trained model gave, and the labels.
        budget: the limits.
    """
    difference = float(np.abs(probabilities - reference.probabilities).max())
    predicted = probabilities.argmax(axis=1)
    flips = float((predicted != reference.probabilities.argmax(axis=1)).mean())
    accuracy = float((predicted == reference.labels).mean())
    drop = reference.accuracy - accuracy
    faults = []
    if not np.isfinite(difference):  # and so over no limit, as a NaN is greater than nothing
        faults.append("it gave a probability that is not a number")
    if artifact == "int8":
        if flips > budget.int8_flips:
            faults.append(f"{flips:.2%} of labels flip, budget {budget.int8_flips:.2%}")
        if drop > budget.int8_accuracy_drop:
            faults.append(f"accuracy drops by {drop:.2%}, budget {budget.int8_accuracy_drop:.2%}")
    else:
        limit = budget.savedmodel_difference if artifact == "savedmodel" else budget.float32_difference
        if difference > limit:
            faults.append(f"a probability differs by {difference:.2g}, budget {limit:g}")
    latency = 1000 * statistics.median(seconds)
    return Parity(artifact, _size(path) / 1e6, difference, flips, accuracy, drop, latency, tuple(faults))


@dataclass(frozen=True)
class ReferenceAnswers:
    """The trained model's answers on the held-out reviews."""

    reviews: Reviews
    probabilities: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The true labels, `int32[n]`."""
        return self.reviews.labels

    @property
    def accuracy(self) -> float:
        """The trained model's accuracy."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())


def report(parities: list[Parity], reference: ReferenceAnswers) -> dict[str, Any]:
    """What `verify.json` keeps."""
    return {
        "passed": all(parity.passed for parity in parities),
        "reviews": len(reference.reviews),
        "origin": reference.reviews.origin,
        "trained_model_accuracy": reference.accuracy,
        "threads": os.cpu_count(),
        "artifacts": [
            {
                **asdict(parity),
                # JSON has no NaN, and strict readers refuse the whole file for one.
                "max_difference": parity.max_difference if math.isfinite(parity.max_difference) else None,
                "faults": list(parity.faults),  # as it is read back
                "passed": parity.passed,
            }
            for parity in parities
        ],
    }


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
