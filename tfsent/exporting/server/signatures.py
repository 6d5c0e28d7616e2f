"""What a server offers of a model: four signatures over one network.

| signature | takes | gives |
| --- | --- | --- |
| `serving_default` | `text`: `string[b]` | the answers: `label` `string[b]`, `probability` `float32[b]`, `probabilities` and `logits` `float32[b, classes]` |
| `tokens` | `ids`, `mask`, `segment_ids`: `int32[b, s]` | the answers |
| `classify` | `inputs`: `string[b]`, serialized `tf.Example` with a feature `text` | `classes`: `string[b, classes]`, `scores`: `float32[b, classes]` |
| `info` | `text`: `string[b]`, whatever it says | `labels`: `string[b, classes]`, and as `string[b]` `text_specification` (JSON), `run`, `tfsent_version` |

All have a first dimension, as a server that batches requests demands it.
"""  # noqa: E501

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import tensorflow as tf

import tfsent
from tfsent.exporting.server.network import Network
from tfsent.inference.keras_run import KerasPredictor

CLASSIFY_METHOD = "tensorflow/serving/classify"
"""What a strict server wants to read at `classify`. The others are `tensorflow/serving/predict`."""


class ServedModel(tf.Module):
    """The signatures of a run's model.

    Args:
        predictor: the run's model.
        precision: see `Network`.
    """

    def __init__(self, predictor: KerasPredictor, precision: str):
        super().__init__()
        self.network = Network(predictor.model, precision)
        self.tokenizer = predictor.tokenizer
        self._labels = tf.constant(predictor.label_names)
        self._threshold = predictor.decision.threshold
        facts = {
            "text_specification": json.dumps(asdict(predictor.tokenizer.spec)),
            "run": predictor.folder.parent.resolve().name,
            "tfsent_version": tfsent.__version__,
        }
        self._facts = {name: tf.constant(value) for name, value in facts.items()}

    def signatures(self) -> dict[str, Any]:
        """Return the functions by name."""
        texts = tf.TensorSpec([None], tf.string, name="text")
        examples = tf.TensorSpec([None], tf.string, name="inputs")
        tokens = [tf.TensorSpec([None, None], tf.int32, name=name) for name in ("ids", "mask", "segment_ids")]
        return {
            "serving_default": tf.function(self._of_texts, input_signature=[texts]),
            "tokens": tf.function(self._of_tokens, input_signature=tokens),
            "classify": tf.function(self._of_examples, input_signature=[examples]),
            "info": tf.function(self._info, input_signature=[texts]),
        }

    def _of_texts(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self.tokenizer.of_any_size(text)
        return self._answers(self.network(rows.ids), rows.owner)

    def _of_tokens(self, ids: tf.Tensor, mask: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        # A row without any token has the answer of its first place, not a division by 0 for the whole batch.
        first = tf.range(tf.shape(ids)[1]) == 0
        there = (mask != 0) | first
        rows = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(ids, there), tf.reduce_sum(tf.cast(there, tf.int64), axis=1), validate=False
        )
        return self._answers(self.network(rows, tf.boolean_mask(segment_ids, there)), tf.range(tf.shape(ids)[0]))

    def _answers(self, logits: tf.Tensor, owner: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the answers to texts from the logits of rows: a text may be several windows."""
        probabilities = tf.math.segment_mean(tf.nn.softmax(logits), owner)
        chosen = self._choose(probabilities)
        return {
            "label": tf.gather(self._labels, chosen),
            "probability": tf.gather(probabilities, chosen, axis=1, batch_dims=1),
            "probabilities": probabilities,
            "logits": tf.math.segment_mean(logits, owner),
        }

    def _choose(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Return the class of each text, `int64[b]`, as `Decision.choose` does."""
        if self._threshold is None or len(self._labels) != 2:
            return tf.argmax(probabilities, axis=1)
        return tf.cast(tf.cast(probabilities[:, 1], tf.float64) > self._threshold, tf.int64)

    def _of_examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(inputs, {"text": tf.io.FixedLenFeature([], tf.string)})
        scores = self._of_texts(parsed["text"])["probabilities"]
        return {"classes": self._labels_of_each(inputs), "scores": scores}

    def _info(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = tf.shape(text)
        return {"labels": self._labels_of_each(text)} | {
            name: tf.fill(shape, fact) for name, fact in self._facts.items()
        }

    def _labels_of_each(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.tile(self._labels[None], [tf.shape(texts)[0], 1])
