"""The loop: a compiled model, data and a plan → a trained model, with checkpoints on the way.

Keras's `fit` runs an epoch at a time, so that an epoch may begin at any step. All that decides what comes next is in
`Progress` and in the model's variables; a checkpoint holds both, and going on from one gives what an uninterrupted
training gives.
"""

from __future__ import annotations

import csv
import io
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsent import checkpoint, runs
from tfsent.batching import BatchPlan
from tfsent.config import TrainConfig
from tfsent.console import say
from tfsent.errors import Preempted, RunError, TrainingError
from tfsent.watch import Watch


@dataclass
class Progress:
    """Where training stands, beside the model's variables."""

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    best: float | None = None
    """The best validation accuracy so far."""
    waited: int = 0
    """Epochs since."""
    logs: dict[str, float] = field(default_factory=dict)
    """Loss and accuracy of an epoch whose steps are done and whose validation is not."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry an epoch."""

    @property
    def remembered(self) -> dict[str, Any]:
        """For a checkpoint's state.json."""
        return asdict(self)


def fit(
    model: keras.Model,
    config: TrainConfig,
    plan: BatchPlan,
    data: tf.data.Dataset,
    validation: tf.data.Dataset,
    run: Path,
    progress: Progress,
    *,
    resumed: checkpoint.Checkpoint | None = None,
    belongs_to: dict[str, Any] | None = None,
    class_weight: dict[int, float] | None = None,
) -> bool:
    """Train from where `progress` stands to the end of the plan, or to where validation no longer gets better.

    Args:
        model: compiled.
        config: early stopping, and how often to save.
        plan: gives the steps an epoch.
        data: on every iteration, the batches from where `progress` stands to the end of its epoch.
        validation: what is evaluated after every epoch.
        run: where checkpoints, history.csv and tensorboard/ go.
        progress: changed as training goes on.
        resumed: the checkpoint to go on from; `progress` is its.
        belongs_to: kept in every checkpoint, to tell whether a later one may go on from it.
        class_weight: by class number.

    Returns:
        Whether the user pressed Ctrl-C.

    Raises:
        TrainingError: the loss is no number, or memory ran out.
        Preempted: SIGTERM came; a checkpoint was written.
        RunError: the disk is full.
    """
    keeper = Keeper(plan, progress, run, config, resumed, belongs_to or {})
    watch = Watch(plan, progress)
    board = keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False)
    with _signals() as asked:
        keeper.asked = asked
        try:
            if resumed is not None:
                _build(model, validation)
            if progress.step == plan.steps:
                keeper.finish_epoch(model, validation)
            while progress.epoch < plan.epochs and not keeper.is_enough():
                model.fit(
                    data,
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1,
                    steps_per_epoch=plan.steps - progress.step,
                    validation_data=validation,
                    class_weight=class_weight,
                    callbacks=[watch, keeper, board],
                    shuffle=False,
                    verbose=0,
                )
        except _StoppedError:
            return _stopped(asked, run)
        except tf.errors.ResourceExhaustedError as error:
            if "No space left" in str(error):
                raise RunError(f"The disk of {run} is full. Free some, or choose another --run-dir.") from error
            raise TrainingError(
                f"The device ran out of memory. Lower train.batch_tokens (now {config.batch_tokens})."
            ) from error
        finally:
            watch.close()
    keeper.restore_best(model)
    return False


def _build(model: keras.Model, validation: tf.data.Dataset) -> None:
    """Make the variables of metrics and optimiser, which Keras does with the first batch: they are to be restored."""
    model.evaluate(validation.take(1), verbose=0)
    model.optimizer.build(model.trainable_variables)


def _stopped(asked: _Asked, run: Path) -> bool:
    if asked.by == signal.SIGTERM:
        raise Preempted(f"SIGTERM came. A checkpoint was written; go on with: tfsent train --resume {run}")
    say("Interrupted: saving what was learnt so far.")
    return True


