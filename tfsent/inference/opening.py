"""A path → the `Predictor` that opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfsent import backend
from tfsent.errors import ArtifactError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.inference.saved_model import SavedModelPredictor, _versions
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.storage import run_directory


def load(path: str | Path) -> Predictor:
    """Open a run directory, a SavedModel or a `.tflite` file. See `tfsent.load`.

    Raises:
        ArtifactError: it is none of these, or something in it is missing.
        RunError: it is a run without a finished model.
    """
    path = Path(path)
    opener = _opener(path)
    backend.use("tensorflow")
    return opener(path)


def _opener(path: Path) -> Callable[[Path], Predictor]:
    """What opens a path. Decided before TensorFlow is loaded: a wrong path is told at once."""
    if path.suffix == ".tflite" and path.is_file():
        return TFLitePredictor
    if (path / "config.yaml").is_file():
        run_directory.require_run(path)
        return KerasPredictor
    if path.is_dir() and (_versions(path) or (path / "saved_model.pb").is_file()):
        return SavedModelPredictor
    expected = "Expected a run directory, a SavedModel folder or a .tflite file of tfsent"
    if not path.exists():
        raise ArtifactError(f"There is nothing at {path}. {expected}.")
    if path.is_dir() and (files := sorted(path.glob("*.tflite"))):
        raise ArtifactError(f"{path} holds several models. Name one: {', '.join(map(str, files))}.")
    if exported := [path / place for place in ("serving", "mobile") if (path / place).is_dir()]:
        raise ArtifactError(f"{path} holds several models. Name one, in {' or '.join(map(str, exported))}.")
    raise ArtifactError(f"{path} cannot be opened: it is {'a folder' if path.is_dir() else 'a file'}. {expected}.")
