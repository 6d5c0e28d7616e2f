"""Reads checkpoints of TensorFlow: Google's original `bert_model.ckpt` folders, and TF-Hub's BERT SavedModels.

Three kinds of SavedModel are read: those that tf-models-official exports, in 2020 and today (export_tfhub, inputs
`input_word_ids`, `input_mask`, `input_type_ids`); older ones, whose variables begin with `bert_model/`; and TF-1
modules, whose variables are named as in Google's checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from tfsent.encoders.checkpoint import PretrainedWeights, read_gelu, read_heads, read_json
from tfsent.errors import EncoderError, first_line
from tfsent.text.spec import read_vocabulary

_GELU = {"gelu": "gelu_tanh"}
"""google-research/bert computes its `gelu` with tanh."""
_NAMES = (
    (r"^(.*/)?bert_model/", ""),
    (r"^(module/)?bert/", ""),
    (r"^word_embeddings/embeddings$", "embeddings/word_embeddings"),
    (r"^type_embeddings/embeddings$", "embeddings/token_type_embeddings"),
    (r"^position_embedding/(position_)?embeddings$", "embeddings/position_embeddings"),
    (r"^embedding_postprocessor/type_embeddings$", "embeddings/token_type_embeddings"),
    (r"^embedding_postprocessor/position_embeddings$", "embeddings/position_embeddings"),
    (r"^(embeddings|embedding_postprocessor)/layer_norm/", "embeddings/LayerNorm/"),
    (r"^embedding_projection/", "embeddings_project/"),
    (r"^transformer/layer_", "encoder/layer_"),
    (r"/self_attention/(query|key|value)/", r"/attention/self/\1/"),
    (r"/(self_attention/attention_output|self_attention_output)/", "/attention/output/dense/"),
    (r"/self_attention_layer_norm/", "/attention/output/LayerNorm/"),
    (r"/output_layer_norm/", "/output/LayerNorm/"),
    (r"(layer_\d+)/(intermediate|output)/(kernel|bias)$", r"\1/\2/dense/\3"),
    (r"^pooler_transform/", "pooler/dense/"),
)
"""Names of variables in each exporter → canonical names (tf-models-official and its TF-1 converter)."""
_NOT_ENCODER = re.compile(
    r"(bert/)?(cls|predictions|masked_lm|next_sentence|classification)(/|$)|global_step$|do_lower_case$|Variable$"
    r"|.*/(adam_[mv]|Adam(_1)?|AdamWeightDecayOptimizer(_1)?)$|save_counter$"
)
"""Heads of other tasks, optimizer slots, counters and flags."""


def _from_tensorflow(arrays: dict[str, np.ndarray]) -> Iterable[tuple[str, np.ndarray]]:
    for name, array in arrays.items():
        if _NOT_ENCODER.match(name):
            continue
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        yield name, np.asarray(array, np.float32)


def read_google(folder: Path) -> PretrainedWeights:
    """Read a folder with bert_config.json, bert_model.ckpt.* and vocab.txt (google-research/bert).

    Raises:
        EncoderError: a file is damaged or missing, or the model is not a BERT.
    """
    config = read_json(folder / "bert_config.json")
    prefixes = sorted(path.name.removesuffix(".index") for path in folder.glob("*.ckpt*.index"))
    if len(prefixes) != 1:
        raise EncoderError(f"{folder} holds {len(prefixes)} checkpoints. Expected one, such as bert_model.ckpt.index.")
    tensors = _tensors(folder / prefixes[0])
    if not (folder / "vocab.txt").is_file():
        raise EncoderError(f"{folder} has no vocab.txt. Expected the WordPiece vocabulary of bert_model.ckpt.")
    files = ("bert_config.json", "vocab.txt", *sorted(path.name for path in folder.glob(f"{prefixes[0]}.*-of-*")))
    return PretrainedWeights(
        format="google-bert",
        arrays=dict(_from_tensorflow(tensors)),
        heads=read_heads(config.get("num_attention_heads"), folder),
        activation=read_gelu(config.get("hidden_act", "gelu"), _GELU, folder),
        epsilon=1e-12,  # that of tf.contrib.layers.layer_norm, which google-research/bert uses
        vocabulary=read_vocabulary(folder / "vocab.txt"),
        lowercase=None,  # only the name of the archive says
        files=(*files, f"{prefixes[0]}.index"),
    )


def read_savedmodel(folder: Path) -> PretrainedWeights:
    """Read a BERT SavedModel of TF-Hub or Kaggle.

    Raises:
        EncoderError: a file is damaged, or the graph does not tell vocabulary, activation, epsilon or heads.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
        graph = model.meta_graphs[0]
    except Exception as error:
        # protobuf raises its own DecodeError, which is not a public class
        raise EncoderError(f"{folder / 'saved_model.pb'} is not a SavedModel: {first_line(error)}") from error
    tensors = _tensors(folder / "variables" / "variables")
    arrays = dict(_from_tensorflow(_variables(tensors)))
    nodes = [*graph.graph_def.node, *(node for f in graph.graph_def.library.function for node in f.node_def)]
    scalars = _scalars(nodes)
    vocabulary = _vocabulary_asset(folder, graph)
    lower = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"
    files = sorted(path.relative_to(folder).as_posix() for path in (folder / "variables").iterdir())
    return PretrainedWeights(
        format="tf-hub",
        arrays=arrays,
        heads=_graph_heads(arrays, scalars, folder),
        activation=_graph_activation(nodes, scalars, folder),
        epsilon=_graph_epsilon(nodes, scalars, folder),
        vocabulary=read_vocabulary(vocabulary),
        lowercase=bool(tensors[lower]) if lower in tensors else None,
        files=("saved_model.pb", vocabulary.relative_to(folder).as_posix(), *files),
    )


