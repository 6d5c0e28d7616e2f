"""BERT as its checkpoint was trained: KerasHub's backbones with the checkpoint's own activation and epsilon.

Weights have canonical names here, those of BERT's first checkpoints (`encoder/layer_0/attention/self/query/kernel`;
google-research/bert, modeling.py). A layout gives arrays under these names, and `build` puts them
into an encoder, all of them or none.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import keras_hub
import numpy as np

from tfsent.errors import EncoderError
from tfsent.model.fast_layers import gelu_exact, use_fast_attention, use_fast_dropout


class CheckpointFaithful:
    """What KerasHub fixes for every checkpoint, the tanh GELU and an epsilon of 1e-12, is here the checkpoint's own.

    Args:
        activation: one of `ACTIVATIONS`.
        layer_norm_epsilon: added to the variance.
        **kwargs: of the backbone.
    """

    embeddings_layer_norm: Any
    embeddings_dropout: Any
    transformer_layers: list[Any]

    def __init__(self, *, activation: str = "gelu_exact", layer_norm_epsilon: float = 1e-12, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        gelu = ACTIVATIONS[activation]
        self.embeddings_layer_norm.epsilon = layer_norm_epsilon
        for layer in self.transformer_layers:
            layer._feedforward_intermediate_dense.activation = gelu
            layer._self_attention_layer_norm.epsilon = layer_norm_epsilon
            layer._feedforward_layer_norm.epsilon = layer_norm_epsilon
            use_fast_attention(layer)
        use_fast_dropout(self.embeddings_dropout)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {
            **super().get_config(),  # type: ignore[misc]
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }


@keras.saving.register_keras_serializable(package="tfsent")
class BertEncoder(CheckpointFaithful, keras_hub.models.BertBackbone):
    """A `BertBackbone`. DistilBERT is one too, without segments, and ELECTRA, without a pooler."""


@keras.saving.register_keras_serializable(package="tfsent")
class ElectraEncoder(CheckpointFaithful, keras_hub.models.ElectraBackbone):
    """ELECTRA whose embeddings are narrower than its layers, as in ELECTRA-small: a projection lies between them."""


def _gelu_tanh(x: Any) -> Any:
    return keras.ops.gelu(x, approximate=True)


ACTIVATIONS = {"gelu_exact": gelu_exact, "gelu_tanh": _gelu_tanh}
"""GELU by the error function, or by its approximation with tanh (D. Hendrycks, K. Gimpel 2016)."""


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
    """The path of the Keras variable a canonical name stands for; None when it stands for none."""
    if name in _WHOLE:
        return _WHOLE[name]
    match = re.fullmatch(r"encoder/layer_(\d+)/(.+)/(kernel|bias|gamma|beta)", name)
    if match is None or match[2] not in _LAYER:
        return None
    return f"transformer_layer_{match[1]}/{_LAYER[match[2]]}/{match[3]}"


def build(arrays: dict[str, np.ndarray], *, num_heads: int, activation: str, epsilon: float, where: str) -> Any:
    """The encoder whose weights these are. Its sizes are those of the arrays.

    Args:
        arrays: by canonical name. Attention kernels may be `[h, heads, h / heads]` or `[h, h]`.
        num_heads: attention heads.
        activation: one of `ACTIVATIONS`.
        epsilon: of the layer norms.
        where: of what to speak in an error.

    Raises:
        EncoderError: a variable would stay unset, an array would stay unused, or a shape does not fit. All are named.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    needed = ("embeddings/word_embeddings", "embeddings/position_embeddings", "encoder/layer_0/intermediate/dense/bias")
    if lacking := [name for name in needed if name not in shapes]:
        raise EncoderError(f"{where} holds no BERT: it has no variable for {', '.join(lacking)}.")
    width = shapes["embeddings/word_embeddings"][1]
    # A layer norm is as wide as the layers whatever the embeddings are.
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
    own: dict[str, Any] = {"activation": activation, "layer_norm_epsilon": epsilon, "dtype": "float32"}
    vocabulary_size = shapes["embeddings/word_embeddings"][0]
    if width == hidden:
        encoder: Any = BertEncoder(vocabulary_size=vocabulary_size, **sizes, **own)
    else:
        encoder = ElectraEncoder(vocab_size=vocabulary_size, embedding_dim=width, **sizes, **own)
    _fill(encoder, arrays, where)
    return encoder


def _absent(arrays: dict[str, np.ndarray], width: int, hidden: int) -> dict[str, np.ndarray]:
    """Zeros for what a kind of BERT does without: DistilBERT has no segments, it and ELECTRA no pooler.

    Only whole: a pooler with a kernel and no bias is a damaged checkpoint.
    """
    absent: dict[str, np.ndarray] = {}
    if "embeddings/token_type_embeddings" not in arrays:
        absent["embeddings/token_type_embeddings"] = np.zeros((2, width), np.float32)
    if not any(name.startswith("pooler/") for name in arrays):
        absent["pooler/dense/kernel"] = np.zeros((hidden, hidden), np.float32)
        absent["pooler/dense/bias"] = np.zeros(hidden, np.float32)
    return absent


def clear_pooler(encoder: Any) -> None:
    """Mark an encoder as one whose checkpoint has no pooler: `has_pooler` is false then, and stays so when saved."""
    for variable in encoder.pooled_dense.weights:
        variable.assign(np.zeros(variable.shape, np.float32))


def has_pooler(encoder: Any) -> bool:
    """Whether the checkpoint came with a pooler."""
    return bool(np.any(keras.ops.convert_to_numpy(encoder.pooled_dense.kernel)))


def _fill(encoder: keras.Model, arrays: dict[str, np.ndarray], where: str) -> None:
    """Set every variable from the array of its name."""
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
    """The shapes an array for this variable may have: attention's, with its heads apart or in one."""
    shape = tuple(variable.shape)
    if "/attention_output/kernel" in variable.path:
        return shape, (shape[0] * shape[1], shape[2])
    if re.search("/(query|key|value)/", variable.path):
        return shape, (*shape[:-2], shape[-2] * shape[-1])
    return (shape,)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy by position: both are built by the same code. (`weights` leaves out the random states of dropout.)"""
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        # Through NumPy: one of the models may be spread over devices that the other is not on.
        ours.assign(keras.ops.convert_to_numpy(theirs))
