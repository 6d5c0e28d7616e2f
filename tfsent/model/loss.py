"""What training minimises and measures. `keras.ops` only, so it runs on every Keras backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras

from tfsent.errors import ConfigError


class ClassifierLoss(keras.losses.Loss):
    """Cross-entropy in nats of logits `[b, classes]` and labels `int[b]`, weighted by class.

    The loss of a row with label y is `-w[y] · Σ_k q_k · log p_k`, where p is the softmax of its logits, `q_y = 1 - s +
    s / classes`, and `q_k = s / classes` elsewhere (C. Szegedy et al., Rethinking the Inception Architecture, 2016).

    Args:
        smoothing: the share s of a label that is spread over all classes.
        class_weights: w, a weight for each class; None for 1.
        **kwargs: of `keras.losses.Loss`.
    """

    def __init__(self, smoothing: float = 0.0, class_weights: list[float] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.smoothing, self.class_weights = smoothing, class_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, `float32[b]`."""
        log_probabilities = keras.ops.log_softmax(y_pred)
        labels = keras.ops.cast(y_true, "int32")  # Keras passes labels as floats
        named = keras.ops.one_hot(labels, y_pred.shape[-1])
        wanted = named * (1 - self.smoothing) + self.smoothing / y_pred.shape[-1]
        losses = -keras.ops.sum(wanted * log_probabilities, axis=-1)
        if self.class_weights is None:
            return losses
        return losses * keras.ops.sum(named * keras.ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)


class Scores(keras.metrics.Metric):
    """Accuracy, balanced accuracy and macro F1 from one confusion matrix.

    `result()` is a dict: `accuracy`; `balanced_accuracy`, the mean recall of the classes that have examples;
    `macro_f1`, the mean F1 of those classes and of those that are predicted; and `unpredicted_classes`, the number of
    classes that have examples and are never predicted. scikit-learn defines the first three alike. A row whose weight
    is 0 is padding and does not count. All other rows count once.

    Args:
        classes: how many there are.
        **kwargs: of `keras.metrics.Metric`.
    """

    def __init__(self, classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.classes = classes
        self.confusion = self.add_variable((classes, classes), "zeros", name="confusion")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: labels `int[b]`, logits `float[b, classes]`, weights `float[b]`."""
        labels = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32"), self.classes)
        if sample_weight is not None:
            labels = labels * keras.ops.reshape(keras.ops.sign(sample_weight), (-1, 1))
        predicted = keras.ops.one_hot(keras.ops.argmax(y_pred, axis=-1), self.classes)
        self.confusion.assign_add(keras.ops.matmul(keras.ops.transpose(labels), predicted))

    def result(self) -> dict[str, Any]:
        """Return the scores, each a float32 scalar."""
        confusion = keras.ops.convert_to_tensor(self.confusion)
        right = keras.ops.diagonal(confusion)
        examples, predictions = keras.ops.sum(confusion, axis=1), keras.ops.sum(confusion, axis=0)
        there = keras.ops.sign(examples)  # 1 for a class that has examples
        seen = keras.ops.sign(examples + predictions)
        recall = right / keras.ops.maximum(examples, 1.0)
        f1 = 2 * right / keras.ops.maximum(examples + predictions, 1.0)
        return {
            "accuracy": keras.ops.sum(right) / keras.ops.maximum(keras.ops.sum(confusion), 1.0),
            "balanced_accuracy": keras.ops.sum(recall) / keras.ops.maximum(keras.ops.sum(there), 1.0),
            "macro_f1": keras.ops.sum(f1) / keras.ops.maximum(keras.ops.sum(seen), 1.0),
            "unpredicted_classes": keras.ops.sum(there * (1 - keras.ops.sign(predictions))),
        }


def class_weights(
    config: Literal["balanced"] | dict[str, float] | None, class_counts: Mapping[str, int]
) -> list[float] | None:
    """Return the weight of each class in the loss, in the order of `class_counts`; None for no weights.

    `balanced` is scikit-learn's: examples / (classes · examples of the class) (G. King, L. Zeng, Logistic Regression in
    Rare Events Data, 2001).

    Args:
        config: `train.class_weight` of the recipe.
        class_counts: training examples of each class, by label.

    Raises:
        ConfigError: a weight names no class, or a class has no weight.
    """
    if config is None:
        return None
    if config == "balanced":
        total = sum(class_counts.values())
        return [total / (len(class_counts) * count) for count in class_counts.values()]
    if set(config) != set(class_counts):
        raise ConfigError(
            f"train.class_weight: expected balanced, or a weight for each of {', '.join(class_counts)}. "
            f"Received: {config}."
        )
    return [config[name] for name in class_counts]
