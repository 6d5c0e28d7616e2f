"""The layers of BERT, written so that a CPU trains them faster than Keras's own forms of the same mathematics.

benchmarks/training_step.py measures each form against Keras's.
"""

from __future__ import annotations

import math
from typing import Any

import keras

MASKED = -3e4
"""Added to the score of a padding token: its exponential is 0, and float16 can hold it."""


class TransformerLayer(keras.layers.Layer):
    """A post-norm transformer encoder layer, as in BERT (J. Devlin et al. 2018): `[b, s, h]` → `[b, s, h]`.

    Attention weights are not dropped out: on a CPU the random numbers for `b · heads · s²` of them take a tenth of a
    training step.

    Args:
        num_heads: attention heads; they divide the hidden size `h`.
        intermediate_dim: width of the feed-forward layer.
        activation: a function of the feed-forward layer.
        epsilon: added to the variance by the layer norms.
        dropout: rate on the outputs of attention and feed-forward layer.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self, num_heads: int, intermediate_dim: int, activation: Any, epsilon: float, dropout: float, **kwargs: Any
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.attention = SelfAttention(num_heads, dtype=policy, name="self_attention_layer")
        self.attention_dropout = Dropout(dropout, dtype=policy, name="self_attention_dropout")
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=policy, name="self_attention_layer_norm"
        )
        self.intermediate = keras.layers.Dense(
            intermediate_dim, activation=activation, dtype=policy, name="feedforward_intermediate_dense"
        )
        self.feedforward_dropout = Dropout(dropout, dtype=policy, name="feedforward_dropout")
        self.feedforward_norm = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=policy, name="feedforward_layer_norm"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables for inputs `[b, s, h]`."""
        hidden_dim = input_shape[-1]
        self.output_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="feedforward_output_dense")
        self.attention.build(input_shape)
        self.attention_norm.build(input_shape)
        self.intermediate.build(input_shape)
        self.output_dense.build((*input_shape[:-1], self.intermediate_dim))
        self.feedforward_norm.build(input_shape)

    def call(self, x: Any, padding_mask: Any, training: bool = False) -> Any:
        """Encode `x`, `[b, s, h]`; `padding_mask`, `bool[b, s]`, is true where there is a token."""
        attended = self.attention_dropout(self.attention(x, padding_mask), training=training)
        x = self.attention_norm(x + attended)
        fed = self.feedforward_dropout(self.output_dense(self.intermediate(x)), training=training)
        return self.feedforward_norm(x + fed)


class SelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product attention (A. Vaswani et al. 2017): `[b, s, h]` → `[b, s, h]`.

    Padding is masked by one addition to the scores. Keras selects before the softmax and after it, and its gradient
    selects twice more.

    Args:
        num_heads: attention heads `n`; they divide the hidden size `h` into heads of `d`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, num_heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the variables for inputs `[b, s, h]`."""
        hidden_dim = int(input_shape[-1] or 0)
        head_dim = hidden_dim // self.num_heads
        self.scale = 1 / math.sqrt(head_dim)
        heads = {"output_shape": (None, self.num_heads, head_dim), "bias_axes": "de", "dtype": self.dtype_policy}
        self.query = keras.layers.EinsumDense("abc,cde->abde", name="query", **heads)
        self.key = keras.layers.EinsumDense("abc,cde->abde", name="key", **heads)
        self.value = keras.layers.EinsumDense("abc,cde->abde", name="value", **heads)
        self.attention_output = keras.layers.EinsumDense(
            "abcd,cde->abe", (None, hidden_dim), bias_axes="e", dtype=self.dtype_policy, name="attention_output"
        )
        for projection in (self.query, self.key, self.value):
            projection.build(input_shape)
        self.attention_output.build((*input_shape[:-1], self.num_heads, head_dim))

    def call(self, x: Any, padding_mask: Any) -> Any:
        """Attend from each token of `x`, `[b, s, h]`, to those where `padding_mask`, `bool[b, s]`, is true."""
        query, key, value = self.query(x) * self.scale, self.key(x), self.value(x)  # [b, s, n, d]
        query, key, value = (keras.ops.transpose(part, (0, 2, 1, 3)) for part in (query, key, value))  # [b, n, s, d]
        scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 1, 3, 2)))  # [b, n, s, s]
        absent = 1 - keras.ops.cast(padding_mask[:, None, None, :], scores.dtype)
        weights = keras.ops.softmax(scores + absent * MASKED)
        return self.attention_output(keras.ops.transpose(keras.ops.matmul(weights, value), (0, 2, 1, 3)))


class Dropout(keras.layers.Dropout):
    """Dropout (N. Srivastava et al. 2014) at its rate to the nearest 1/65,536.

    On TensorFlow it draws 16 random bits for a number. Keras makes a float of 32 bits, which takes 20 times as long.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Set a share of `inputs` to 0 and scale the rest, in training."""
        if not training or self.rate == 0 or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training)
        import tensorflow as tf

        seed, size = self.seed_generator.next(), tf.size(inputs)
        pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
        bits = tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size]
        dropped = round(self.rate * 2**16)
        kept = tf.cast(tf.reshape(bits >= dropped - 2**15, tf.shape(inputs)), inputs.dtype)
        return inputs * (kept * (2**16 / (2**16 - dropped)))


class PositionEmbedding(keras.layers.Layer):
    """A learnt vector for each position: `[b, s, h]` → `[s, h]`, the first `s` rows of a table.

    Args:
        length: rows of the table, the longest `s`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, length: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.length = length

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the table for inputs `[b, s, h]`."""
        self.embeddings = self.add_weight(
            shape=(self.length, input_shape[-1]), initializer="glorot_uniform", name="embeddings"
        )

    def call(self, x: Any) -> Any:
        """Return the vectors of the positions that `x` has."""
        return self.embeddings[: keras.ops.shape(x)[1]]


def gelu_tanh(x: Any) -> Any:
    """Approximate x · Φ(x) with tanh (D. Hendrycks, K. Gimpel 2016)."""
    return keras.ops.gelu(x, approximate=True)


def gelu_exact(x: Any) -> Any:
    """Compute x · Φ(x) (D. Hendrycks, K. Gimpel 2016), in bfloat16 through float32.

    TensorFlow's own takes six times as long in bfloat16: its erfc works element by element.
    """
    if keras.backend.backend() == "tensorflow" and keras.backend.standardize_dtype(x.dtype) == "bfloat16":
        return _gelu_through_float32(x)
    return keras.ops.gelu(x, approximate=False)


@keras.ops.custom_gradient
def _gelu_through_float32(x: Any) -> Any:
    wide = keras.ops.cast(x, "float32")

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[0] if upstream is None else upstream
        wide = keras.ops.cast(x, "float32")  # cast again: keeping it would double the memory
        below = 0.5 + 0.5 * keras.ops.erf(wide * math.sqrt(0.5))  # Φ(x)
        density = keras.ops.exp(-0.5 * wide * wide) * (1 / math.sqrt(2 * math.pi))  # φ(x)
        return upstream * keras.ops.cast(below + wide * density, x.dtype)

    half = 0.5 * wide
    return keras.ops.cast(half + half * keras.ops.erf(wide * math.sqrt(0.5)), x.dtype), gradient
