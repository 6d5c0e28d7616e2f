"""The trained classifier as a graph for a server's CPU: the same mathematics, in the forms that oneDNN runs fastest.

- Tokens of all rows lie one after the other, `[t, h]`, without padding. Only attention sees rows, `[r, n, s, d]`.
- Query, key and value are one matrix product.
- GELU is spelt so that TensorFlow fuses it into the matrix product before it.
- In bfloat16 the matrices are constants, which oneDNN packs once: 10 to 20% faster, one text at a time. In float32 they
  are variables: constants gained nothing there, and a server holds them several times for each signature.

benchmarks/serving.py measures it. The parity table of an export compares it with the trained model.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsent.model.bert import BertEncoder
from tfsent.model.fast_layers import MASKED


class Network(tf.Module):
    """Rows of token ids → logits.

    Args:
        classifier: of `model.classifier.build_classifier`.
        precision: of the encoder, `float32` or `bfloat16`. Norms, pooling and head are always in float32.
    """

    def __init__(self, classifier: keras.Model, precision: str):
        super().__init__()
        encoder = next(layer for layer in classifier.layers if isinstance(layer, BertEncoder))
        self._dtype = tf.as_dtype(precision)
        self._epsilon, self._heads = encoder.layer_norm_epsilon, encoder.num_heads
        self._tanh = encoder.activation == "gelu_tanh"
        self._tables = [
            self._weight(encoder.get_layer(f"{name}_embedding").embeddings) for name in ("token", "position", "segment")
        ]
        self._embeddings_norm = self._norm_weights(encoder.get_layer("embeddings_layer_norm"))
        wide = encoder.embedding_dim != encoder.hidden_dim
        self._projection = self._dense_weights(encoder.get_layer("embeddings_projection")) if wide else None
        layers = [encoder.get_layer(f"transformer_layer_{i}") for i in range(encoder.num_layers)]
        self._layers = [self._layer_weights(layer) for layer in layers]
        self._pooling = _pooling_of(classifier)
        self._pooler = self._dense_weights(encoder.pooled_dense) if self._pooling == "pooler" else None
        dense = [layer for layer in classifier.layers if isinstance(layer, keras.layers.Dense)]
        self._head = [self._dense_weights(layer, tf.float32) for layer in dense]

    def __call__(self, ids: tf.RaggedTensor, segment_ids: tf.Tensor | None = None) -> tf.Tensor:
        """Return logits, `float32[r, classes]`.

        Args:
            ids: ragged `int32[r, None]`, from [CLS] to [SEP].
            segment_ids: `int32[t]`, of each token; None where all are 0.
        """
        lengths = tf.cast(ids.row_lengths(), tf.int32)
        mask = tf.sequence_mask(lengths)  # bool[r, s]
        places = tf.reshape(tf.where(tf.reshape(mask, [-1])), [-1])  # int64[t]: of each token in [r · s]
        # The token at each place; padding has that of some token, and its score is MASKED.
        tokens = tf.maximum(tf.cumsum(tf.cast(tf.reshape(mask, [-1]), tf.int32)) - 1, 0)
        absent = (1 - tf.cast(mask, self._dtype))[:, None, None, :] * tf.cast(MASKED, self._dtype)
        x = self._embed(ids.flat_values, places % tf.cast(tf.shape(mask)[1], tf.int64), segment_ids)
        for layer in self._layers:
            x = self._transform(x, layer, absent, places, tokens)
        return self._classify(tf.cast(x, tf.float32), ids, lengths)

    def _embed(self, ids: tf.Tensor, positions: tf.Tensor, segment_ids: tf.Tensor | None) -> tf.Tensor:
        token, position, segment = self._tables
        segments = segment[0] if segment_ids is None else tf.gather(segment, segment_ids)
        x = tf.gather(token, ids) + tf.gather(position, positions) + segments
        x = self._norm(x, self._embeddings_norm)
        return x if self._projection is None else _dense(x, self._projection)

    def _transform(
        self, x: tf.Tensor, layer: dict[str, Any], absent: tf.Tensor, places: tf.Tensor, tokens: tf.Tensor
    ) -> tf.Tensor:
        """Run a transformer layer: `[t, h]` → `[t, h]`."""
        rows, length = tf.shape(absent)[0], tf.shape(absent)[3]
        projected = tf.gather(_dense(x, layer["query_key_value"]), tokens)  # [r · s, 3 h]
        parts = tf.reshape(projected, [rows, length, 3, self._heads, x.shape[1] // self._heads])
        query, key, value = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))  # [r, n, s, d] each
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + absent)
        attended = tf.reshape(tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3]), [-1, x.shape[1]])
        x = self._norm(x + _dense(tf.gather(attended, places), layer["attention_output"]), layer["attention_norm"])
        fed = _dense(_gelu(_dense(x, layer["intermediate"]), tanh=self._tanh), layer["output"])
        return self._norm(x + fed, layer["output_norm"])

    def _classify(self, x: tf.Tensor, ids: tf.RaggedTensor, lengths: tf.Tensor) -> tf.Tensor:
        if self._pooling == "mean":
            total = tf.math.segment_sum(x, ids.value_rowids())
            x = total / tf.cast(lengths, tf.float32)[:, None]
        else:
            x = tf.gather(x, ids.row_starts())
        if self._pooler is not None:
            x = tf.tanh(_dense(x, self._pooler))
        for hidden in self._head[:-1]:
            x = _gelu(_dense(x, hidden), tanh=False)
        return _dense(x, self._head[-1])

    def _norm(self, x: tf.Tensor, weights: tuple[Any, Any]) -> tf.Tensor:
        gamma, beta = weights
        x = tf.cast(x, tf.float32)
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        return tf.cast(centred * (tf.math.rsqrt(variance + self._epsilon) * gamma) + beta, self._dtype)

    def _weight(self, weight: Any, dtype: tf.DType | None = None) -> tf.Variable:
        return tf.Variable(tf.cast(np.asarray(weight), dtype or self._dtype))

    def _matrix(self, weight: Any, dtype: tf.DType | None = None) -> Any:
        value = tf.cast(np.asarray(weight), dtype or self._dtype)
        return value if value.dtype == tf.bfloat16 else tf.Variable(value)

    def _norm_weights(self, norm: Any) -> tuple[Any, Any]:
        return self._weight(norm.gamma, tf.float32), self._weight(norm.beta, tf.float32)

    def _dense_weights(self, dense: Any, dtype: tf.DType | None = None) -> tuple[Any, Any]:
        width = math.prod(dense.bias.shape)
        kernel = np.reshape(dense.kernel, [-1, width])  # attention's has its heads apart
        return self._matrix(kernel, dtype), self._weight(np.reshape(dense.bias, [width]), dtype)

    def _layer_weights(self, layer: Any) -> dict[str, Any]:
        attention = layer.attention
        scales = ((attention.query, attention.scale), (attention.key, 1.0), (attention.value, 1.0))
        hidden = attention.query.kernel.shape[0]
        kernels = [scale * np.reshape(part.kernel, [hidden, -1]) for part, scale in scales]
        biases = [scale * np.reshape(part.bias, [-1]) for part, scale in scales]
        kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
        return {
            "query_key_value": (self._matrix(kernel), self._weight(bias)),
            "attention_output": self._dense_weights(attention.attention_output),
            "attention_norm": self._norm_weights(layer.attention_norm),
            "intermediate": self._dense_weights(layer.intermediate),
            "output": self._dense_weights(layer.output_dense),
            "output_norm": self._norm_weights(layer.feedforward_norm),
        }


def _pooling_of(classifier: keras.Model) -> str:
    """Return the `model.pooling` that a classifier was built with."""
    if any(layer.name == "pooling" for layer in classifier.layers):
        return "mean"
    first_token = any(type(operation).__name__ == "GetItem" for operation in classifier.operations)
    return "cls" if first_token else "pooler"


def _dense(x: tf.Tensor, weights: tuple[Any, Any]) -> tf.Tensor:
    kernel, bias = weights
    return tf.nn.bias_add(tf.matmul(tf.cast(x, kernel.dtype), kernel), bias)


def _gelu(x: tf.Tensor, *, tanh: bool) -> tf.Tensor:
    """Compute x · Φ(x) (D. Hendrycks, K. Gimpel 2016). The spelling is the one that TensorFlow's optimiser knows."""
    if tanh:
        return tf.nn.gelu(x, approximate=True)
    one, half, root = (tf.constant(number, x.dtype) for number in (1, 0.5, math.sqrt(0.5)))
    return ((tf.math.erf(x * root) + one) * half) * x
