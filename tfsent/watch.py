"""What a person sees of a training, and when it is no use to go on."""

from __future__ import annotations

import itertools
import math
import time
from contextlib import ExitStack
from typing import Any

import keras

from tfsent.console import Meter, say
from tfsent.errors import TrainingError
from tfsent.keeper import Progress
from tfsent.recipe.schema import TrainConfig
from tfsent.text.batch_plan import BatchPlan

WINDOW = 100
"""Batches over which a guard looks back: fewer are luck."""
ALONE = 0.999
"""From this share of the reviews on, a class stands alone."""
HOPELESS = 5.0
"""Times the loss of a model that looks at no text: no model that is merely too sure of itself has that."""
_CURES = (
    "Usually the learning rate is too high (train.learning_rate; try a third of it) or the warm-up too short "
    "(train.warmup_fraction)"
)


class Guard:
    """Ends a training that explodes, or that learns nothing once the warm-up is over.

    Args:
        chance: `chance_loss` of what is learnt from.
        majority: the share of the largest class among the validation reviews.
        warmup_steps: before these are done, nothing is expected.
        progress: remembers the losses seen, as a training that is resumed must be ended where it would have been.
    """

    def __init__(self, chance: float, majority: float, warmup_steps: int, progress: Progress):
        self.chance, self.majority, self.warmup_steps, self.progress = chance, majority, warmup_steps, progress

    def see(self, step: int, loss: float) -> None:
        """Look at the loss of a batch; `step` counts from the start of the training.

        Raises:
            TrainingError: it is no use to go on.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {step}. {_CURES}, or bfloat16 is too coarse (train.precision=float32)."
            )
        losses = self.progress.losses = [*self.progress.losses[1 - WINDOW :], loss]
        if len(losses) < WINDOW:
            return
        mean = sum(losses) / WINDOW
        lowest = self.progress.lowest = min(self.progress.lowest or mean, mean)
        if mean > 0.99 * self.chance and mean > 2 * lowest:
            raise TrainingError(
                f"The loss explodes: {mean:.3f} over the {WINDOW} batches up to step {step}, after {lowest:.3f}; "
                f"a model that looks at no text has {self.chance:.3f}. {_CURES}. If this is what you want: "
                "train.guards=false."
            )
        if step >= self.warmup_steps + 2 * WINDOW and mean > 0.99 * self.chance:
            raise TrainingError(
                f"Nothing is learnt: the loss is {mean:.3f} over the {WINDOW} batches up to step {step}, the warm-up "
                f"long over, and a model that looks at no text has {self.chance:.3f}. Look at the labels first "
                f"(`tfsent data`). {_CURES}, or it is far too low. If this is what you want: train.guards=false."
            )

    def see_epoch(self, step: int, validation_loss: float, largest_share: float) -> None:
        """Look at the validation after an epoch.

        Raises:
            TrainingError: it is no use to go on.
        """
        collapsed = largest_share > ALONE > self.majority and validation_loss > 0.98 * self.chance
        if collapsed and step >= self.warmup_steps + WINDOW:
            raise TrainingError(
                f"The model puts all validation reviews into one class, and {1 - self.majority:.1%} of them belong "
                f"elsewhere; its loss is {validation_loss:.3f}, and that of a model that looks at no text "
                f"{self.chance:.3f}. {_CURES}, or a rare class wants train.class_weight=balanced. If this is what you "
                "want: train.guards=false."
            )

    def see_end(self, best: dict[str, float]) -> None:
        """Look at the best epoch when all is done: fewer batches than a guard wants to see may have come to nothing.

        Args:
            best: `val_loss` and `val_accuracy` of it.

        Raises:
            TrainingError: the loss is that of a training that exploded.
        """
        accuracy, loss = best["val_accuracy"], best["val_loss"]
        exploded = loss > HOPELESS * self.chance
        if not exploded and (accuracy > self.majority + 1e-6 or loss <= 0.98 * self.chance):
            return
        found = (
            f"Nothing was learnt. The best validation accuracy is {accuracy:.2%}, at a loss of {loss:.3f}; a model "
            f"that looks at no text has {self.majority:.2%} and {self.chance:.3f}. {_CURES}, or there are too few "
            "steps (train.epochs)"
        )
        if exploded:
            raise TrainingError(f"{found}. If this is what you want: train.guards=false.")
        say(f"Careful: {found}. Look at the labels, too (`tfsent data`).")


class Watch(keras.callbacks.Callback):
    """Shows loss, accuracy, tokens a second and the time left; asks the guard after every step.

    Args:
        plan: what is trained on.
        progress: where training stands.
        config: the recipe's.
        chance: `chance_loss` of what is learnt from.
        majority: the share of the largest class among the validation reviews.
    """

    def __init__(self, plan: BatchPlan, progress: Progress, config: TrainConfig, chance: float, majority: float):
        super().__init__()
        self.plan, self.progress, self.config = plan, progress, config
        self.guard = Guard(chance, majority, round(plan.steps * plan.epochs * config.warmup_fraction), progress)
        self.real_tokens: list[int] = []
        self.open = ExitStack()
        self.clock: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start a bar."""
        batches = self.plan.epoch(epoch)
        self.real_tokens = [int(self.plan.lengths[rows].sum()) for rows, _ in batches]
        rows = (self.plan.shapes.rows(len(rows), length, self.plan.max_tokens) for rows, length in batches)
        self.rows_so_far = [0, *itertools.accumulate(rows)]
        if self.progress.step == 0:
            self.progress.loss_sum = 0.0
        self.started, self.seen = time.monotonic(), 0
        self.meter = Meter(f"epoch {epoch + 1}/{self.plan.epochs}", self.plan.steps, self.progress.step)
        self.open.enter_context(self.meter)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar."""
        loss, step = float(logs["loss"]), self.progress.step
        self._ask_guard(loss, step)
        if batch == 0:
            # The first step of an epoch may trace the graph: its time says nothing of the speed.
            self.clock = time.monotonic()
        else:
            self.seen += self.real_tokens[step]
        speed = self.seen / max(time.monotonic() - (self.clock or 0.0), 1e-9)
        shown = [f"loss {loss:.4f}", f"accuracy {float(logs['accuracy']):.2%}"]
        self.meter.advance(1, " · ".join([*shown, f"{speed:,.0f} tokens/s"] if self.seen else shown))

    def _ask_guard(self, loss: float, step: int) -> None:
        """Keras gives the mean over the epoch's rows so far; the batch's own is what it adds to the sum."""
        before, so_far = self.progress.loss_sum, loss * self.rows_so_far[step + 1]
        self.progress.loss_sum = so_far
        overall = self.progress.epoch * self.plan.steps + step + 1
        if not math.isfinite(loss):
            self.guard.see(overall, loss)
        if self.config.guards:
            self.guard.see(overall, (so_far - before) / (self.rows_so_far[step + 1] - self.rows_so_far[step]))

    def on_test_begin(self, logs: Any = None) -> None:
        """The steps of the epoch are done; validation begins."""
        self.close()

    def close(self) -> None:
        """Take the bar down, or the terminal would keep its hidden cursor after an interrupted epoch."""
        self.open.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """One line that stays, and a look at the validation."""
        say(
            f"epoch {epoch + 1}/{self.plan.epochs}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
            f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%} "
            f"({_duration(time.monotonic() - self.started)})"
        )
        if self.config.guards:
            self.guard.see_epoch((epoch + 1) * self.plan.steps, logs["val_loss"], logs["val_largest_share"])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
