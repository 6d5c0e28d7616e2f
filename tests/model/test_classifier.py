"""The classifier: pooling, padding, classes, precision."""

import keras
import numpy as np
import pytest

from tfsent.encoders.loader import load_encoder
from tfsent.model.classifier import as_float32, build_classifier
from tfsent.recipe.schema import ModelConfig


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return load_encoder(f"path:{tiny_encoder}")


def build(encoder, classes=2, dtype="float32", **config):
    return build_classifier(encoder.rebuilt(dropout=0.1, dtype=dtype), ModelConfig(**config), classes)


def inputs_of(rows, length):
    token_ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
    mask = np.array([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}


ROWS = [[2, 7, 9, 3], [2, 5, 3], [2, 11, 12, 13, 14, 3]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_padding_changes_nothing(encoder, pooling):
    model = build(encoder, pooling=pooling)
    short, long = (model(inputs_of(ROWS, n), training=False).numpy() for n in (6, 30))
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_poolings_are_what_they_say(encoder):
    outputs = encoder.backbone(inputs_of(ROWS, 6))
    sequence = outputs["sequence_output"].numpy()
    expected = {
        "mean": np.stack([sequence[i, : len(row)].mean(axis=0) for i, row in enumerate(ROWS)]),
        "cls": sequence[:, 0],
        "pooler": outputs["pooled_output"].numpy(),
    }
    for pooling, pooled in expected.items():
        model = build(encoder, pooling=pooling)
        kernel, bias = model.get_layer("logits").get_weights()
        np.testing.assert_allclose(model(inputs_of(ROWS, 6)).numpy(), pooled @ kernel + bias, atol=1e-5)


def test_the_mean_of_bfloat16_is_taken_in_float32(encoder):
    """A bfloat16 count or sum stops growing at 256 by ones."""
    model = build_classifier(encoder.rebuilt(dropout=0.0, dtype="mixed_bfloat16"), ModelConfig(), 2)
    pooling = model.get_layer("pooling")
    sequence = np.ones((1, 500, 16), np.float32)
    mean = pooling(keras.ops.cast(sequence, "bfloat16"), mask=np.ones((1, 500), bool))
    assert keras.backend.standardize_dtype(mean.dtype) == "float32"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mean), 1.0)


@pytest.mark.parametrize("classes", [2, 5])
def test_hidden_layers_and_classes(encoder, classes):
    model = build(encoder, classes=classes, hidden_units=(16, 4))
    assert model.output_shape == (None, classes)
    assert model.output.dtype == "float32"
    assert [model.get_layer(f"hidden_{i}").units for i in range(2)] == [16, 4]


def test_dropout_is_on_in_training_only(encoder):
    model = build(encoder, dropout=0.5)
    inputs = inputs_of(ROWS, 6)
    assert np.array_equal(model(inputs, training=False), model(inputs, training=False))
    assert not np.array_equal(model(inputs, training=True), model(inputs, training=True))


def test_the_float32_twin_has_the_weights_and_no_other_precision(encoder):
    mixed = build(encoder, dtype="mixed_bfloat16", hidden_units=(4,))
    twin = as_float32(mixed)
    for a, b in zip(mixed.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert {layer.compute_dtype for layer in twin._flatten_layers()} == {"float32"}
    logits = twin(inputs_of(ROWS, 6)).numpy()
    np.testing.assert_allclose(mixed(inputs_of(ROWS, 6)).numpy(), logits, atol=0.05)


def test_a_saved_model_loads_in_safe_mode_and_answers_the_same(encoder, tmp_path):
    model = build(encoder)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(inputs_of(ROWS, 6)), model(inputs_of(ROWS, 6)))
