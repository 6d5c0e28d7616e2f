"""A student that imitates hidden states: what is added to the loss, and what stays as it is."""

import keras
import numpy as np
import pytest

from tfsent.errors import ConfigError
from tfsent.model.bert import BertEncoder
from tfsent.model.classifier import build_classifier
from tfsent.model.hidden_states import TEACHER, imitating, pair_layers
from tfsent.model.loss import ClassifierLoss
from tfsent.recipe.schema import DistilConfig, ModelConfig
from tfsent.training.engine.model_state import count_parameters, restore, snapshot, weights_of

SIZES = {"vocabulary_size": 30, "num_heads": 2, "intermediate_dim": 16, "max_sequence_length": 12, "dropout": 0.0}


def encoder(layers, hidden=8, **own):
    return BertEncoder(**SIZES, num_layers=layers, hidden_dim=hidden, dtype="float32", **own)


def inputs(rows=4, length=7, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, length + 1, rows)
    mask = np.arange(length) < lengths[:, None]
    token_ids = np.where(mask, rng.integers(1, 30, (rows, length)), 0).astype(np.int32)
    return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}


def pair(pooling="mean", weight=1.0):
    keras.utils.set_random_seed(3)
    config = ModelConfig(pooling=pooling, dropout=0.0, encoder_dropout=0.0)
    student = build_classifier(encoder(2), config, 3)
    teacher = encoder(4, hidden=12, name=TEACHER)
    return student, teacher, imitating(student, config, teacher, (1, 3), weight, pad_id=0)


def states(model, layers, batch):
    outputs = [model.get_layer(f"transformer_layer_{i}").output for i in layers]
    return [np.asarray(state) for state in keras.Model(model.inputs, outputs)(batch)]


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_the_wrapped_model_gives_the_logits_of_the_classifier(pooling):
    student, _, wrapped = pair(pooling)
    np.testing.assert_allclose(wrapped(inputs()), student(inputs()), atol=1e-6)
    assert not wrapped.losses  # nothing is added when it is only asked


def test_the_loss_is_the_mean_squared_difference_over_real_tokens():
    student, teacher, wrapped = pair(weight=3.0)
    batch = inputs()
    batch["token_ids"][3], batch["padding_mask"][3] = 0, np.arange(7) < 1  # a row of padding has one token, [PAD]
    wrapped(batch, training=True)
    bert = next(layer for layer in student.layers if isinstance(layer, BertEncoder))
    ours, theirs = states(bert, [0, 1], batch), states(teacher, [1, 3], batch)
    projections = wrapped.get_layer("imitation").projections
    real = batch["padding_mask"] & (batch["token_ids"][:, :1] != 0)
    expected = np.mean(
        [
            np.mean(((x @ p.kernel.numpy() + p.bias.numpy() - y) ** 2)[real])
            for x, y, p in zip(ours, theirs, projections, strict=True)
        ]
    )
    assert float(wrapped.losses[0]) == pytest.approx(3 * expected, rel=1e-5)


def test_training_makes_the_student_more_like_the_teacher_and_leaves_the_teacher_alone():
    student, teacher, wrapped = pair()
    assert not {id(weight) for weight in teacher.weights} & {id(weight) for weight in wrapped.trainable_variables}
    assert len(wrapped.trainable_variables) == len(student.trainable_variables) + 4  # and the projections
    before = [np.array(weight) for weight in teacher.weights]
    wrapped.compile(keras.optimizers.Adam(1e-2), ClassifierLoss(), jit_compile=False)
    batch, labels = inputs(16), np.arange(16) % 3
    first = wrapped.fit(batch, labels, batch_size=16, verbose=0).history["loss"][0]
    losses = wrapped.fit(batch, labels, batch_size=16, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < first / 2
    for old, new in zip(before, teacher.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    # The validation is that of the labels alone.
    plain = keras.Model(student.inputs, student.outputs[0])
    plain.compile(loss=ClassifierLoss())
    alone = plain.evaluate(batch, labels, verbose=0)
    assert wrapped.evaluate(batch, labels, verbose=0) == pytest.approx(alone, rel=1e-5)


def test_a_checkpoint_holds_the_student_and_the_projections_alone():
    student, _, wrapped = pair()
    wrapped.compile("adam", ClassifierLoss())
    wrapped.optimizer.build(wrapped.trainable_variables)
    projections = 2 * (8 * 12 + 12)
    assert count_parameters(wrapped) == student.count_params() + projections
    assert sum(array.size for array in weights_of(wrapped)) == student.count_params() + projections
    kept = snapshot(wrapped)
    for weight in student.weights:
        weight.assign(np.zeros(weight.shape))
    restore(wrapped, kept)
    np.testing.assert_allclose(wrapped(inputs()), pair()[0](inputs()), atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"), [(3, 6, (1, 3, 5)), (6, 6, (0, 1, 2, 3, 4, 5)), (2, 12, (5, 11)), (4, 6, (0, 2, 3, 5))]
)
def test_layers_are_spread_evenly_and_the_last_is_for_the_last(ours, theirs, pairs):
    assert pair_layers(DistilConfig(), encoder(ours), encoder(theirs)) == pairs


@pytest.mark.parametrize("layers", [(1,), (0, 4), (0, 1, 2)])
def test_layers_that_do_not_fit_are_refused(layers):
    expected = "Expected a layer of the teacher, from 0 to 3, for each layer of the student, which has 2"
    with pytest.raises(ConfigError, match=expected):
        pair_layers(DistilConfig(layers=layers, hidden_weight=1.0), encoder(2), encoder(4))
    assert pair_layers(DistilConfig(layers=(0, 3), hidden_weight=1.0), encoder(2), encoder(4)) == (0, 3)
