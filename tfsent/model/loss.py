"""What training minimises and measures. `keras.ops` only, so it runs on every Keras backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from tfsent.errors import ConfigError


class ClassifierLoss(keras.losses.Loss):
    """Cross-entropy in nats of logits `[b, classes]` and targets.

    Targets are labels, `int[b]`; soft labels, `float[b, classes]`; or, with a teacher, both in `float[b, 2, classes]`:
    the label as a distribution (zeros where there is none), then the teacher's probabilities, see `soften`.

    The loss of a label q is `-(Σ_k q_k · w_k) · Σ_k q'_k · log p_k`, where p is the softmax of the logits, and `q' =
    (1 - s) · q + s / classes` (C. Szegedy et al., Rethinking the Inception Architecture, 2016). With a teacher it has a
    weight, and `teacher_weight · T² · -Σ_k t_k · log p_k(T)` is added, where t are the teacher's probabilities and p(T)
    is the softmax of the logits divided by T (G. Hinton et al., Distilling the Knowledge in a Neural Network, 2015).

    Args:
        smoothing: the share s of a label that is spread over all classes.
        class_weights: w, a weight for each class; None for 1.
        temperature: T.
        label_weight: the weight of the labels' loss where there is a teacher.
        teacher_weight: see above.
        **kwargs: of `keras.losses.Loss`.
    """

    def __init__(
        self,
        smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        *,
        temperature: float = 1.0,
        label_weight: float = 1.0,
        teacher_weight: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.smoothing, self.class_weights = smoothing, class_weights
        self.temperature, self.label_weight, self.teacher_weight = temperature, label_weight, teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, `float32[b]`."""
        labels = label_distribution(y_true, y_pred.shape[-1])
        losses = self._of_labels(labels, y_pred)
        if len(y_true.shape) != 3:
            return losses
        taught = -keras.ops.sum(y_true[:, 1] * keras.ops.log_softmax(y_pred / self.temperature), axis=-1)
        return self.label_weight * losses + self.teacher_weight * self.temperature**2 * taught

    def _of_labels(self, labels: Any, logits: Any) -> Any:
        known = keras.ops.sum(labels, axis=-1, keepdims=True)  # 1, or 0 where there is no label
        wanted = labels * (1 - self.smoothing) + known * self.smoothing / logits.shape[-1]
        losses = -keras.ops.sum(wanted * keras.ops.log_softmax(logits), axis=-1)
        if self.class_weights is None:
            return losses
        return losses * keras.ops.sum(labels * keras.ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)


def label_distribution(targets: Any, classes: int) -> Any:
    """Return the labels in targets as distributions, `float32[b, classes]`, zeros where there is none.

    Args:
        targets: `int[b]`, `float[b, classes]` or `float[b, 2, classes]`, see `ClassifierLoss`.
        classes: how many there are.
    """
    if len(targets.shape) == 3:
        return keras.ops.cast(targets[:, 0], "float32")
    if len(targets.shape) == 2 and targets.shape[-1] != 1:
        return keras.ops.cast(targets, "float32")
    # Keras passes labels as floats, and may give them a second axis.
    return keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(targets, (-1,)), "int32"), classes)


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of a teacher's logits divided by a temperature, from the softmax of the logits.

    Args:
        probabilities: `float32[n, classes]`.
        temperature: above 0; the higher, the more even.

    Returns:
        `float32[n, classes]`.
    """
    logits = np.log(np.clip(probabilities, 1e-9, 1.0)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


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
        """Count a batch: targets of `ClassifierLoss`, logits `float[b, classes]`, weights `float[b]`."""
        labels = label_distribution(y_true, self.classes)
        if len(y_true.shape) > 1:  # of a soft label the most probable class; none where there is no label
            known = keras.ops.sign(keras.ops.sum(labels, axis=-1, keepdims=True))
            labels = keras.ops.one_hot(keras.ops.argmax(labels, axis=-1), self.classes) * known
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
    config: Literal["balanced"] | dict[str, float] | None, class_counts: Mapping[str, float]
) -> list[float] | None:
    """Return the weight of each class in the loss, in the order of `class_counts`; None for no weights.

    `balanced` is scikit-learn's: examples / (classes · examples of the class) (G. King, L. Zeng, Logistic Regression in
    Rare Events Data, 2001).

    Args:
        config: `train.class_weight` of the recipe.
        class_counts: training examples of each class, by label; of soft labels their sum.

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
