"""tfsent: sentiment classifiers that agree with themselves on the server and on the phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tfsent.inference.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(path: str | Path) -> Predictor:
    """Open anything tfsent made: a run directory, a SavedModel, or a `.tflite` file.

    Args:
        path: a run directory, a (versioned) SavedModel folder, or a `.tflite` file with its
            sidecars beside it, as `tfsent export` writes them.

    Returns:
        A `tfsent.predictors.Predictor`. `.predict(texts)` gives one `Prediction` a text,
        `.predict_proba(texts)` the bare `float32[n, classes]`.

    Raises:
        tfsent.errors.ArtifactError: the path is none of these, or something in it is missing.
    """
    # Here and not above: importing tfsent must not load TensorFlow.
    from tfsent.inference import opening

    return opening.load(path)
