"""Candidates of a phone file, run in LiteRT on the same reviews, in turns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfsent.console import progress_bar
from tfsent.errors import ExportError
from tfsent.exporting.parity import ReferenceAnswers
from tfsent.inference.tflite_file import TFLitePredictor

TURN = 25
"""Reviews that one file answers before the next has its turn: a busy machine then slows all of them alike."""

Answers = tuple[np.ndarray, list[float]]


def ask_in_turns(paths: Mapping[str, Path], reference: ReferenceAnswers) -> dict[str, Answers]:
    """Run `.tflite` files in LiteRT.

    Args:
        paths: the file of each kind.
        reference: has the reviews.

    Returns:
        Of each kind, probabilities, `float32[n, classes]`, in the order of the reference's labels, and the seconds of
        each review.

    Raises:
        ExportError: the labels beside a file are not those of the model.
    """
    predictors = {kind: TFLitePredictor(path) for kind, path in paths.items()}
    texts, names = reference.reviews.texts, reference.reviews.label_names
    for kind, predictor in predictors.items():
        if sorted(predictor.label_names) != sorted(names):
            raise ExportError(
                f"The {kind} file has the labels {', '.join(predictor.label_names)}. Expected {', '.join(names)}."
            )
    parts: dict[str, list[Answers]] = {kind: [] for kind in paths}
    with progress_bar(f"running {', '.join(paths)}", len(texts) * len(paths)) as bar:
        for start in range(0, len(texts), TURN):
            for kind, predictor in predictors.items():
                found, seconds = predictor.timed_proba(texts[start : start + TURN], bar.update)
                # By name: a file with its labels swapped answers wrongly.
                parts[kind].append((found[:, [predictor.label_names.index(name) for name in names]], seconds))
    return {
        kind: (np.concatenate([found for found, _ in answers]), [second for _, took in answers for second in took])
        for kind, answers in parts.items()
    }
