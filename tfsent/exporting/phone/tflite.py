"""A run → `.tflite` files of a fixed length, of built-in ops only; and their proof.

`python -m tfsent.exporting.phone.tflite SAVEDMODEL OUT float32|int8` is the child process that converts: TensorFlow's
converter leaks memory and writes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tfsent.console import progress_bar
from tfsent.errors import ExportError, last_line
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, compare
from tfsent.inference.keras_run import KerasPredictor
from tfsent.inference.tflite_file import INPUTS, TFLitePredictor
from tfsent.text.spec import write_labels

PRECISIONS = ("float32", "int8")


def write_tflite(predictor: KerasPredictor, folder: Path, precisions: tuple[str, ...] = PRECISIONS) -> None:
    """Write `model-PRECISION.tflite` files, with vocabulary, text specification and labels beside them.

    Each takes `ids`, `mask` and `segment_ids`, `int32[1, max_tokens]`, and gives probabilities, `float32[1, classes]`.
    int8 is dynamic-range quantisation: the weights of matrix products and embeddings are int8, activations are
    quantised during inference, everything else is float32.

    Args:
        predictor: the run's model.
        folder: where to write; must not exist.
        precisions: `float32`, `int8`, or both.

    Raises:
        ExportError: the conversion failed.
    """
    folder.mkdir()
    predictor.tokenizer.save(folder)
    write_labels(folder, predictor.label_names)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        source = Path(scratch) / "fixed"
        _write_fixed_length(predictor, source)
        for precision in precisions:
            target = folder / f"model-{precision}.tflite"
            command = [sys.executable, "-P", "-m", "tfsent.exporting.phone.tflite", str(source), str(target), precision]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode or not target.is_file():
                raise ExportError(
                    f"TensorFlow's converter failed on the {precision} file (exit code {done.returncode}): "
                    f"{last_line(done.stderr)}"
                )


def _write_fixed_length(predictor: KerasPredictor, folder: Path) -> None:
    """Write the SavedModel that the converter reads: token ids of one fixed length in, probabilities out."""
    import keras
    import tensorflow as tf

    model, length = predictor.model, predictor.tokenizer.spec.max_tokens

    def classify(ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {"token_ids": ids, "padding_mask": tf.not_equal(mask, 0), "segment_ids": segment_ids}
        return {"probabilities": tf.nn.softmax(model(inputs, training=False))}

    archive = keras.export.ExportArchive()
    signature = [tf.TensorSpec([1, length], tf.int32, name=name) for name in INPUTS]
    archive.add_endpoint("serving_default", classify, input_signature=signature)
    archive.write_out(str(folder), verbose=False)


def verify_tflite(path: Path, artifact: str, reference: ReferenceAnswers, budget: Budget) -> Parity:
    """Run a `.tflite` file in LiteRT, and compare its answers.

    Args:
        path: the file.
        artifact: its precision.
        reference: the trained model's answers.
        budget: of this precision.
    """
    predictor = TFLitePredictor(path)
    with progress_bar(f"running the {artifact} file", len(reference.reviews)) as bar:
        probabilities, seconds = predictor.timed_proba(reference.reviews.texts, bar.update)
    return compare(artifact, path, (probabilities, seconds), reference, budget)


def _convert(source: str, target: str, precision: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(source)
    # Built-in ops are the default. Flex ops would add 70 MB and more to an app.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    Path(target).write_bytes(converter.convert())


if __name__ == "__main__":
    _convert(*sys.argv[1:])
