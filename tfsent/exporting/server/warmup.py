"""Requests that a server replays before it serves, so that nobody waits for the first ones.

TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, records of `PredictionLog`. A record that fails
keeps the model from loading: the proof of an export replays them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "tf_serving_warmup_requests"
BATCHES = (1, 4, 32)
WORD = "fine "
"""A word of one token in most vocabularies. Held-out reviews would put users' text into the file."""


def write_warmup(max_tokens: int, folder: Path) -> None:
    """Write the records: each length and batch size to `serving_default`, one to each other signature.

    Args:
        max_tokens: of the longest row.
        folder: `assets.extra`.
    """
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for record in _records(max_tokens):
            writer.write(record.SerializeToString(deterministic=True))


def read_warmup(folder: Path) -> list[Any]:
    """Return the `PredictionLog`s of an `assets.extra`."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    return [PredictionLog.FromString(raw) for raw in tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator()]


def _records(max_tokens: int) -> Iterator[Any]:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    lengths = sorted({max(1, max_tokens // share) for share in (1, 2, 4, 8)})
    for size in BATCHES:
        for length in lengths:
            yield _predict("serving_default", {"text": tf.constant([WORD * length] * size)})
    # A text beyond ASCII takes another way through the graph.
    yield _predict("serving_default", {"text": tf.constant(["café " * lengths[0]])})
    row = tf.ones([1, min(8, max_tokens)], tf.int32)
    yield _predict("tokens", {"ids": 0 * row, "mask": row, "segment_ids": 0 * row})
    yield _predict("info", {"text": tf.constant([""])})
    record = PredictionLog()
    request = record.classify_log.request
    request.model_spec.signature_name = "classify"
    example = request.input.example_list.examples.add()
    example.features.feature["text"].bytes_list.value.append(WORD.encode())
    yield record


def _predict(signature: str, inputs: dict[str, Any]) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return record
