"""A path → the `Predictor` that opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfsent import backend
from tfsent.errors import ArtifactError
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.predictor import Predictor
from tfsent.inference.saved_model import SavedModelPredictor, versions_of
from tfsent.inference.tflite_file import TFLitePredictor
from tfsent.storage import bundle, run_directory


def load(path: str | Path) -> Predictor:
    """Open a run directory, a bundle of one, a SavedModel or a `.tflite` file; see `tfsent.load`.

    Raises:
        ArtifactError: the path is none of these, or a file is missing or damaged.
        RunError: it is a run without a finished model.
        ConfigError: Keras is loaded on, or `KERAS_BACKEND` is set to, another backend than TensorFlow.
    """
    path = bundle.inside(Path(path))
    opener = opener_of(path)
    if opener is not TFLitePredictor:  # which needs neither TensorFlow nor Keras
        backend.use("tensorflow")
    return opener(path)


def opener_of(path: Path) -> Callable[[Path], Predictor]:
    """Return what opens a path. Decided before TensorFlow is loaded: a wrong path is reported at once."""
    path = bundle.inside(path)
    if path.suffix == ".tflite" and path.is_file():
        return TFLitePredictor
    if (path / "config.yaml").is_file() or (path / "seeds.json").is_file():
        run_directory.require_run(path)
        return KerasPredictor
    if path.is_dir() and (versions_of(path) or (path / "saved_model.pb").is_file()):
        return SavedModelPredictor
    expected = "Expected a run directory, a bundle, a SavedModel folder or a .tflite file of tfsent"
    if not path.exists():
        raise ArtifactError(f"There is nothing at {path}. {expected}.")
    if path.is_dir() and (files := sorted(path.glob("*.tflite"))):
        raise ArtifactError(f"{path} holds several models. Name one: {', '.join(map(str, files))}.")
    if exported := [path / place for place in ("serving", "mobile") if (path / place).is_dir()]:
        raise ArtifactError(f"{path} holds several models. Name one, in {' or '.join(map(str, exported))}.")
    raise ArtifactError(f"{path} cannot be opened: it is {'a folder' if path.is_dir() else 'a file'}. {expected}.")
