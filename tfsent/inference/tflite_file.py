"""A `.tflite` file of tfsent as a `Predictor`, run by ai-edge-litert."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfsent.backend import quiet_stderr
from tfsent.errors import ArtifactError, first_line
from tfsent.inference.predictor import Advance, Predictor, ignore
from tfsent.model.decision import read_decision
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import read_labels, read_text_files
from tfsent.text.unknown import Unknown, count_unknown, some

MODEL = "model.tflite"
"""The phone file of an export."""
MEDIAPIPE = "model-mediapipe.tflite"
"""The file for MediaPipe, which keeps the head of a long text: so do we, when this file is asked."""
DEFAULT_SIGNATURE = "serving_default"
"""The signature of the longest texts. Shorter ones are called `tokens_LENGTH`."""
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
        threads: of an inference; None for all cores.

    Attributes:
        path: of the file.
        tokenizer: makes the token ids.
        threads: of an inference.
        signatures: the length of each in tokens, and what runs it; the shortest first.
        lengths: the length of each signature by its name.

    Raises:
        ArtifactError: a file is missing or damaged, or tfsent did not write it. Asking raises it, too, where LiteRT
            opens the file and cannot run it.
    """

    def __init__(self, path: Path, threads: int | None = None):
        from ai_edge_litert.interpreter import Interpreter

        self.path = path
        self.label_names = read_labels(path.parent)
        self.decision = read_decision(path.parent)
        spec, vocabulary = read_text_files(path.parent)
        if path.name == MEDIAPIPE:
            spec = replace(spec, truncation="head")
        self.tokenizer = LightTokenizer(spec, vocabulary)
        self.threads = threads or os.cpu_count() or 1
        self._turn = threading.Lock()
        try:
            with quiet_stderr():  # LiteRT announces its delegates
                interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
                interpreter.allocate_tensors()
                runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
            first = next(iter(runners.values()), None)
            if first is None or set(first.get_input_details()) != set(INPUTS):
                raise KeyError(f"it takes {', '.join(first.get_input_details()) if first else 'nothing'}")
            self.lengths = {n: int(one.get_input_details()["ids"]["shape"][1]) for n, one in runners.items()}
            self.signatures = sorted(((self.lengths[n], one) for n, one in runners.items()), key=lambda pair: pair[0])
        except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
            raise ArtifactError(f"{path} cannot be opened as a .tflite file of tfsent: {first_line(error)}") from error

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
                found, took = self._invoke(row)
                probabilities[start + i] += found / np.float32(windows[i])
                seconds[start + i] += took
                advance(1 if windows[i] == 1 else 0)
            advance(int((windows > 1).sum()))
        return probabilities, seconds.tolist()

    def _invoke(self, row: np.ndarray) -> tuple[np.ndarray, float]:
        """Run the shortest signature that a row fits; return its probabilities, `float32[classes]`, and seconds."""
        length, runner = next(pair for pair in self.signatures if len(row) <= pair[0])
        padded = self.tokenizer.pad(row, length)
        inputs = {name: padded[key] for name, key in INPUTS.items()}
        with self._turn:
            started = time.perf_counter()
            try:
                answer = runner(**inputs)["probabilities"][0]
            except (ValueError, RuntimeError, KeyError) as error:
                raise ArtifactError(f"{self.path} opens, and does not run: {first_line(error)}") from error
            return answer, time.perf_counter() - started
