"""What is minimised, how, and what is measured on the way: loss, schedule, AdamW, metrics. `keras.ops` only.

AdamW (I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2019) without decay on biases and layer norms,
linear warm-up, and linear decay as in BERT (Devlin et al. 2018) or cosine decay (SGDR, same authors, 2017), gradients
clipped by their global norm.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from tfsent.model.loss import Accuracy, ClassifierLoss, LargestShare
from tfsent.recipe.schema import TrainConfig

NO_DECAY = ("bias", "gamma", "beta")
"""Names of the variables that weight decay leaves alone: biases and the layer norms' scale and shift."""


class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to `peak` over `warmup_steps`, then down to 0 at `total_steps`, straight or as a half cosine."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, shape: str = "linear"):
        self.peak, self.warmup_steps, self.total_steps, self.shape = peak, warmup_steps, total_steps, shape

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, counted from 0."""
        done = keras.ops.cast(step, "float32") + 1.0
        up = done / max(self.warmup_steps, 1)
        left = (self.total_steps + 1.0 - done) / max(self.total_steps + 1 - self.warmup_steps, 1)
        down = keras.ops.clip(left, 0.0, 1.0)
        if self.shape == "cosine":
            down = 0.5 - 0.5 * keras.ops.cos(np.pi * down)
        return self.peak * keras.ops.where(done <= self.warmup_steps, up, down)


class AdamW(keras.optimizers.AdamW):
    """Keras's, with a learning rate that may fall from layer to layer, clipping that is right on several devices, and a
    moving average of the weights without those that training began with.

    Args:
        layer_decay: the learning rate of a layer as a share of that of the layer above it (J. Howard, S. Ruder,
            ULMFiT, 2018). The weight decay keeps the full rate.
        **kwargs: of `keras.optimizers.AdamW`.
    """

    def __init__(self, *args: Any, layer_decay: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.layer_decay = layer_decay

    def build(self, variables: list[Any]) -> None:
        """See the class."""
        super().build(variables)
        depths = [_depth(variable.path) for variable in variables]
        top = 1 + max((depth for depth in depths if depth is not None), default=0)
        self._shares = [self.layer_decay ** (top - (top if depth is None else depth)) for depth in depths]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """See the class."""
        super().update_step(gradient, variable, learning_rate * self._shares[self._get_variable_index(variable)])

    def finalize_variable_values(self, var_list: Any) -> None:
        """Nothing: at the end of every `fit` Keras would put the moving averages in the place of the weights, and ours
        is an epoch long. `keeper.Keeper` does it when training ends."""

    def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
        # Keras's average begins with the first weights: a third of it is still theirs after 550 steps at 0.998, more
        # than many a fine-tuning has. With this momentum the average has no bias towards them (section 7.2 of D. P.
        # Kingma, J. Ba, Adam, 2015). And Keras takes it after every batch, those that only add up gradients too.
        done = keras.ops.cast(self.iterations, "float32")
        momentum = self.ema_momentum * (1 - self.ema_momentum**done) / (1 - self.ema_momentum ** (done + 1))
        if batches := self.gradient_accumulation_steps:
            momentum = keras.ops.where((self._iterations + 1) % batches == 0, momentum, 1.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(momentum * average + (1 - momentum) * variable)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        # Under a tf.distribute strategy Keras clips what each replica found by itself, before the sum: the norm of a
        # part is not that of the whole. Here the sum comes first, and what Keras would add up later is ready.
        if self._replicas() > 1:
            import tensorflow as tf

            context = tf.distribute.get_replica_context()
            grads = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(grad) for grad in grads])
        return super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars if self._replicas() > 1 else super()._all_reduce_sum_gradients(grads_and_vars)

    def _replicas(self) -> int:
        strategy = getattr(self, "_distribution_strategy", None)
        return strategy.num_replicas_in_sync if strategy is not None else 1


def _depth(path: str) -> int | None:
    """0 for embeddings, i + 1 for the i-th layer, None above them."""
    if match := re.search(r"transformer_layer_(\d+)/", path):
        return int(match[1]) + 1
    return 0 if re.search(r"(^|/)(token|position|segment)_embedding|(^|/)embeddings_", path) else None


def compile_model(
    model: keras.Model, config: TrainConfig, steps: int, *, weights: list[float] | None = None, jit: bool = False
) -> None:
    """Give the model its optimiser, schedule, loss and metric.

    Args:
        model: gives logits.
        config: the recipe.
        steps: of the whole training.
        weights: of the classes in the loss.
        jit: compile with XLA.
    """
    schedule = WarmupDecay(config.learning_rate, round(steps * config.warmup_fraction), steps, config.schedule)
    optimizer = AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        epsilon=1e-6,
        layer_decay=config.layer_decay,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum or 0.99,
        gradient_accumulation_steps=config.accumulation_steps if config.accumulation_steps > 1 else None,
    )
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    model.compile(
        optimizer,
        loss=ClassifierLoss(config.label_smoothing, weights),
        # Weighted, so that rows of padding do not count.
        weighted_metrics=[
            Accuracy(name="accuracy"),
            LargestShare(model.output_shape[-1], name="largest_share"),
        ],
        jit_compile=jit,
    )
