"""A `.tflite` file of tfsent as a `Predictor`, run by ai-edge-litert."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfsent.backend import quiet_stderr
from tfsent.errors import ArtifactError, first_line
from tfsent.inference.predictor import Advance, Predictor
from tfsent.text.spec import read_labels


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

    def predict_proba(self, texts: Sequence[str], advance: Advance = lambda count: None) -> np.ndarray:
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
