"""Loss, schedule, AdamW and metrics, each against arithmetic done otherwise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from tfsent.data.reviews import Reviews
from tfsent.encoders.loader import load_encoder
from tfsent.errors import ConfigError
from tfsent.model.classifier import build_classifier
from tfsent.model.loss import Accuracy, ClassifierLoss, LargestShare, chance_loss, class_weights
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
    decayed = {v.path for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}
    spared = {v.path for v in model.trainable_variables} - decayed
    assert decayed == {v.path for v in model.trainable_variables if v.name in ("kernel", "embeddings")}
    assert {path.rsplit("/", 1)[1] for path in spared} == {"bias", "gamma", "beta"}
    assert len(spared) > 20


def test_class_weights_balance_or_are_what_the_recipe_says():
    reviews = Reviews(("a",) * 10, np.array([0] * 8 + [1] * 2, np.int32), ("no", "yes"), "made up")
    assert class_weights(None, reviews) is None
    assert class_weights("balanced", reviews) == [10 / 16, 10 / 4]
    balanced = compute_class_weight("balanced", classes=np.array([0, 1]), y=reviews.labels)
    assert class_weights("balanced", reviews) == pytest.approx(balanced.tolist())
    assert class_weights({"yes": 3.0, "no": 1.0}, reviews) == [1.0, 3.0]
    with pytest.raises(ConfigError, match="expected balanced, or a weight for each of no, yes. Received: {'yes': 3.0}"):
        class_weights({"yes": 3.0}, reviews)


def test_a_cosine_falls_slowly_then_fast_then_slowly():
    rates = [float(WarmupDecay(2.0, 2, 10, "cosine")(step)) for step in range(11)]
    assert rates[:2] == pytest.approx([1.0, 2.0])
    expected = [1 + np.cos(np.pi * i / 9) for i in range(1, 10)]
    assert rates[2:] == pytest.approx(expected, abs=1e-6)


def test_the_loss_is_cross_entropy_with_weights_and_smoothing():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 3, 40)
    probabilities = np.exp(log_softmax(logits, axis=1))
    assert float(ClassifierLoss()(labels, logits)) == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    weights = np.array([1.0, 2.0, 5.0])
    weighed = np.mean(weights[labels] * -log_softmax(logits, axis=1)[np.arange(40), labels])
    assert float(ClassifierLoss(class_weights=weights.tolist())(labels, logits)) == pytest.approx(weighed, rel=1e-5)
    peer = tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    assert float(ClassifierLoss(0.2)(labels, logits)) == pytest.approx(float(peer(np.eye(3)[labels], logits)), rel=1e-5)


def test_chance_is_the_best_that_a_constant_can_do():
    """Found by trying: the constants near the best one have a larger loss."""
    counts, weights, smoothing = [70, 20, 10], [1.0, 2.0, 4.0], 0.1
    labels = np.repeat([0, 1, 2], counts)
    loss = ClassifierLoss(smoothing, weights)
    weighed = np.array(counts) * weights
    best = np.log(0.9 * weighed / weighed.sum() + 0.1 / 3).astype(np.float32)
    found = [float(loss(labels, np.tile(best + shift, (100, 1)).astype(np.float32))) for shift in 0.05 * np.eye(3)]
    assert chance_loss(counts, weights, smoothing) == pytest.approx(
        float(loss(labels, np.tile(best, (100, 1)))), rel=1e-5
    )
    assert min(found) > chance_loss(counts, weights, smoothing)
    assert chance_loss([5, 5], None, 0.0) == pytest.approx(np.log(2))


def test_rows_of_padding_count_in_no_metric():
    labels, logits = np.array([0, 1, 1, 0]), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    weights = np.array([1.5, 1.5, 1.5, 0.0], np.float32)
    accuracy, share = Accuracy(), LargestShare(2)
    for metric in (accuracy, share):
        metric.update_state(labels, logits, weights)
        metric.update_state(labels[:1], logits[:1], np.array([1.1], np.float32))
    assert float(accuracy.result()) == pytest.approx(accuracy_score([0, 1, 1, 0], [0, 1, 0, 0]))
    assert float(share.result()) == pytest.approx(3 / 4)


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


def test_lower_layers_move_less_by_the_share_the_recipe_says(tiny_encoder):
    """Adam's first step is the learning rate, whatever the gradient."""
    settings = ["train.layer_decay=0.5", "train.learning_rate=0.01", "train.warmup_fraction=0", "train.weight_decay=0"]
    model = tiny_model(tiny_encoder, *settings)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.train_on_batch(*batch(8))
    moved = {
        path: np.abs(v.numpy() - before[path]).max() for path, v in ((v.path, v) for v in model.trainable_variables)
    }
    for name, depth in (("token_embedding", 3), ("transformer_layer_0", 2), ("transformer_layer_1", 1), ("logits/", 0)):
        largest = max(value for path, value in moved.items() if name in path)
        assert largest == pytest.approx(0.01 * 0.5**depth, rel=0.02), name


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


def test_the_average_of_the_weights_is_kept_beside_them_and_fit_does_not_mix_them(tiny_encoder):
    model = tiny_model(tiny_encoder, "train.ema_momentum=0.5", "train.learning_rate=0.01", "train.warmup_fraction=0")
    kept = []
    for seed in range(3):
        inputs, labels = batch(8, seed)
        model.fit(inputs, labels, batch_size=8, verbose=0)
        kept.append(model.trainable_variables[0].numpy())
    average = model.optimizer._model_variables_moving_average[0].numpy()
    # Weights 0.25, 0.5 and 1 of the three, and nothing of those that training began with.
    np.testing.assert_allclose(average, (kept[0] + 2 * kept[1] + 4 * kept[2]) / 7, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.trainable_variables[0].numpy(), kept[2])
    assert isinstance(model.optimizer, AdamW)


def test_batches_that_only_add_up_gradients_do_not_count_in_the_average_of_the_weights(tiny_encoder):
    settings = ["train.ema_momentum=0.5", "train.learning_rate=0.01", "train.warmup_fraction=0"]
    model = tiny_model(tiny_encoder, *settings, "train.accumulation_steps=2")
    kept = []
    for seed in range(4):
        model.train_on_batch(*batch(8, seed))
        kept.append(model.trainable_variables[0].numpy())
    average = model.optimizer._model_variables_moving_average[0].numpy()
    assert np.abs(kept[3] - kept[1]).max() > 1e-3
    np.testing.assert_allclose(average, (kept[1] + 2 * kept[3]) / 3, rtol=1e-5, atol=1e-6)
