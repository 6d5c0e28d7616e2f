"""What a training step spends most of its time on, in forms that a CPU computes faster than Keras's own.

The mathematics is that of the layers it stands for; what each form gives is in benchmarks/README.md.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras

_MASKED = -3e4  # what a score is lowered by where there is no token: its exponential is 0, and float16 can hold it


def use_fast_attention(layer: Any) -> None:
    """Let a KerasHub `TransformerEncoder` compute its attention and dropout by the functions below.

    Attention weights are not dropped out: on a CPU the random numbers for batch · heads · length² of them cost a tenth
    of a training step.
    """
    attention = layer._self_attention_layer
    attention._compute_attention = partial(fast_attention, attention._inverse_sqrt_key_dim)
    use_fast_dropout(layer._self_attention_dropout)
    use_fast_dropout(layer._feedforward_dropout)


def fast_attention(
    scale: float, query: Any, key: Any, value: Any, attention_mask: Any = None, *unused: Any, **unused_too: Any
) -> Any:
    """Scaled dot-product attention (A. Vaswani et al. 2017), the masked scores lowered by one addition.

    Keras selects twice, before the softmax and after, and its gradient twice more.

    Args:
        scale: of the scores.
        query: `[b, t, heads, d]`.
        key: `[b, s, heads, d]`.
        value: `[b, s, heads, d]`.
        attention_mask: `[b, t or 1, s]`, true (or 1) where there is a token.
        *unused: what Keras passes besides: whether to train, and to return the weights, which nobody asks for.
        **unused_too: likewise.

    Returns:
        `[b, t, heads, d]`, and None in the place of the weights.
    """
    query, key, value = (keras.ops.transpose(x, (0, 2, 1, 3)) for x in (query * scale, key, value))
    scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 1, 3, 2)))
    if attention_mask is not None:
        absent = 1 - keras.ops.cast(attention_mask[:, None], scores.dtype)
        scores = scores + absent * _MASKED
    return keras.ops.transpose(keras.ops.matmul(keras.ops.softmax(scores), value), (0, 2, 1, 3)), None


def gelu_exact(x: Any) -> Any:
    """x · Φ(x) (D. Hendrycks, K. Gimpel 2016), in bfloat16 by way of float32.

    TensorFlow's is six times as slow in bfloat16, which its erfc computes element by element.
    """
    if keras.backend.backend() == "tensorflow" and keras.backend.standardize_dtype(x.dtype) == "bfloat16":
        return _gelu_through_float32(x)
    return keras.ops.gelu(x, approximate=False)


@keras.ops.custom_gradient
def _gelu_through_float32(x: Any) -> Any:
    wide = keras.ops.cast(x, "float32")

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[0] if upstream is None else upstream
        wide = keras.ops.cast(x, "float32")  # again: to keep it till here would take twice the memory
        below = 0.5 + 0.5 * keras.ops.erf(wide * math.sqrt(0.5))
        density = keras.ops.exp(-0.5 * wide * wide) * (1 / math.sqrt(2 * math.pi))
        return upstream * keras.ops.cast(below + wide * density, x.dtype)

    half = 0.5 * wide
    return keras.ops.cast(half + half * keras.ops.erf(wide * math.sqrt(0.5)), x.dtype), gradient


def use_fast_dropout(layer: Any) -> None:
    """Let a Keras `Dropout` draw 16 random bits for a number, where TensorFlow would make a float of 32."""
    if keras.backend.backend() == "tensorflow" and layer.rate > 0:
        layer.call = partial(_drop, layer)


def _drop(layer: Any, inputs: Any, training: bool = False) -> Any:
    """Dropout (N. Srivastava et al. 2014) at the layer's rate, to the nearest 1/65,536."""
    if not training:
        return inputs
    import tensorflow as tf

    seed, size = layer.seed_generator.next(), tf.size(inputs)
    pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
    bits = tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size]
    dropped = round(layer.rate * 2**16)
    kept = tf.cast(tf.reshape(bits >= dropped - 2**15, tf.shape(inputs)), inputs.dtype)
    return inputs * (kept * (2**16 / (2**16 - dropped)))
