"""What runs beside a training: checkpoints, the best weights and the history; progress for a person.

The two callbacks do not depend on each other's order: each counts its own steps.
"""

from __future__ import annotations

import csv
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfsent.console import progress_bar
from tfsent.recipe.schema import TrainConfig
from tfsent.storage import atomic
from tfsent.text.batch_plan import BatchPlan
from tfsent.training.engine import checkpoints
from tfsent.training.engine.devices import Devices
from tfsent.training.engine.guards import require_finite
from tfsent.training.engine.interrupts import StopRequest
from tfsent.training.engine.model_state import restore, snapshot, weights_of

logger = logging.getLogger(__name__)

Report = Callable[[int, float], None]


@dataclass
class Position:
    """Where training stands."""

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""

    def __call__(self) -> tuple[int, int]:
        """Return epoch and step, as a `BatchLoader` asks for them."""
        return self.epoch, self.step


@dataclass
class BestEpoch:
    """The best epoch so far, by the selection metric; ties are decided by the lower validation loss.

    Args:
        metric: `accuracy`, `balanced_accuracy`, `macro_f1` (higher is better) or `loss` (lower is better).
    """

    metric: str
    history: list[dict[str, float]] = field(default_factory=list)
    """The logs of each epoch."""
    waited: int = 0
    """Epochs since the best one."""
    weights: list[np.ndarray] = field(default_factory=list)

    def add(self, epoch: int, logs: dict[str, float]) -> bool:
        """Append the logs of an epoch, counted from 0; return whether it is the best so far."""
        before = self._score(self.logs) if self.history else None
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        is_best = before is None or self._score(self.history[-1]) > before
        self.waited = 0 if is_best else self.waited + 1
        return is_best

    @property
    def logs(self) -> dict[str, float]:
        """The logs of the best epoch."""
        return self.history[-1 - self.waited]

    @property
    def value(self) -> float:
        """The selection metric of the best epoch."""
        return self.logs[f"val_{self.metric}"]

    def _score(self, logs: dict[str, float]) -> tuple[float, float]:
        value = logs[f"val_{self.metric}"]
        return (-value if self.metric == "loss" else value), -logs["val_loss"]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the weights, ready for JSON."""
        return {"history": self.history, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Take over what `state_dict` returned, and the weights."""
        self.history, self.waited, self.weights = state["history"], state["waited"], weights


class StoppedError(Exception):
    """Leaves Keras's `fit` between two steps."""


