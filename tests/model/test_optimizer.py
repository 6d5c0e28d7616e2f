"""Schedule and AdamW, each against arithmetic done otherwise."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsent.encoders.loader import load_encoder
from tfsent.model.classifier import build_classifier
from tfsent.model.optimizer import AdamW, WarmupDecay, compile_model
from tfsent.recipe.loader import load_config


def test_the_schedule_rises_then_falls_to_nothing():
    schedule = WarmupDecay(1.0, 4, 10)
    rates = [float(schedule(step)) for step in range(10)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == pytest.approx([6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])
    assert float(schedule(10)) == 0.0
    assert [float(WarmupDecay(1.0, 0, 2)(step)) for step in range(2)] == pytest.approx([2 / 3, 1 / 3])


def test_biases_and_layer_norms_do_not_decay_and_all_else_does(tiny_encoder):
    encoder = load_encoder(f"path:{tiny_encoder}")
    config = load_config("smoke", ["model.hidden_units=[4]", "train.weight_decay=0.5"])
    model = build_classifier(encoder.rebuilt(dropout=0.0, dtype="float32"), config.model, 2)
    compile_model(model, config.train, 1)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))
    model.optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    decayed = {v.path for v in model.trainable_variables if float(keras.ops.max(v)) < 1}  # the gradient is 0
    spared = {v.path for v in model.trainable_variables} - decayed
    assert decayed == {v.path for v in model.trainable_variables if v.name in ("kernel", "embeddings")}
    assert {path.rsplit("/", 1)[1] for path in spared} == {"bias", "gamma", "beta"}
    assert len(spared) > 20


def tiny_model(tiny_encoder, *settings):
    config = load_config("smoke", ["train.precision=float32", "model.dropout=0.0", *settings])
    keras.utils.set_random_seed(0)
    model = build_classifier(
        load_encoder(f"path:{tiny_encoder}").rebuilt(dropout=0.0, dtype="float32"), config.model, 2
    )
    compile_model(model, config.train, 10_000)
    return model


def batch(rows, seed=0):
    ids = np.random.default_rng(seed).integers(5, 20, (rows, 6)).astype(np.int32)
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones(ids.shape, bool)}
    return inputs, np.arange(rows, dtype=np.int32) % 2


def test_two_batches_of_half_the_size_make_one_update(tiny_encoder):
    inputs, labels = batch(8)
    # The schedule counts batches: without warm-up and over many steps, both updates have nearly the same rate.
    settings = ["train.warmup_fraction=0", "train.learning_rate=1e-3"]
    whole = tiny_model(tiny_encoder, *settings)
    parts = tiny_model(tiny_encoder, *settings, "train.accumulation_steps=2")
    first = [v.numpy() for v in parts.trainable_variables]
    parts.train_on_batch({name: array[:4] for name, array in inputs.items()}, labels[:4])
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(first, parts.trainable_variables, strict=True))
    parts.train_on_batch({name: array[4:] for name, array in inputs.items()}, labels[4:])
    whole.train_on_batch(inputs, labels)
    for a, b in zip(whole.trainable_variables, parts.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5, err_msg=a.path)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_gradients_are_clipped_by_the_norm_of_the_sum_over_replicas(monkeypatch, scale):
    """Two replicas, each with a part of the gradient: the optimiser sees what one device would see."""
    parts = [scale * np.array([3.0, 0.0], np.float32), scale * np.array([0.0, 4.0], np.float32)]
    total = sum(parts)
    expected = total * min(1.0, 1.0 / np.linalg.norm(total))
    context = SimpleNamespace(num_replicas_in_sync=2, all_reduce=lambda op, grads: [tf.constant(total)])
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)
    seen = []
    monkeypatch.setattr(keras.optimizers.AdamW, "apply", lambda self, grads, variables=None: seen.append(grads))
    for part in parts:
        AdamW(1e-3, global_clipnorm=1.0).apply([tf.constant(part)], [None])
    np.testing.assert_allclose(sum(grads[0].numpy() for grads in seen), expected, rtol=1e-6)


def test_on_one_device_clipping_is_keras_own(monkeypatch):
    seen = []
    monkeypatch.setattr(keras.optimizers.AdamW, "apply", lambda self, grads, variables=None: seen.append(grads))
    grads = [tf.constant([3.0, 4.0])]
    AdamW(1e-3, global_clipnorm=1.0).apply(grads, [None])
    assert seen == [grads]
