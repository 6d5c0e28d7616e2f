"""How training minimises the loss: AdamW with linear warm-up and decay.

AdamW (I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2019) does not decay biases and layer norms.
The schedule is BERT's (J. Devlin et al. 2018). Gradients are clipped by their global norm.
"""

from __future__ import annotations

from typing import Any

import keras

from tfsent.model.loss import ClassifierLoss, Scores
from tfsent.recipe.schema import DistilConfig, TrainConfig

NO_DECAY = ("bias", "gamma", "beta")
"""Names of the variables that do not decay: biases, and the scale and shift of layer norms."""


class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0 to `peak` over `warmup_steps`, then falls to 0 at `total_steps`, both linearly.

    Example:
        >>> [float(WarmupDecay(1.0, 2, 4)(step)) for step in range(5)]
        [0.5, 1.0, 0.667, 0.333, 0.0]
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        self.peak, self.warmup_steps, self.total_steps = peak, warmup_steps, total_steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        up = done / max(self.warmup_steps, 1)
        left = (self.total_steps + 1.0 - done) / max(self.total_steps + 1 - self.warmup_steps, 1)
        return self.peak * keras.ops.where(done <= self.warmup_steps, up, keras.ops.clip(left, 0.0, 1.0))


class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW, whose clipping is right on several devices as well.

    Under a tf.distribute strategy Keras clips the gradients of each replica before it adds them up. The norm of a part
    is not the norm of the sum.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the variables; see `keras.optimizers.Optimizer.apply`."""
        if keras.backend.backend() == "tensorflow":
            grads = self._clip_sum(grads)
        super().apply(grads, trainable_variables)

    def _clip_sum(self, grads: Any) -> Any:
        """Add up the gradients of all replicas and clip the sum; return each replica's equal share of it.

        Keras then adds up the shares. It does not clip them again: their norm is below the limit.
        """
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return grads
        dense = [tf.convert_to_tensor(grad) for grad in grads]
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, dense)
        clipped, _ = tf.clip_by_global_norm(total, self.global_clipnorm)
        return [grad / context.num_replicas_in_sync for grad in clipped]


def compile_model(
    model: keras.Model,
    config: TrainConfig,
    steps: int,
    *,
    weights: list[float] | None = None,
    distil: DistilConfig | None = None,
    jit: bool = False,
) -> None:
    """Give a model its optimiser, schedule, loss and metrics.

    Args:
        model: gives logits, `float32[b, classes]`.
        config: section `train` of the recipe.
        steps: of the whole training.
        weights: of the classes in the loss, see `class_weights`.
        distil: section `distil` of the recipe; it matters where the targets have a teacher's probabilities.
        jit: compile the training step with XLA.
    """
    optimizer = AdamW(
        WarmupDecay(config.learning_rate, round(steps * config.warmup_fraction), steps),
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        epsilon=1e-6,
        gradient_accumulation_steps=config.accumulation_steps if config.accumulation_steps > 1 else None,
    )
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    model.compile(
        optimizer,
        loss=ClassifierLoss(config.label_smoothing, weights, **_of_teacher(distil or DistilConfig())),
        weighted_metrics=[Scores(model.output_shape[-1], name="scores")],  # weighted: rows of padding do not count
        jit_compile=jit,
    )


def _of_teacher(config: DistilConfig) -> dict[str, float]:
    return {name: getattr(config, name) for name in ("temperature", "label_weight", "teacher_weight")}