def _variables(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return arrays by the names of their variables. Object-based checkpoints keep these names in an object graph."""
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in tensors:
        return tensors
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(tensors["_CHECKPOINTABLE_OBJECT_GRAPH"])
    found = [value for node in graph.nodes for value in node.attributes if value.checkpoint_key in tensors]
    return {value.full_name: tensors[value.checkpoint_key] for value in found}


def _vocabulary_asset(folder: Path, graph: Any) -> Path:
    """Return the file that the model calls `vocab_file`, else its only asset."""
    nodes, assets = graph.object_graph_def.nodes, list(graph.asset_file_def)
    named = [child.node_id for child in nodes[0].children if child.local_name == "vocab_file"] if nodes else []
    if named:
        assets = [assets[nodes[named[0]].asset.asset_file_def_index]]
    # Only the last part of the name, so that no path leads out of the folder.
    paths = [folder / "assets" / Path(asset.filename).name for asset in assets]
    if len(paths) != 1 or not paths[0].is_file():
        raise EncoderError(
            f"{folder} names {len(paths)} vocabulary files, of which {sum(p.is_file() for p in paths)} exist. Expected "
            "one in assets/, such as assets/vocab.txt."
        )
    if paths[0].suffix == ".model":
        raise EncoderError(f"{folder} has a SentencePiece vocabulary ({paths[0].name}). Expected WordPiece.")
    return paths[0]


def _scalars(nodes: Iterable[Any]) -> dict[str, set[float]]:
    """Return the scalar float32 constants of a graph, by the name of their node."""
    found: dict[str, set[float]] = {}
    for node in nodes:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size == 1:
                found.setdefault(node.name, set()).add(float(value.ravel()[0]))
    return found


def _graph_activation(nodes: Iterable[Any], scalars: dict[str, set[float]], folder: Path) -> str:
    """Tell the kind of GELU: the exact one has an Erf operation, the approximation the constant 0.044715."""
    exact = any(node.op in ("Erf", "Erfc") for node in nodes)
    tanh = any(abs(value - 0.044715) < 1e-6 for values in scalars.values() for value in values)
    if exact == tanh:
        raise EncoderError(f"{folder}: its graph has {'two kinds of' if exact else 'no'} GELU. Expected one kind.")
    return "gelu_exact" if exact else "gelu_tanh"


def _graph_epsilon(nodes: Iterable[Any], scalars: dict[str, set[float]], folder: Path) -> float:
    """Find what the layer norms add to the variance."""
    found = {value for name, values in scalars.items() if re.search("batchnorm/add(_1)?/y$", name) for value in values}
    found |= {node.attr["epsilon"].f for node in nodes if node.op.startswith("FusedBatchNorm")}
    if len(found) != 1:
        raise EncoderError(f"{folder}: its graph has {len(found)} different epsilons of layer norms. Expected one.")
    return float(f"{found.pop():.6g}")  # float32's 9.999999960041972e-13 is 1e-12


def _graph_heads(arrays: dict[str, np.ndarray], scalars: dict[str, set[float]], folder: Path) -> int:
    """Tell the number of heads from a kernel of shape `[h, heads, size]`, else from the scaling by 1 / sqrt(size)."""
    kernel = arrays.get("encoder/layer_0/attention/self/query/kernel", np.zeros((1, 1)))
    if kernel.ndim == 3:
        return kernel.shape[1]
    attention = {v for name, vs in scalars.items() if "attention" in name and "dropout" not in name for v in vs}
    sizes = {round(v**-2) for v in attention if 0 < v < 1 and abs(v**-2 - round(v**-2)) < 1e-3}
    sizes = {size for size in sizes if kernel.shape[1] % size == 0}
    if len(sizes) != 1:
        raise EncoderError(f"{folder}: neither its variables nor its graph tell the number of attention heads.")
    return kernel.shape[1] // sizes.pop()


def _tensors(prefix: Path) -> dict[str, Any]:
    """Read all tensors of a checkpoint, by their keys."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise EncoderError(f"{prefix} could not be read as a checkpoint: {first_line(error)}") from error
