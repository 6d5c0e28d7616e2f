"""A run → a SavedModel for TensorFlow Serving: raw strings in, the text graph inside; and its proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsent.errors import ExportError, last_line
from tfsent.exporting.parity import Budget, Parity, ReferenceAnswers, compare
from tfsent.inference.keras_run import KerasPredictor
from tfsent.text.spec import write_labels


def write_savedmodel(predictor: KerasPredictor, folder: Path) -> None:
    """Write the SavedModel of a trained model.

    Its signature `serving_default` takes `text`, `string[b]`, and gives `probabilities`, `float32[b, classes]`, and
    `label`, `string[b]`. `assets.extra/labels.txt` names the classes.

    Args:
        predictor: the run's model.
        folder: where to write; must not exist.
    """
    model, tokenizer = predictor.model, predictor.tokenizer
    label_names = tf.constant(predictor.label_names)

    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tokenizer(text)
        of_rows = tf.nn.softmax(model(tokenizer.inputs(rows.ids), training=False))  # [rows, classes]
        probabilities = tf.math.segment_mean(of_rows, rows.owner)  # [b, classes]: a text may be several windows
        return {"probabilities": probabilities, "label": tf.gather(label_names, tf.argmax(probabilities, axis=1))}

    # `tf.saved_model.save` on a tf.Module around the model loses a Keras 3 model's variables silently. The endpoint
    # tracks what it uses; with `archive.track(model)` as well, every variable would be written twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", serve, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    archive.write_out(str(folder), verbose=False)
    extra = folder / "assets.extra"
    extra.mkdir()
    write_labels(extra, predictor.label_names)
    tokenizer.save(extra)  # for people and tools: the graph has its own


def verify_savedmodel(folder: Path, reference: ReferenceAnswers, budget: Budget) -> Parity:
    """Run a SavedModel as a server would, in a process without Keras and tfsent, and compare its answers.

    Args:
        folder: the SavedModel.
        reference: the trained model's answers.
        budget: of a SavedModel.

    Raises:
        ExportError: it could not be run.
    """
    runner = Path(__file__).with_name("isolated_process.py")
    with tempfile.TemporaryDirectory() as scratch:
        texts, out = Path(scratch) / "texts.json", Path(scratch) / "out.npz"
        texts.write_text(json.dumps(list(reference.reviews.texts)), encoding="utf-8")
        # -P: no module beside the script, or in the current folder, may shadow an installed one.
        command = [sys.executable, "-P", str(runner), str(folder.resolve()), str(texts), str(out)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, cwd=scratch, check=False
        )
        if done.returncode or not out.is_file():
            raise ExportError(
                f"The SavedModel does not run in a process of its own (exit code {done.returncode}): "
                f"{last_line(done.stderr)}"
            )
        with np.load(out) as result:
            answers = result["probabilities"], result["seconds"].tolist()
    return compare("savedmodel", folder, answers, reference, budget)