class CheckpointCallback(keras.callbacks.Callback):
    """Counts steps, keeps the best weights, writes history.csv and checkpoints, and stops when a signal came.

    Args:
        run: where checkpoints and history.csv go.
        config: section `train` of the recipe.
        plan: gives the steps of an epoch.
        devices: only the chief writes, and all processes agree at which step to stop.
        stop_request: whether a signal asked training to stop.
        identity: kept in every checkpoint, to tell whether a later training may resume from it.
    """

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        plan: BatchPlan,
        devices: Devices,
        stop_request: StopRequest,
        identity: dict[str, Any],
    ):
        super().__init__()
        self.run, self.config, self.plan, self.devices = run, config, plan, devices
        self.stop_request, self.identity = stop_request, identity
        self.position = Position()
        self.best = BestEpoch(config.selection_metric)
        self.report: Report | None = None
        """Told epoch, from 0, and selection metric after every epoch; what it raises ends training."""
        self._to_restore: dict[str, np.ndarray] = {}
        self._epoch_logs: dict[str, float] = {}  # of an epoch whose steps are done and whose validation is not
        self._saved = time.monotonic()

    def resume_from(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Take over the state of a checkpoint. Variables are restored when the next epoch begins."""
        state, arrays = checkpoint.state, dict(checkpoint.arrays)
        best = [arrays.pop(name) for name in sorted(arrays) if name.startswith("best/")]
        self.position.epoch, self.position.step = state["epoch"], state["step"]
        self._epoch_logs = state["epoch_logs"]
        self.best.load_state_dict(state["best"], best)
        self._to_restore = arrays

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restore the variables of a checkpoint. Not earlier: Keras resets the metrics just before."""
        if self._to_restore:
            restore(self.model, self._to_restore)
            self._to_restore = {}
            if self.position.step == 0:  # the metrics in it are of the validation before
                self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step; save when it is time; stop when a signal came."""
        self.position.step += 1
        logs = {name: float(value) for name, value in (logs or {}).items()}
        require_finite(logs["loss"], self.position.epoch * self.plan.steps + self.position.step)
        if self.position.step == self.plan.steps:
            self._epoch_logs = logs  # saved after the validation
        elif time.monotonic() - self._saved >= 60 * self.config.checkpoint_minutes:
            self.save()
        self.stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop during a validation, too."""
        self.stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare with the best epoch, write the history, save."""
        if self.best.add(epoch, logs or {}):
            self.best.weights = weights_of(self.model)
        self.position.epoch, self.position.step, self._epoch_logs = epoch + 1, 0, {}
        if self.report is not None:
            self.report(epoch, self.best.history[-1][f"val_{self.best.metric}"])
        if self.devices.is_chief:
            _write_history(self.run / "history.csv", self.best.history)
        self.save()  # after the last epoch, too: writing the model may still fail
        if not self.is_done():
            self.stop_if_asked()

    def finish_epoch(self, validate: Callable[[], dict[str, float]]) -> None:
        """Validate an epoch whose steps were all done when its checkpoint was written.

        Args:
            validate: evaluates the model, and returns the metrics by name.
        """
        self.on_epoch_begin(self.position.epoch)
        logs = dict(self._epoch_logs)
        found = validate()
        self.on_epoch_end(self.position.epoch, {**logs, **{f"val_{name}": value for name, value in found.items()}})

    def stop_if_asked(self) -> None:
        """Write a checkpoint and leave `fit` when a signal came to any process.

        Raises:
            StoppedError: a signal came.
        """
        if number := self.devices.agree(self.stop_request.signal):
            self.stop_request.signal = number
            self.save()
            raise StoppedError

    def is_done(self) -> bool:
        """Return whether all epochs are done, or validation has not improved for the epochs that the recipe waits."""
        return self.position.epoch >= self.plan.epochs or self._has_waited()

    def _has_waited(self) -> bool:
        return self.best.waited >= self.config.early_stopping_patience

    def summary(self) -> str:
        """Return a sentence that names the epoch whose weights are kept, and why training ended."""
        name = self.best.metric.replace("_", " ")
        shown = f"{self.best.value:.4f}" if self.best.metric == "loss" else f"{self.best.value:.2%}"
        kept = f"Keeping the weights of epoch {self.best.logs['epoch']:.0f} of {self.plan.epochs}"
        kept = f"{kept} (validation {name} {shown})."
        if self.position.epoch >= self.plan.epochs or not self._has_waited():
            return kept
        return (
            f"Validation {name} did not improve for {self.best.waited} epochs (train.early_stopping_patience): "
            f"training ends after epoch {self.position.epoch}. {kept}"
        )

    def save(self) -> None:
        """Write a checkpoint."""
        if not self.devices.is_chief:
            return
        arrays = snapshot(self.model)
        arrays |= {f"best/{i:04d}": weight for i, weight in enumerate(self.best.weights)}
        epoch, step = self.position()
        # A validation counts as a step: the checkpoint after it must not share its name with the one before.
        number = epoch * (self.plan.steps + 1) + step
        state = {
            "epoch": epoch,
            "step": step,
            "epoch_logs": self._epoch_logs,
            "best": self.best.state_dict(),
            "identity": self.identity,
        }
        checkpoints.save(self.run / "checkpoints", number, arrays, state)
        self._saved = time.monotonic()

    def delete_checkpoints(self) -> None:
        """Delete all checkpoints of the run."""
        if self.devices.is_chief:
            shutil.rmtree(self.run / "checkpoints", ignore_errors=True)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with atomic.replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, sorted(history[0], key=lambda name: (name != "epoch", name)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


class ProgressCallback(keras.callbacks.Callback):
    """Shows loss, accuracy, tokens a second and the time left; logs a line after every epoch.

    Args:
        plan: the batches of the training.
        position: where training stands when an epoch begins.
        metric: the selection metric, which the line shows.
    """

    def __init__(self, plan: BatchPlan, position: Position, metric: str):
        super().__init__()
        self.plan, self.position, self.metric = plan, position, metric
        self.open = ExitStack()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open a bar."""
        self.tokens = [int(self.plan.lengths[rows].sum()) for rows, _ in self.plan.epoch(epoch)]
        self.step, self.seen = self.position.step, 0
        self.started = self.clock = time.monotonic()
        self.bar = progress_bar(f"epoch {epoch + 1}/{self.plan.epochs}", self.plan.steps, self.step)
        self.open.enter_context(self.bar)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar."""
        logs = logs or {}
        shown = f"loss {float(logs['loss']):.4f} · accuracy {float(logs['accuracy']):.2%}"
        if batch == 0:
            self.clock = time.monotonic()  # the first step may trace the graph: its time says nothing about the speed
        else:
            self.seen += self.tokens[self.step]
            shown += f" · {self.seen / max(time.monotonic() - self.clock, 1e-9):,.0f} tokens/s"
        self.step += 1
        self.bar.set_postfix_str(shown, refresh=False)
        self.bar.update(1)

    def on_test_begin(self, logs: Any = None) -> None:
        """Close the bar when validation begins."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after an interrupted epoch."""
        self.open.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log a line that stays."""
        logs = logs or {}
        line = (
            f"epoch {epoch + 1}/{self.plan.epochs}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.2%}, "
            f"validation loss {logs['val_loss']:.4f}, validation accuracy {logs['val_accuracy']:.2%}"
        )
        if self.metric not in ("accuracy", "loss"):
            line += f", validation {self.metric.replace('_', ' ')} {logs[f'val_{self.metric}']:.2%}"
        logger.info(f"{line} ({_duration(time.monotonic() - self.started)})")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
