"""tfsent: sentiment classifiers that agree with themselves on the server and on the phone.

    run = tfsent.train("imdb", data=(texts, labels), run_dir="runs/mine")
    run.evaluate().accuracy
    run.export()
    tfsent.load("runs/mine").predict(["Loved every minute."])

`docs/python.md` explains each function. Importing tfsent loads neither TensorFlow nor Keras.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfsent.api.answers import bench, evaluate, load, predict_file
    from tfsent.api.bundling import bundle
    from tfsent.api.comparing import compare
    from tfsent.api.distilling import distil
    from tfsent.api.explaining import explain
    from tfsent.api.inputs import load_recipe
    from tfsent.api.models import EpochResult, Run, decide, export
    from tfsent.api.training import find_learning_rate, train, train_seeds, tune
    from tfsent.api.verifying import verify
    from tfsent.encoders.loader import Encoder
    from tfsent.errors import TfsentError
    from tfsent.evaluation.metrics import Metrics
    from tfsent.exporting.parity import ParityReport
    from tfsent.inference.bench import BenchResult
    from tfsent.inference.bulk import BulkResult
    from tfsent.inference.predictor import Prediction, Predictor
    from tfsent.recipe.schema import Config

__version__ = "0.2.0"
__all__ = [
    "BenchResult",
    "BulkResult",
    "Config",
    "Encoder",
    "EpochResult",
    "Metrics",
    "ParityReport",
    "Prediction",
    "Predictor",
    "Run",
    "TfsentError",
    "__version__",
    "bench",
    "bundle",
    "compare",
    "decide",
    "distil",
    "evaluate",
    "explain",
    "export",
    "find_learning_rate",
    "load",
    "load_recipe",
    "predict_file",
    "train",
    "train_seeds",
    "tune",
    "verify",
]

_MODULES = {
    "BenchResult": "inference.bench",
    "BulkResult": "inference.bulk",
    "Config": "recipe.schema",
    "Encoder": "encoders.loader",
    "EpochResult": "api.models",
    "Metrics": "evaluation.metrics",
    "ParityReport": "exporting.parity",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Run": "api.models",
    "TfsentError": "errors",
    "bench": "api.answers",
    "bundle": "api.bundling",
    "compare": "api.comparing",
    "decide": "api.models",
    "distil": "api.distilling",
    "evaluate": "api.answers",
    "explain": "api.explaining",
    "export": "api.models",
    "find_learning_rate": "api.training",
    "load": "api.answers",
    "load_recipe": "api.inputs",
    "predict_file": "api.answers",
    "train": "api.training",
    "train_seeds": "api.training",
    "tune": "api.training",
    "verify": "api.verifying",
}
"""The module of each public name, loaded when the name is first used."""

logging.getLogger("tfsent").addHandler(logging.NullHandler())


def _register_layers(_: Any) -> None:
    """Register tfsent's layers with Keras, so that `keras.saving.load_model` opens a `model.keras`."""
    importlib.import_module("tfsent.model.bert")


with contextlib.suppress(ImportError):  # on an edge device, where there is no Keras either
    import wrapt

    wrapt.register_post_import_hook(_register_layers, "keras")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tfsent' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tfsent.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
