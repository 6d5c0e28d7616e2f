"""What is kept of a training: the best weights, the history, and checkpoints to go on from."""

from __future__ import annotations

import csv
import itertools
import logging
import math
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfsent.console import progress_bar
from tfsent.recipe.schema import TrainConfig
from tfsent.storage import atomic
from tfsent.text.batch_plan import BatchPlan
from tfsent.training.engine import checkpoints
from tfsent.training.engine.checkpoints import Progress, _averages, restore, snapshot
from tfsent.training.engine.devices import Devices
from tfsent.training.engine.guards import Guard
from tfsent.training.engine.interrupts import StopRequest

logger = logging.getLogger(__name__)


class StoppedError(Exception):
    """Leaves `fit` between two steps."""


class CheckpointCallback(keras.callbacks.Callback):
    """Keeps the best weights, the history and checkpoints; stops when it should.

    Args:
        run: where checkpoints and history.csv go.
        config: early stopping, and how often to save.
        plan: gives the steps an epoch.
        progress: changed as training goes on.
        asked: whether a signal asked training to stop.
        resumed: the checkpoint to go on from; `progress` is its.
        identity: kept in every checkpoint, to tell whether a later one may go on from it.
        devices: only the chief writes, and all processes agree at which step to stop.
        report: told epoch and validation accuracy after every epoch; what it raises ends the training.
    """

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        plan: BatchPlan,
        progress: Progress,
        asked: StopRequest,
        resumed: checkpoints.Checkpoint | None = None,
        identity: dict[str, Any] | None = None,
        *,
        devices: Devices,
        report: Callable[[int, float], None] | None = None,
    ):
        super().__init__()
        self.run, self.config, self.plan, self.progress = run, config, plan, progress
        self.asked, self.resumed, self.identity = asked, resumed, identity or {}
        self.devices, self.report = devices, report
        self.best_weights = (
            [resumed.arrays[key] for key in sorted(resumed.arrays) if key.startswith("best/")] if resumed else []
        )
        self.saved = time.monotonic()
        self.raw: list[np.ndarray] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put back what a checkpoint held. Not earlier: the optimiser and the metrics are built by now, and reset."""
        if self.resumed is not None:
            restore(self.model, self.resumed.arrays)
            self.resumed = None
            if self.progress.step == 0:  # the metrics are those of the validation before it
                self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step; save when it is time; stop when that was asked for."""
        self.progress.step += 1
        if self.progress.step == self.plan.steps:  # and after the validation it is saved
            self.progress.logs = {name: float(value) for name, value in (logs or {}).items()}
        elif time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes:
            self.save()
        self.stop_if_asked()

    def on_test_begin(self, logs: Any = None) -> None:
        """Evaluate the average of the weights, where the recipe wants it."""
        self.raw = [keras.ops.convert_to_numpy(variable) for variable, _ in _averages(self.model)]
        self.average(self.model)

    def on_test_end(self, logs: Any = None) -> None:
        """Go on with the weights themselves."""
        for (variable, _), value in zip(_averages(self.model), self.raw, strict=bool(self.raw)):
            variable.assign(value)
        self.raw = []

    def average(self, model: keras.Model) -> None:
        """Put the moving averages in the place of the weights, where the recipe wants them."""
        for variable, mean in _averages(model):
            # A copy: on JAX both would be one array, and the next step gives away that of the weights.
            variable.assign(keras.ops.copy(mean))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Who is asked to stop cannot wait for the end of a validation."""
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Between two steps: write a checkpoint and leave."""
        # A signal may come while the processes agree: what it sets must not be overwritten by what they agreed on.
        if by := self.devices.agree(self.asked.by):
            self.asked.by = by
            self.save()
            raise StoppedError

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare with the best, write the history, save."""
        progress = self.progress
        progress.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        accuracy, loss = (progress.history[-1][name] for name in ("val_accuracy", "val_loss"))
        progress.waited += 1
        # Few reviews often give one accuracy twice: the loss tells then which is the better one.
        if progress.best is None or (accuracy, -loss) > (progress.best, -progress.best_loss):
            progress.best, progress.best_loss, progress.waited = accuracy, loss, 0
            means = {id(variable): mean for variable, mean in _averages(self.model)}
            kept = [means.get(id(weight), weight) for weight in self.model.weights]
            self.best_weights = [keras.ops.convert_to_numpy(weight) for weight in kept]
        progress.epoch, progress.step, progress.logs = epoch + 1, 0, {}
        if self.report is not None:
            self.report(epoch, accuracy)
        if self.devices.is_chief:
            _write_history(self.run / "history.csv", progress.history)
        # After the last epoch, too: the model is still to be written, and whatever ends that must not end the training.
        self.save()
        if not self.is_done():
            self.stop_if_asked()

    def is_done(self) -> bool:
        """Whether all epochs are done, or validation has not got better for as many as the recipe waits."""
        return self.progress.epoch >= self.plan.epochs or self._has_waited()

    def _has_waited(self) -> bool:
        return self.progress.waited >= self.config.early_stopping_patience

    @property
    def best_epoch(self) -> dict[str, float]:
        """What was measured in the epoch whose weights are kept."""
        return self.progress.history[-1 - self.progress.waited]

    def verdict(self) -> str:
        """Which weights are kept, and why no more epochs followed."""
        kept = f"The weights of epoch {self.best_epoch['epoch']:.0f} of {self.plan.epochs} are kept."
        if self.progress.epoch >= self.plan.epochs or not self._has_waited():
            return kept
        return (
            f"Validation got no better for {self.progress.waited} epochs (train.early_stopping_patience), so training "
            f"ends after epoch {self.progress.epoch}. {kept}"
        )

    def has_learnt(self, majority: float) -> bool:
        """Whether there are weights that are better than naming the largest class, whose share is `majority`."""
        return bool(self.best_weights) and (self.progress.best or 0.0) > majority + 1e-6

    def delete_checkpoints(self) -> None:
        """Take the checkpoints away."""
        if self.devices.is_chief:
            shutil.rmtree(self.run / "checkpoints", ignore_errors=True)

    def save(self) -> None:
        """Write a checkpoint."""
        if not self.devices.is_chief:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # within `fit`, Keras on JAX keeps the values to itself
        self.on_test_end()  # should this be in the middle of one
        progress, arrays = self.progress, snapshot(self.model)
        arrays |= {f"best/{i:04d}": weight for i, weight in enumerate(self.best_weights)}
        # A validation counts as a step: what is known after it must not find the place of what was known before.
        step = progress.epoch * (self.plan.steps + 1) + progress.step
        state = {"progress": asdict(progress), "identity": self.identity}
        checkpoints.save(self.run / "checkpoints", step, arrays, state)
        self.saved = time.monotonic()

    def restore_best(self, model: keras.Model) -> None:
        """The weights of the best epoch."""
        for weight, best in zip(model.weights, self.best_weights, strict=bool(self.best_weights)):
            weight.assign(best)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, sorted(history[0], key=lambda name: (name != "epoch", name)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


class ProgressCallback(keras.callbacks.Callback):
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
        self.bar = progress_bar(f"epoch {epoch + 1}/{self.plan.epochs}", self.plan.steps, self.progress.step)
        self.open.enter_context(self.bar)

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
        self.bar.set_postfix_str(" · ".join([*shown, f"{speed:,.0f} tokens/s"] if self.seen else shown), refresh=False)
        self.bar.update(1)

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
        logger.info(
            f"epoch {epoch + 1}/{self.plan.epochs}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
            f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%} "
            f"({_duration(time.monotonic() - self.started)})"
        )
        if self.config.guards:
            self.guard.see_epoch((epoch + 1) * self.plan.steps, logs["val_loss"], logs["val_largest_share"])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
