"""Loss, class weights and scores, each against scikit-learn, SciPy or Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from tfsent.errors import ConfigError
from tfsent.model.loss import ClassifierLoss, Scores, class_weights, soften


def test_class_weights_balance_or_are_what_the_recipe_says():
    counts, labels = {"no": 8, "yes": 2}, np.array([0] * 8 + [1] * 2)
    assert class_weights(None, counts) is None
    assert class_weights("balanced", counts) == [10 / 16, 10 / 4]
    balanced = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert class_weights("balanced", counts) == pytest.approx(balanced.tolist())
    assert class_weights({"yes": 3.0, "no": 1.0}, counts) == [1.0, 3.0]
    with pytest.raises(ConfigError, match="expected balanced, or a weight for each of no, yes. Received: {'yes': 3.0}"):
        class_weights({"yes": 3.0}, counts)


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


LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(LABELS, st.integers(1, 7))
@settings(deadline=None, max_examples=60)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_are_those_of_scikit_learn(pairs, size):
    labels, predicted = np.array(pairs).T
    scores = Scores(3)
    for start in range(0, len(labels), size):
        batch = slice(start, start + size)
        scores.update_state(labels[batch], np.eye(3, dtype=np.float32)[predicted[batch]])
    found = {name: float(value) for name, value in scores.result().items()}
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0.0))
    assert found["unpredicted_classes"] == len(set(labels.tolist()) - set(predicted.tolist()))


def test_rows_of_padding_do_not_count():
    labels, logits = np.array([0, 1, 1, 0]), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    scores = Scores(2)
    scores.update_state(labels, logits, np.array([1.5, 1.5, 1.5, 0.0], np.float32))
    scores.update_state(labels[:1], logits[:1], np.array([1.1], np.float32))
    np.testing.assert_array_equal(scores.confusion, [[2, 0], [1, 1]])
    scores.reset_state()
    assert float(scores.result()["accuracy"]) == 0


def test_logs_of_training_have_each_score():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", ClassifierLoss(), weighted_metrics=[Scores(2, name="scores")])
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])
    logs = model.fit(x, y, validation_data=(x, y), verbose=0).history
    names = {"accuracy", "balanced_accuracy", "macro_f1", "unpredicted_classes", "loss"}
    assert set(logs) == names | {f"val_{name}" for name in names}
    assert set(model.evaluate(x, y, return_dict=True, verbose=0)) == names


ROWS = st.integers(1, 12)


@given(ROWS, st.integers(2, 5), st.floats(0.5, 8), st.floats(0, 2), st.floats(0, 2), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_loss_with_a_teacher_is_that_of_the_paper(rows, classes, temperature, label_weight, teacher_weight, seed):
    rng = np.random.default_rng(seed)
    logits, theirs = (rng.normal(0, 3, (rows, classes)).astype(np.float32) for _ in range(2))
    labels = rng.integers(-1, classes, rows)
    named = np.where(labels[:, None] >= 0, np.eye(classes)[labels], 0)
    targets = np.stack([named, soften(softmax(theirs, axis=1), temperature)], axis=1).astype(np.float32)
    loss = ClassifierLoss(
        temperature=temperature, label_weight=label_weight, teacher_weight=teacher_weight, reduction=None
    )
    hard = -(named * log_softmax(logits, axis=1)).sum(1)
    soft = -(softmax(theirs / temperature, axis=1) * log_softmax(logits / temperature, axis=1)).sum(1)
    expected = label_weight * hard + teacher_weight * temperature**2 * soft
    np.testing.assert_allclose(loss(targets, logits), expected, rtol=1e-4, atol=1e-4)


def test_a_validation_compares_with_labels_alone():
    logits = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    with_teacher = ClassifierLoss(temperature=3.0, label_weight=0.1, teacher_weight=0.9)
    assert float(with_teacher(np.arange(8) % 3, logits)) == float(ClassifierLoss()(np.arange(8) % 3, logits))


def test_soft_labels_that_are_sure_are_labels():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 4, 20)
    for loss in (ClassifierLoss(), ClassifierLoss(0.1, [1.0, 2.0, 3.0, 4.0])):
        assert float(loss(np.eye(4, dtype=np.float32)[labels], logits)) == pytest.approx(float(loss(labels, logits)))
    soft = rng.dirichlet(np.ones(4), 20).astype(np.float32)
    peer = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert float(ClassifierLoss()(soft, logits)) == pytest.approx(float(peer(soft, logits)), rel=1e-5)


def test_softening_is_the_softmax_at_a_temperature():
    logits = np.random.default_rng(2).normal(0, 2, (50, 3))
    np.testing.assert_allclose(soften(softmax(logits, axis=1), 1.0), softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(soften(softmax(logits, axis=1), 4.0), softmax(logits / 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(soften(np.array([[1.0, 0.0]], np.float32), 2.0).sum(), 1)  # a table may be sure
    assert soften(np.array([[1.0, 0.0]], np.float32), 2.0)[0, 1] > 0


def test_scores_count_the_most_probable_class_and_no_row_without_a_label():
    scores = Scores(2)
    logits = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
    labels = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0, 0]], np.float32)
    scores.update_state(labels, logits)
    np.testing.assert_array_equal(scores.confusion, [[1, 1], [0, 1]])
    scores.reset_state()
    scores.update_state(np.stack([labels, labels[:, ::-1]], axis=1), logits)
    np.testing.assert_array_equal(scores.confusion, [[1, 1], [0, 1]])


def test_training_with_a_teacher_is_validated_on_labels():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = ClassifierLoss(temperature=2.0, label_weight=0.5, teacher_weight=0.5)
    model.compile("sgd", loss, weighted_metrics=[Scores(2, name="scores")])
    x, y = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], np.array([0, 1, 0, 1])
    targets = np.stack([np.eye(2)[y], np.full((4, 2), 0.5)], axis=1).astype(np.float32)
    targets[3, 0] = 0  # without a label
    logs = model.fit(x, targets, validation_data=(x, y), batch_size=4, verbose=0).history
    probabilities = softmax(model.predict(x, verbose=0), axis=1)
    assert logs["val_loss"][0] == pytest.approx(log_loss(y, probabilities), rel=1e-4)
    assert set(logs) >= {"accuracy", "val_accuracy", "loss"}
