"""A run → `.tflite` files with a signature for each length, of built-in ops only; and their proof.

`python -m tfsent.exporting.phone.tflite SAVEDMODEL OUT float32|int8|mediapipe` is the child process that converts:
TensorFlow's converter leaks memory and writes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tfsent import __version__
from tfsent.console import progress_bar
from tfsent.errors import ExportError, last_line
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, compare
from tfsent.exporting.phone.mediapipe import write_mediapipe
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import DEFAULT_SIGNATURE, INPUTS, TFLitePredictor
from tfsent.storage.manifest import sha256
from tfsent.text.spec import write_labels

PRECISIONS = ("float32", "int8")
LENGTHS = (32, 64, 128, 256)
"""Tokens of the shorter signatures. Each adds about 2% to a file of MiniLM-L6."""


def write_tflite(predictor: KerasPredictor, folder: Path, precisions: tuple[str, ...] = PRECISIONS) -> None:
    """Write `model-PRECISION.tflite` files, with vocabulary, text specification and labels beside them.

    Each takes `ids`, `mask` and `segment_ids`, `int32[1, length]`, and gives probabilities, `float32[1, classes]`. The
    signature `serving_default` has the length `max_tokens`. For each of `LENGTHS` below there is a signature
    `tokens_LENGTH` over the same weights, so that a short text costs little.
    int8 is dynamic-range quantisation: the weights of matrix products and embeddings are int8, activations are
    quantised during inference, everything else is float32.

    Args:
        predictor: the run's model.
        folder: where to write; must not exist.
        precisions: `float32`, `int8`, or both. With int8, `model-mediapipe.tflite` is written, too.

    Raises:
        ExportError: the conversion failed.
    """
    folder.mkdir()
    predictor.tokenizer.save(folder)
    write_labels(folder, predictor.label_names)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        source = Path(scratch) / "fixed"
        _write_fixed_lengths(predictor, source)
        for precision in (*precisions, *(["mediapipe"] if "int8" in precisions else [])):
            target = (Path(scratch) if precision == "mediapipe" else folder) / f"model-{precision}.tflite"
            command = [sys.executable, "-P", "-m", "tfsent.exporting.phone.tflite", str(source), str(target), precision]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode or not target.is_file():
                raise ExportError(
                    f"TensorFlow's converter failed on the {precision} file (exit code {done.returncode}): "
                    f"{last_line(done.stderr)}"
                )
            if precision == "mediapipe":
                write_mediapipe(target, folder)


def signatures_of(max_tokens: int) -> dict[str, int]:
    """Return the signatures of a file, each with its length, the shortest first."""
    return {**{f"tokens_{n}": n for n in LENGTHS if n < max_tokens}, DEFAULT_SIGNATURE: max_tokens}


def _write_fixed_lengths(predictor: KerasPredictor, folder: Path) -> None:
    """Write the SavedModel that the converter reads: for each length, token ids in and probabilities out."""
    import keras
    import tensorflow as tf

    model = predictor.model

    def classify(ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {"token_ids": ids, "padding_mask": tf.not_equal(mask, 0), "segment_ids": segment_ids}
        return {"probabilities": tf.nn.softmax(model(inputs, training=False))}

    archive = keras.export.ExportArchive()
    for name, length in signatures_of(predictor.tokenizer.spec.max_tokens).items():
        signature = [tf.TensorSpec([1, length], tf.int32, name=one) for one in INPUTS]
        archive.add_endpoint(name, classify, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def write_contents(folder: Path, max_tokens: int) -> None:
    """Write `manifest.json`: the SHA-256 and the bytes of each file, and the length of each signature.

    Args:
        folder: with the files of an export.
        max_tokens: of the longest signature.
    """
    files = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in sorted(folder.iterdir())}
    contents = {"tfsent": __version__, "signatures": signatures_of(max_tokens), "files": files}
    (folder / "manifest.json").write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def verify_tflite(path: Path, artifact: str, reference: ReferenceAnswers, budget: Budget) -> Parity:
    """Run a `.tflite` file in LiteRT, and compare its answers.

    Args:
        path: the file.
        artifact: its precision.
        reference: the trained model's answers.
        budget: of this precision.
    """
    return compare(artifact, path, ask_tflite(path, artifact, reference), reference, budget)


def ask_tflite(path: Path, artifact: str, reference: ReferenceAnswers) -> tuple[np.ndarray, list[float]]:
    """Run a `.tflite` file in LiteRT; return its probabilities, `float32[n, classes]`, and seconds.

    Args:
        path: the file.
        artifact: its kind, for the progress bar.
        reference: has the reviews.
    """
    predictor = TFLitePredictor(path)
    with progress_bar(f"running the {artifact} file", len(reference.reviews)) as bar:
        return predictor.timed_proba(reference.reviews.texts, bar.update)


def _convert(source: str, target: str, precision: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    names = [DEFAULT_SIGNATURE] if precision == "mediapipe" else list(tf.saved_model.load(source).signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=names)
    # Built-in ops are the default. Flex ops would add 70 MB and more to an app.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    Path(target).write_bytes(converter.convert())


if __name__ == "__main__":
    _convert(*sys.argv[1:])
