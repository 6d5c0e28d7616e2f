"""What a person sees of a training, and when it is no use to go on."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import keras

from tfsent.batching import BatchPlan
from tfsent.console import Meter, say
from tfsent.errors import TrainingError

if TYPE_CHECKING:
    from tfsent.fit import Progress


class Watch(keras.callbacks.Callback):
    """Shows loss, accuracy, tokens a second and the time left; stops when the loss is no longer a number."""

    def __init__(self, plan: BatchPlan, progress: Progress):
        super().__init__()
        self.plan, self.progress = plan, progress
        self.real_tokens: list[int] = []
        self.open = ExitStack()
        self.clock: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start a bar."""
        self.real_tokens = [int(self.plan.lengths[rows].sum()) for rows, _ in self.plan.epoch(epoch)]
        self.started, self.seen = time.monotonic(), 0
        self.meter = Meter(f"epoch {epoch + 1}/{self.plan.epochs}", self.plan.steps)
        self.open.enter_context(self.meter)
        self.meter.advance(self.progress.step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar."""
        loss, step = float(logs["loss"]), self.progress.step
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {step + 1}. Usually the learning rate is too high "
                f"(train.learning_rate; try a third of it), or bfloat16 is too coarse (train.precision=float32)."
            )
        if batch == 0:
            # The first step of all traces the graph; its time says nothing of the speed.
            self.clock = time.monotonic()
        else:
            self.seen += self.real_tokens[step]
        speed = self.seen / max(time.monotonic() - (self.clock or 0.0), 1e-9)
        self.meter.advance(1, f"loss {loss:.4f} · accuracy {float(logs['accuracy']):.2%} · {speed:,.0f} tokens/s")

    def on_test_begin(self, logs: Any = None) -> None:
        """The steps of the epoch are done; validation begins."""
        self.close()

    def close(self) -> None:
        """Take the bar down, or the terminal would keep its hidden cursor after an interrupted epoch."""
        self.open.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """One line that stays."""
        say(
            f"epoch {epoch + 1}/{self.plan.epochs}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
            f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%} "
            f"({(time.monotonic() - self.started) / 60:.1f} min)"
        )
