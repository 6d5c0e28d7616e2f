"""A run → a SavedModel for TensorFlow Serving: raw strings in, the text graph inside."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

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
        of_rows = tf.nn.softmax(model(tokenizer.inputs(rows.ids), training=False))
        # One row a text, unless the policy is windows: then the mean over a text's windows.
        probabilities = tf.math.segment_mean(of_rows, rows.owner)
        return {"probabilities": probabilities, "label": tf.gather(label_names, tf.argmax(probabilities, axis=1))}

    # Not tf.saved_model.save on a tf.Module around the model: that loses a Keras 3 model's variables without a word.
    # And no archive.track(model): the endpoint tracks what it uses, and both together write every variable twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serving_default", serve, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    archive.write_out(str(folder), verbose=False)
    extra = folder / "assets.extra"
    extra.mkdir()
    write_labels(extra, predictor.label_names)
