"""The faster forms, each against the one it stands for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.layers import TransformerEncoder
from scipy.special import ndtr

from tfsent.model import fast_layers


def twins():
    """KerasHub's encoder layer and ours, with the same weights."""
    theirs = TransformerEncoder(
        intermediate_dim=12, num_heads=2, activation=fast_layers.gelu_exact, layer_norm_epsilon=1e-5, dropout=0.0
    )
    ours = fast_layers.TransformerLayer(2, 12, fast_layers.gelu_exact, 1e-5, 0.0, name=theirs.name)
    for layer in (theirs, ours):
        layer.build((None, None, 8))
    random = np.random.default_rng(0)
    values = {weight.path: random.normal(size=weight.shape).astype("float32") for weight in theirs.weights}
    for layer in (theirs, ours):
        for weight in layer.weights:
            weight.assign(values[weight.path])
    return theirs, ours


def test_a_layer_and_its_gradient_are_those_of_keras_hub():
    theirs, ours = twins()
    inputs = tf.constant(np.random.default_rng(1).normal(size=(3, 5, 8)), tf.float32)
    mask = tf.cast([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], tf.bool)
    real = tf.cast(mask, tf.float32)[..., None]  # no later step reads the outputs of padding
    found = []
    for layer in (theirs, ours):
        weights = sorted(layer.trainable_variables, key=lambda weight: weight.path)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, padding_mask=mask) * real
            total = tf.reduce_sum(tf.sin(outputs))
        found.append([outputs, *tape.gradient(total, [inputs, *weights])])
    for expected, received in zip(*found, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_alone_is_no_nan():
    _, layer = twins()
    outputs = layer(np.ones((1, 4, 8), "float32"), padding_mask=np.zeros((1, 4), "bool"))
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_padding_gets_no_attention_in_any_precision(policy):
    layer = fast_layers.TransformerLayer(2, 12, fast_layers.gelu_exact, 1e-5, 0.0, dtype=policy)
    inputs = np.random.default_rng(2).normal(size=(1, 6, 8)).astype("float32")
    mask = np.array([[True, True, True, False, False, False]])
    changed = np.where(mask[..., None], inputs, 50.0).astype("float32")
    first, second = (np.array(layer(x, padding_mask=mask), "float32")[:, :3] for x in (inputs, changed))
    np.testing.assert_array_equal(first, second)


def test_positions_are_the_first_rows_of_the_table():
    layer = fast_layers.PositionEmbedding(7)
    found = layer(np.zeros((2, 3, 4), "float32"))
    np.testing.assert_array_equal(found, layer.embeddings[:3])


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
    layer = fast_layers.Dropout(rate, seed=3)
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
    layer = fast_layers.Dropout(0.3, seed=5)
    inputs, state = np.ones((50, 20), "float32"), layer.seed_generator.state
    before = np.array(state)
    first = np.array(layer(inputs, training=True))
    assert not np.array_equal(state, before)
    state.assign(before)
    np.testing.assert_array_equal(layer(inputs, training=True), first)
