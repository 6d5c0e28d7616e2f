"""A `.tflite` file of tfsent as a `Predictor`, run by ai-edge-litert."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsent.backend import quiet_stderr
from tfsent.errors import ArtifactError, first_line
from tfsent.inference.predictor import Advance, Predictor, ignore
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import read_labels
from tfsent.text.unknown import Unknown, count_unknown, some

CHUNK = 1024
"""Texts that are tokenised at a time."""
INPUTS = {"ids": "token_ids", "mask": "padding_mask", "segment_ids": "segment_ids"}
"""The inputs of a `.tflite` file, named as MediaPipe names them → those of the Keras model. All `int32[1, length]`.
The exporter writes files with these names. They stand here, for exporting may import inference and not the reverse."""


class TFLitePredictor(Predictor):
    """A `.tflite` file: token ids in. Texts are tokenised here by the specification that lies beside the file.

    Neither TensorFlow nor Keras is loaded. Any number of threads may ask it. They take turns: LiteRT's interpreter is
    not thread-safe, and one inference uses all cores.

    Args:
        path: the file, with `vocab.txt`, `text.json` and `labels.txt` beside it.

    Attributes:
        tokenizer: makes the token ids.
        threads: of an inference.

    Raises:
        ArtifactError: a file is missing or damaged, or tfsent did not write it.
    """

    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter

        self.label_names = read_labels(path.parent)
        self.tokenizer = LightTokenizer.load(path.parent)
        self.threads = os.cpu_count() or 1
        self._turn = threading.Lock()
        try:
            with quiet_stderr():  # LiteRT announces its delegates
                self._interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
                self._interpreter.allocate_tensors()
            details = {detail["name"]: detail["index"] for detail in self._interpreter.get_input_details()}
            self._inputs = {name: details[f"serving_default_{name}:0"] for name in INPUTS}
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ArtifactError(f"{path} cannot be opened as a .tflite file of tfsent: {first_line(error)}") from error
        self._output = self._interpreter.get_output_details()[0]["index"]

    def unknown(self, texts: Sequence[str]) -> Unknown:
        """See `Predictor`."""
        rows, _ = self.tokenizer(some(texts))
        return count_unknown(rows, self.tokenizer.unk_id)

    def predict_proba(self, texts: Sequence[str], advance: Advance = ignore) -> np.ndarray:
        """See `Predictor`."""
        return self.timed_proba(texts, advance)[0]

    def timed_proba(self, texts: Sequence[str], advance: Advance = ignore) -> tuple[np.ndarray, list[float]]:
        """Classify texts and time each inference.

        Args:
            texts: the texts.
            advance: see `Predictor`.

        Returns:
            Probabilities, `float32[n, classes]`, and the seconds that each text took, tokenising not included. With
            `truncation: windows` they are the sum over its windows.
        """
        probabilities = np.zeros((len(texts), len(self.label_names)), np.float32)
        seconds = np.zeros(len(texts))
        for start in range(0, len(texts), CHUNK):
            rows, owner = self.tokenizer(texts[start : start + CHUNK])
            windows = np.bincount(owner)
            for row, i in zip(rows, owner.tolist(), strict=True):
                found, took = self._invoke(self.tokenizer.pad(row, self.tokenizer.spec.max_tokens))
                probabilities[start + i] += found / np.float32(windows[i])
                seconds[start + i] += took
                advance(1 if windows[i] == 1 else 0)
            advance(int((windows > 1).sum()))
        return probabilities, seconds.tolist()

    def _invoke(self, inputs: dict[str, Any]) -> tuple[np.ndarray, float]:
        """Run the model on one row; return its probabilities, `float32[classes]`, and seconds."""
        with self._turn:
            for name, key in INPUTS.items():
                self._interpreter.set_tensor(self._inputs[name], inputs[key])
            started = time.perf_counter()
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)[0], time.perf_counter() - started
