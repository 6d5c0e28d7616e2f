"""What training minimises and measures: cross-entropy, accuracy, class weights. `keras.ops` only."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from tfsent.data.reviews import Reviews
from tfsent.errors import ConfigError


class ClassifierLoss(keras.losses.Loss):
    """Cross-entropy of logits `[b, classes]` and labels `int[b]`, with the weight of a review's class.

    `smoothing` is the share of a label that is spread over all classes (C. Szegedy et al., Rethinking the Inception
    Architecture, 2016).
    """

    def __init__(self, smoothing: float = 0.0, class_weights: list[float] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.smoothing, self.class_weights = smoothing, class_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each row, `float32[b]`."""
        log_probabilities = keras.ops.log_softmax(y_pred)
        named = keras.ops.one_hot(
            keras.ops.cast(y_true, "int32"), y_pred.shape[-1]
        )  # Keras hands labels over as floats
        wanted = named * (1 - self.smoothing) + self.smoothing / y_pred.shape[-1]
        losses = -keras.ops.sum(wanted * log_probabilities, axis=-1)
        if self.class_weights is None:
            return losses
        return losses * keras.ops.sum(named * keras.ops.convert_to_tensor(self.class_weights, "float32"), axis=-1)


def chance_loss(counts: list[int], weights: list[float] | None, smoothing: float) -> float:
    """The loss of the best model that looks at no text: the entropy of the labels, as weights and smoothing make it.

    Args:
        counts: reviews of each class.
        weights: of each class in the loss.
        smoothing: of the labels.
    """
    weighed = np.array(counts) * (np.ones(len(counts)) if weights is None else np.array(weights))
    wanted = (1 - smoothing) * weighed / weighed.sum() + smoothing / len(counts)
    return float(weighed.sum() / sum(counts) * -np.sum(wanted * np.log(np.maximum(wanted, 1e-12))))


class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of the reviews that get their label. A weight of 0 marks a row of padding; all others count alike."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        super().update_state(y_true, y_pred, None if sample_weight is None else keras.ops.sign(sample_weight))


class LargestShare(keras.metrics.Metric):
    """The share of the reviews that the model puts into the class it names most: 1 is a model that names one alone."""

    def __init__(self, classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.classes = classes
        self.counts = self.add_variable((classes,), "zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the classes of a batch."""
        named = keras.ops.one_hot(keras.ops.argmax(y_pred, axis=-1), self.classes)
        weights = keras.ops.ones_like(named[:, 0]) if sample_weight is None else keras.ops.sign(sample_weight)
        self.counts.assign_add(keras.ops.sum(named * keras.ops.reshape(weights, (-1, 1)), axis=0))

    def result(self) -> Any:
        """See the class."""
        return keras.ops.max(self.counts) / keras.ops.maximum(keras.ops.sum(self.counts), 1.0)


def class_weights(config: Literal["balanced"] | dict[str, float] | None, reviews: Reviews) -> list[float] | None:
    """What each class weighs in the loss, in their order.

    `balanced` is scikit-learn's: reviews / (classes · reviews of the class) (G. King, L. Zeng, Logistic Regression in
    Rare Events Data, 2001).

    Raises:
        ConfigError: a weight is for no class, or a class has none.
    """
    if config is None:
        return None
    counts = reviews.class_counts
    if config == "balanced":
        return [len(reviews) / (len(counts) * count) for count in counts.values()]
    if set(config) != set(counts):
        raise ConfigError(
            f"train.class_weight: expected balanced, or a weight for each of {', '.join(counts)}. Received: {config}."
        )
    return [config[name] for name in counts]