class Keeper(keras.callbacks.Callback):
    """Keeps the best weights, the history and checkpoints; stops when it should."""

    def __init__(
        self,
        plan: BatchPlan,
        progress: Progress,
        run: Path,
        config: TrainConfig,
        resumed: checkpoint.Checkpoint | None,
        belongs_to: dict[str, Any],
    ):
        super().__init__()
        self.plan, self.progress, self.run, self.config = plan, progress, run, config
        self.resumed, self.belongs_to = resumed, belongs_to
        self.best_weights = _group(resumed.arrays, "best") if resumed else []
        self.asked = _Asked()
        self.saved = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put back what a checkpoint held. Not earlier: the optimiser and the metrics are built by now, and reset."""
        if self.resumed is not None:
            restore(self.model, self.resumed.arrays)
            self.resumed = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step; save when it is time; stop when that was asked for."""
        self.progress.step += 1
        if self.progress.step == self.plan.steps:
            self.progress.logs = {name: float(value) for name, value in (logs or {}).items()}
        if time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes:
            self.save()
        self.stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Who is asked to stop cannot wait for the end of a validation."""
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Between two steps: write a checkpoint and leave."""
        if self.asked.by is not None:
            self.save()
            raise _StoppedError

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare with the best, write the history, save."""
        progress = self.progress
        progress.history.append({"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}})
        accuracy = progress.history[-1]["val_accuracy"]
        progress.waited += 1
        if progress.best is None or accuracy > progress.best:
            progress.best, progress.waited = accuracy, 0
            self.best_weights = [weight.numpy() for weight in self.model.weights]
        progress.epoch, progress.step, progress.logs = epoch + 1, 0, {}
        runs.write_text(self.run / "history.csv", _csv(progress.history))
        if progress.epoch < self.plan.epochs and not self.is_enough():
            self.save()
            self.stop_if_asked()

    def is_enough(self) -> bool:
        """Whether validation has not got better for as many epochs as the recipe waits."""
        return self.progress.waited >= self.config.early_stopping_patience

    def save(self) -> None:
        """Write a checkpoint."""
        progress, arrays = self.progress, snapshot(self.model)
        arrays |= {f"best/{i:04d}": weight for i, weight in enumerate(self.best_weights)}
        step = progress.epoch * self.plan.steps + progress.step
        state = {"progress": progress.remembered, "belongs_to": self.belongs_to}
        checkpoint.save(self.run / "checkpoints", step, arrays, state)
        self.saved = time.monotonic()

    def finish_epoch(self, model: keras.Model, validation: tf.data.Dataset) -> None:
        """Go on from a checkpoint of an epoch's last step: only the validation was missing."""
        self.set_model(model)
        self.on_epoch_begin(self.progress.epoch)
        logs = self.progress.logs
        found = model.evaluate(validation, verbose=0, return_dict=True, callbacks=[self])
        self.on_epoch_end(self.progress.epoch, {**logs, **{f"val_{name}": value for name, value in found.items()}})

    def restore_best(self, model: keras.Model) -> None:
        """The weights of the best epoch."""
        for weight, best in zip(model.weights, self.best_weights, strict=bool(self.best_weights)):
            weight.assign(best)


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Every variable that decides what comes next: weights, random states, optimiser, schedule, metrics."""
    return {name: np.array(variable.numpy(), order="C") for name, variable in _variables(model).items()}


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Put back a snapshot.

    Raises:
        RunError: it is of another model.
    """
    variables = _variables(model)
    if strange := set(variables) ^ {name for name in arrays if not name.startswith("best/")}:
        raise RunError(f"The checkpoint is of another model: {sorted(strange)[0]} is in one of them only.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _variables(model: keras.Model) -> dict[str, Any]:
    groups = {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}
    return {f"{name}/{i:04d}": v for name, variables in groups.items() for i, v in enumerate(variables)}


def _group(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    return [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}/")]


def _csv(history: list[dict[str, float]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, sorted(history[0], key=lambda name: (name != "epoch", name)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return out.getvalue()


class _StoppedError(Exception):
    """Leaves `fit` between two steps."""


@dataclass
class _Asked:
    """Which signal asked training to stop."""

    by: int | None = None


@contextmanager
def _signals() -> Iterator[_Asked]:
    """Ctrl-C and SIGTERM end training after the step at hand; a second Ctrl-C ends the process at once."""
    asked = _Asked()

    def handler(number: int, frame: Any) -> None:
        signal.signal(number, previous[number])
        asked.by = number
        if number == signal.SIGINT:
            say("Finishing this step, then saving. Ctrl-C again quits at once.")
        else:
            say("SIGTERM: finishing this step, then writing a checkpoint.")

    previous: dict[int, Any] = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
