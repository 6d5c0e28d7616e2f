"""BERT with the activation, epsilon and sizes of its checkpoint, and how a checkpoint's arrays are put into it.

Arrays have canonical names here, those of BERT's first checkpoints (`encoder/layer_0/attention/self/query/kernel`;
google-research/bert, modeling.py). A reader of a checkpoint gives arrays under these names, and `build` puts all of
them, or none, into an encoder.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from tfsent.errors import EncoderError
from tfsent.model.fast_layers import Dropout, PositionEmbedding, TransformerLayer, gelu_exact, gelu_tanh

ACTIVATIONS = {"gelu_exact": gelu_exact, "gelu_tanh": gelu_tanh}
"""GELU by the error function, or by its approximation with tanh."""


@keras.saving.register_keras_serializable(package="tfsent")
class BertEncoder(keras.Model):
    """BERT without a head. DistilBERT and ELECTRA are special cases of it.

    Takes `token_ids` and `segment_ids`, `int32[b, s]`, and `padding_mask`, `bool[b, s]`. Gives `sequence_output`,
    `[b, s, h]`, and `pooled_output`, `[b, h]`, both of the compute dtype.

    Args:
        vocabulary_size: rows of the token table.
        num_layers: transformer layers.
        num_heads: attention heads of a layer.
        hidden_dim: width `h` of a layer.
        intermediate_dim: width of its feed-forward layer.
        max_sequence_length: rows of the position table, the longest `s`.
        num_segments: rows of the segment table.
        embedding_dim: width of the tables; where it is not `hidden_dim`, a projection follows, as in ELECTRA small.
        dropout: rate on the hidden states. Attention weights are never dropped out.
        activation: one of `ACTIVATIONS`.
        layer_norm_epsilon: added to the variance by the layer norms.
        dtype: the dtype policy.
        **kwargs: of `keras.Model`.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        embedding_dim: int | None = None,
        dropout: float = 0.1,
        activation: str = "gelu_exact",
        layer_norm_epsilon: float = 1e-12,
        dtype: Any = None,
        **kwargs: Any,
    ):
        embedding_dim = embedding_dim or hidden_dim
        inputs = {
            "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
            "segment_ids": keras.Input((None,), dtype="int32", name="segment_ids"),
            "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
        }
        token_embedding = keras.layers.Embedding(vocabulary_size, embedding_dim, dtype=dtype, name="token_embedding")
        position_embedding = PositionEmbedding(max_sequence_length, dtype=dtype, name="position_embedding")
        segment_embedding = keras.layers.Embedding(num_segments, embedding_dim, dtype=dtype, name="segment_embedding")
        tokens = token_embedding(inputs["token_ids"])
        x = tokens + position_embedding(tokens) + segment_embedding(inputs["segment_ids"])
        norm = keras.layers.LayerNormalization(epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm")
        x = Dropout(dropout, dtype=dtype, name="embeddings_dropout")(norm(x))
        if embedding_dim != hidden_dim:
            x = keras.layers.Dense(hidden_dim, dtype=dtype, name="embeddings_projection")(x)
        for i in range(num_layers):
            layer = TransformerLayer(
                num_heads,
                intermediate_dim,
                ACTIVATIONS[activation],
                layer_norm_epsilon,
                dropout,
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            x = layer(x, padding_mask=inputs["padding_mask"])
        pooled_dense = keras.layers.Dense(hidden_dim, activation="tanh", dtype=dtype, name="pooled_dense")
        outputs = {"sequence_output": x, "pooled_output": pooled_dense(x[:, 0, :])}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.dtype_policy = keras.dtype_policies.get(dtype)  # a functional model does not take it as an argument
        self.token_embedding = token_embedding
        self.pooled_dense = pooled_dense
        self.vocabulary_size, self.num_segments, self.embedding_dim = vocabulary_size, num_segments, embedding_dim
        self.num_layers, self.num_heads = num_layers, num_heads
        self.hidden_dim, self.intermediate_dim = hidden_dim, intermediate_dim
        self.max_sequence_length = max_sequence_length
        self.dropout, self.activation, self.layer_norm_epsilon = dropout, activation, layer_norm_epsilon

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same encoder."""
        names = (
            *("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length"),
            *("num_segments", "embedding_dim", "dropout", "activation", "layer_norm_epsilon"),
        )
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return {
            **{name: getattr(self, name) for name in names},
            "dtype": policy,
            "name": self.name,
            "trainable": self.trainable,
        }


_LAYER = {
    "attention/self/query": "self_attention_layer/query",
    "attention/self/key": "self_attention_layer/key",
    "attention/self/value": "self_attention_layer/value",
    "attention/output/dense": "self_attention_layer/attention_output",
    "attention/output/LayerNorm": "self_attention_layer_norm",
    "intermediate/dense": "feedforward_intermediate_dense",
    "output/dense": "feedforward_output_dense",
    "output/LayerNorm": "feedforward_layer_norm",
}
_WHOLE = {
    "embeddings/word_embeddings": "token_embedding/embeddings",
    "embeddings/position_embeddings": "position_embedding/embeddings",
    "embeddings/token_type_embeddings": "segment_embedding/embeddings",
    "embeddings/LayerNorm/gamma": "embeddings_layer_norm/gamma",
    "embeddings/LayerNorm/beta": "embeddings_layer_norm/beta",
    "embeddings_project/kernel": "embeddings_projection/kernel",
    "embeddings_project/bias": "embeddings_projection/bias",
    "pooler/dense/kernel": "pooled_dense/kernel",
    "pooler/dense/bias": "pooled_dense/bias",
}


def _path(name: str) -> str | None:
    """Return the path of the Keras variable of a canonical name; None for an unknown name."""
    if name in _WHOLE:
        return _WHOLE[name]
    match = re.fullmatch(r"encoder/layer_(\d+)/(.+)/(kernel|bias|gamma|beta)", name)
    if match is None or match[2] not in _LAYER:
        return None
    return f"transformer_layer_{match[1]}/{_LAYER[match[2]]}/{match[3]}"


def build(arrays: dict[str, np.ndarray], *, num_heads: int, activation: str, epsilon: float, where: str) -> BertEncoder:
    """Build the encoder of a checkpoint, in float32. Its sizes are those of the arrays.

    Args:
        arrays: by canonical name. Attention kernels may be `[h, heads, h / heads]` or `[h, h]`.
        num_heads: attention heads.
        activation: one of `ACTIVATIONS`.
        epsilon: of the layer norms.
        where: names the checkpoint in errors.

    Raises:
        EncoderError: a variable has no array, an array has no variable, or shapes differ. All are named.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    needed = ("embeddings/word_embeddings", "embeddings/position_embeddings", "encoder/layer_0/intermediate/dense/bias")
    if lacking := [name for name in needed if name not in shapes]:
        raise EncoderError(f"{where} holds no BERT: it has no variable for {', '.join(lacking)}.")
    width = shapes["embeddings/word_embeddings"][1]
    # ELECTRA's embeddings may be narrower than its layers; the layers' norms are not.
    hidden = shapes.get("encoder/layer_0/output/LayerNorm/gamma", (width,))[0]
    arrays = {**_absent(arrays, width, hidden), **arrays}
    sizes: dict[str, Any] = {
        "num_layers": len({name.split("/")[1] for name in shapes if name.startswith("encoder/layer_")}),
        "num_heads": num_heads,
        "hidden_dim": hidden,
        "intermediate_dim": shapes["encoder/layer_0/intermediate/dense/bias"][0],
        "max_sequence_length": shapes["embeddings/position_embeddings"][0],
        "num_segments": arrays["embeddings/token_type_embeddings"].shape[0],
    }
    if hidden % num_heads:
        raise EncoderError(f"{where}: the hidden size {hidden} is no multiple of the {num_heads} attention heads.")
    encoder = BertEncoder(
        vocabulary_size=shapes["embeddings/word_embeddings"][0],
        embedding_dim=width,
        activation=activation,
        layer_norm_epsilon=epsilon,
        dtype="float32",
        **sizes,
    )
    _fill(encoder, arrays, where)
    return encoder


def _absent(arrays: dict[str, np.ndarray], width: int, hidden: int) -> dict[str, np.ndarray]:
    """Return zeros for the parts that DistilBERT (segments, pooler) and ELECTRA (pooler) do not have.

    A part is absent as a whole or not at all: a pooler with a kernel and no bias is a damaged checkpoint.
    """
    absent: dict[str, np.ndarray] = {}
    if "embeddings/token_type_embeddings" not in arrays:
        absent["embeddings/token_type_embeddings"] = np.zeros((2, width), np.float32)
    if not any(name.startswith("pooler/") for name in arrays):
        absent["pooler/dense/kernel"] = np.zeros((hidden, hidden), np.float32)
        absent["pooler/dense/bias"] = np.zeros(hidden, np.float32)
    return absent


def clear_pooler(encoder: BertEncoder) -> None:
    """Set the pooler to zeros, which `has_pooler` takes for none, also after saving and loading."""
    for variable in encoder.pooled_dense.weights:
        variable.assign(np.zeros(variable.shape, np.float32))


def has_pooler(encoder: BertEncoder) -> bool:
    """Return whether the checkpoint came with a pooler."""
    return bool(np.any(keras.ops.convert_to_numpy(encoder.pooled_dense.kernel)))


def _fill(encoder: keras.Model, arrays: dict[str, np.ndarray], where: str) -> None:
    """Assign each variable the array of its canonical name."""
    variables = {variable.path: variable for variable in encoder.weights}
    paths = {name: _path(name) for name in arrays}
    unused = sorted(name for name, path in paths.items() if path not in variables)
    unset = sorted(set(variables) - set(paths.values()))
    misfits = [
        f"{name} is {list(arrays[name].shape)} where {list(variables[path].shape)} is needed"
        for name, path in paths.items()
        if path in variables and arrays[name].shape not in _shapes(variables[path])
    ]
    faults = [f"without a value: {', '.join(unset)}"] if unset else []
    faults += [f"without a place: {', '.join(unused)}"] if unused else []
    faults += misfits
    if faults:
        raise EncoderError(f"{where} does not fit a BERT encoder. " + "; ".join(faults) + ". Nothing was loaded.")
    for name, path in paths.items():
        # [h, h] and [h, heads, h / heads] are the same numbers in the same order.
        variables[path].assign(arrays[name].reshape(variables[path].shape))


def _shapes(variable: Any) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that an array for this variable may have: attention's heads may be separate or merged."""
    shape = tuple(variable.shape)
    if "/attention_output/kernel" in variable.path:
        return shape, (shape[0] * shape[1], shape[2])
    if re.search("/(query|key|value)/", variable.path):
        return shape, (*shape[:-2], shape[-2] * shape[-1])
    return (shape,)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy all weights by position between two models that the same code built. Random states are not weights."""
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        # Through NumPy: the models may be on different devices.
        ours.assign(keras.ops.convert_to_numpy(theirs))
