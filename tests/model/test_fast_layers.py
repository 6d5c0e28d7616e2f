"""The faster forms, each against the one it stands for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.layers import TransformerEncoder
from scipy.special import ndtr

from tfsent.model import fast_layers


def twins(dropout=0.0):
    """Two encoder layers with the same weights, the second one hastened."""
    layers = []
    for _ in range(2):
        layer = TransformerEncoder(intermediate_dim=12, num_heads=2, dropout=dropout)
        layer.build((None, None, 8))
        layers.append(layer)
    random = np.random.default_rng(0)
    values = [random.normal(size=weight.shape).astype("float32") for weight in layers[0].weights]
    for layer in layers:
        for weight, value in zip(layer.weights, values, strict=True):
            weight.assign(value)
    fast_layers.use_fast_attention(layers[1])
    return layers


def test_attention_and_its_gradient_are_those_of_keras():
    theirs, ours = twins()
    inputs = tf.constant(np.random.default_rng(1).normal(size=(3, 5, 8)), tf.float32)
    mask = tf.constant([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    # What stands at the places without a token is of no interest: no later step reads it.
    real = tf.cast(mask, tf.float32)[..., None]
    found = []
    for layer in (theirs, ours):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, padding_mask=mask) * real
            total = tf.reduce_sum(tf.sin(outputs))
        found.append([outputs, *tape.gradient(total, [inputs, *layer.trainable_variables])])
    for expected, received in zip(*found, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_a_row_without_any_token_is_no_nan():
    _, layer = twins()
    outputs = layer(np.ones((1, 4, 8), "float32"), padding_mask=np.zeros((1, 4), "int32"))
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_no_attention_goes_to_padding_in_any_precision(policy):
    layer = TransformerEncoder(intermediate_dim=12, num_heads=2, dtype=policy)
    layer.build((None, None, 8))
    fast_layers.use_fast_attention(layer)
    inputs = np.random.default_rng(2).normal(size=(1, 6, 8)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0, 0]])
    changed = np.where(mask[..., None], inputs, 50.0).astype("float32")
    first, second = (np.array(layer(x, padding_mask=mask), "float32")[:, :3] for x in (inputs, changed))
    np.testing.assert_array_equal(first, second)


def test_gelu_in_bfloat16_is_right_to_the_last_bits():
    x = tf.cast(tf.linspace(-8.0, 8.0, 4001), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fast_layers.gelu_exact(x)
    exact = np.array(x, "float64")
    density = np.exp(-(exact**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(np.array(y, "float64"), exact * ndtr(exact), rtol=2**-8, atol=1e-6)
    slope = np.array(tape.gradient(y, x), "float64")
    np.testing.assert_allclose(slope, ndtr(exact) + exact * density, rtol=2**-7, atol=1e-3)


def test_gelu_in_float32_is_keras_own():
    x = np.linspace(-5, 5, 101, dtype="float32")
    np.testing.assert_array_equal(fast_layers.gelu_exact(tf.constant(x)), keras.ops.gelu(x, approximate=False))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    layer = keras.layers.Dropout(rate, seed=3)
    fast_layers.use_fast_dropout(layer)
    inputs = np.ones((101, 103, 7), "float32")  # an odd number of elements
    first, second = (np.array(layer(inputs, training=True)) for _ in range(2))
    for outputs in (first, second):
        assert set(np.unique(outputs)) == {0.0, np.float32(1 / (1 - round(rate * 2**16) / 2**16))}
        # 72,821 draws: the standard error of a share is at most 0.002.
        assert np.mean(outputs == 0) == pytest.approx(rate, abs=0.01)
        assert outputs.mean() == pytest.approx(1, abs=0.02)
        for axis in (0, 1, 2):
            shares = np.mean(outputs == 0, axis=tuple({0, 1, 2} - {axis}))
            assert np.abs(shares - rate).max() < 0.1
    # Two draws have nothing to do with each other.
    assert np.mean((first == 0) & (second == 0)) == pytest.approx(rate**2, abs=0.01)
    np.testing.assert_array_equal(layer(inputs), inputs)


def test_the_state_of_the_random_numbers_decides_what_is_dropped():
    layer = keras.layers.Dropout(0.3, seed=5)
    fast_layers.use_fast_dropout(layer)
    inputs, state = np.ones((50, 20), "float32"), layer.seed_generator.state
    before = np.array(state)
    first = np.array(layer(inputs, training=True))
    assert not np.array_equal(state, before)
    state.assign(before)
    np.testing.assert_array_equal(layer(inputs, training=True), first)
