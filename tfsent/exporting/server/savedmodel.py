"""A run → a SavedModel for TensorFlow Serving: raw strings in, the text graph inside."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tfsent.exporting.server.signatures import CLASSIFY_METHOD, ServedModel
from tfsent.exporting.server.warmup import write_warmup
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.decision import write_decision
from tfsent.text.spec import write_labels


def write_savedmodel(predictor: KerasPredictor, folder: Path, precision: str = "float32") -> None:
    """Write the SavedModel of a trained model.

    `assets.extra` has warm-up records for the server, and for people and tools `labels.txt`, `decision.json`,
    `vocab.txt` and `text.json`: the graph has its own.

    Args:
        predictor: the run's model.
        folder: where to write; must not exist.
        precision: of the encoder, `float32` or `bfloat16`.
    """
    served = ServedModel(predictor, precision)
    tf.saved_model.save(served, str(folder), signatures=served.signatures())
    _edit_graph(folder)
    extra = folder / "assets.extra"
    extra.mkdir()
    write_labels(extra, predictor.label_names)
    write_decision(extra, predictor.decision)
    predictor.tokenizer.save(extra)
    write_warmup(predictor.tokenizer.spec.max_tokens, extra)


def _edit_graph(folder: Path) -> None:
    """Say which signature classifies: TensorFlow writes `predict` for all. Remove names for debugging.

    `debug_name` came with 2.15. Older servers ignore it, and complain of each variable in their log.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    graph = saved.meta_graphs[0]
    graph.signature_def["classify"].method_name = CLASSIFY_METHOD
    for node in graph.graph_def.node:
        if node.op == "VarHandleOp":
            node.attr.pop("debug_name", None)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # of the file as it was
