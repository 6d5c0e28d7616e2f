"""One interface over every form of a model: the run's Keras model, the SavedModel, the `.tflite` file.

`predict` knows only this interface, and `evaluate` and `verify` ask through it, so that the shipped forms are asked
what the trained model was asked. (A SavedModel is verified by `_serving_process.py`, where there is no tfsent.)
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsent.console import load_tensorflow, quiet_stderr
from tfsent.errors import ArtifactError, first_line
from tfsent.storage import run_directory
from tfsent.text.spec import read_labels

BATCH_TOKENS = 8192

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text."""

    text: str
    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor(ABC):
    """Texts in, probabilities out.

    Attributes:
        label_names: the classes, in the order of the columns of `probabilities`.
    """

    label_names: tuple[str, ...]

    @abstractmethod
    def probabilities(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """Class probabilities, `float32[n, classes]`, rows in the order of `texts`.

        `advance` is told how many more texts are done, for a progress bar.
        """

    def predict(self, texts: Iterable[str]) -> list[Prediction]:
        """Label, its probability and all probabilities of each text."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts. Received one string: put it in a list.")
        texts = list(texts)  # pandas gives a Series of texts by label, not by place
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise TypeError(f"predict takes a list of texts. Received in it: {strange[0]!r}.")
        results = []
        for text, row in zip(texts, self.probabilities(texts).tolist(), strict=True):
            best = int(np.argmax(row))
            named = dict(zip(self.label_names, row, strict=True))
            results.append(Prediction(text, self.label_names[best], row[best], named))
        return results


class KerasPredictor(Predictor):
    """The model of a run directory, as it was trained, in float32."""

    def __init__(self, run: Path):
        from tfsent.model.classifier import load_classifier
        from tfsent.text.tokenizer import Tokenizer

        folder = run_directory.require_run(run) / "model"
        self.label_names = read_labels(folder)
        self.tokenizer = Tokenizer.load(folder)
        self.model = load_classifier(folder / "model.keras")

    def probabilities(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """See `Predictor`."""
        import keras

        from tfsent.text.batch_plan import BatchPlan, Shapes, fine_lengths
        from tfsent.text.token_store import tokenize_all

        tokens = tokenize_all(self.tokenizer, texts)
        of_rows = np.zeros((len(tokens), len(self.label_names)), np.float32)
        shapes = Shapes(fine_lengths(self.tokenizer.spec.max_tokens))
        for rows, length in BatchPlan(tokens.lengths, BATCH_TOKENS, shapes=shapes).epoch(0):
            logits = self.model.predict_on_batch(tokens.pad(rows, length, self.tokenizer.pad_id))
            of_rows[rows] = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
            advance(tokens.reviews_begun(rows))
        return tokens.mean_by_review(of_rows)


class SavedModelPredictor(Predictor):
    """A SavedModel of ours: raw strings in, through its `serving_default` signature."""

    def __init__(self, folder: Path):
        import tensorflow as tf
        import tensorflow_text

        del tensorflow_text  # its import registers the ops the graph uses
        folder = newest_version(folder)
        self.label_names = read_labels(folder / "assets.extra")
        try:
            self._loaded = tf.saved_model.load(str(folder))
            self._serve = self._loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtifactError(f"{folder} cannot be loaded as a SavedModel of tfsent: {first_line(error)}") from error

    def probabilities(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """See `Predictor`."""
        import tensorflow as tf

        from tfsent.text.token_store import encode

        result = np.zeros((len(texts), len(self.label_names)), np.float32)
        # Texts of like length together, so that little of a batch is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tf.constant([encode(texts[i]) for i in rows])
            result[rows] = self._serve(text=batch)["probabilities"].numpy()
            advance(len(rows))
        return result


class TFLitePredictor(Predictor):
    """A `.tflite` file of ours: token ids in, tokenised here by the specification that lies beside the file.

    `latencies` holds the seconds that each text's inference took; with `truncation: windows` all of its windows.
    """

    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter

        from tfsent.text.tokenizer import Tokenizer

        self.label_names = read_labels(path.parent)
        self.tokenizer = Tokenizer.load(path.parent)
        self.latencies: list[float] = []
        self.threads = os.cpu_count() or 1
        try:
            with quiet_stderr():  # LiteRT announces its delegates
                self._interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
                self._interpreter.allocate_tensors()
            details = self._interpreter.get_input_details()
            index = {detail["name"]: detail["index"] for detail in details}
            self._inputs = {name: index[f"serving_default_{name}:0"] for name in TFLITE_INPUTS}
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ArtifactError(f"{path} cannot be opened as a .tflite file of tfsent: {first_line(error)}") from error
        self._output = self._interpreter.get_output_details()[0]["index"]

    def probabilities(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
        """See `Predictor`."""
        from tfsent.text.token_store import tokenize_all

        tokens = tokenize_all(self.tokenizer, texts)
        of_rows = np.zeros((len(tokens), len(self.label_names)), np.float32)
        seconds = np.zeros(len(tokens))
        for i in range(len(tokens)):
            inputs = tokens.pad(np.array([i]), self.tokenizer.spec.max_tokens, self.tokenizer.pad_id)
            for name, key in TFLITE_INPUTS.items():
                self._interpreter.set_tensor(self._inputs[name], inputs[key].astype(np.int32))
            started = time.perf_counter()
            self._interpreter.invoke()
            seconds[i] = time.perf_counter() - started
            of_rows[i] = self._interpreter.get_tensor(self._output)[0]
            advance(tokens.reviews_begun(np.array([i])))
        self.latencies += np.bincount(tokens.owner, seconds).tolist()
        return tokens.mean_by_review(of_rows)


TFLITE_INPUTS = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
"""The inputs of a `.tflite` file of ours, named as MediaPipe names them → the Keras model's. All `int32[1, length]`."""


def load(path: str | Path) -> Predictor:
    """Open a run directory, a SavedModel or a `.tflite` file. See `tfsent.load`.

    Raises:
        ArtifactError: it is none of these, or something in it is missing.
        RunError: it is a run without a finished model.
    """
    path = Path(path)
    opener = _opener(path)
    load_tensorflow()
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


def newest_version(folder: Path) -> Path:
    """The SavedModel of a folder of versions: the highest number, as TensorFlow Serving takes it; else the folder."""
    versions = _versions(folder)
    return folder / str(max(versions)) if versions else folder


def _versions(folder: Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / "saved_model.pb").is_file()]
