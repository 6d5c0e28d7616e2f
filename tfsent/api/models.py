"""A trained model: its run, and the files exported from it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent import backend
from tfsent.api.answers import evaluate, load
from tfsent.api.inputs import as_words, load_recipe
from tfsent.errors import BudgetError, ConfigError

if TYPE_CHECKING:
    from tfsent.evaluation.metrics import Metrics
    from tfsent.exporting.parity import ParityReport
    from tfsent.inference.predictor import Predictor
    from tfsent.model.decision import Decision
    from tfsent.recipe.schema import Config

TARGETS = ("serving", "mobile")


@dataclass(frozen=True)
class EpochResult:
    """What one epoch of a training measured. Losses are in nats."""

    epoch: int
    """From 1."""
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float
    val_macro_f1: float


class Run:
    """A run directory: the recipe, the trained model, and what came of it.

    Attributes:
        path: the directory.

    Example:
        >>> run = tfsent.Run("runs/quickstart")
        >>> run.evaluate().accuracy
        0.8685
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def config(self) -> Config:
        """The resolved recipe.

        Raises:
            RunError: the directory holds no finished run.
        """
        from tfsent.storage.run_directory import require_run

        return load_recipe(require_run(self.path) / "config.yaml")

    @property
    def history(self) -> list[EpochResult]:
        """One entry an epoch, in order.

        Raises:
            RunError: the directory holds no finished run.
        """
        from tfsent.storage.run_directory import require_run

        with (require_run(self.path) / "history.csv").open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        names = list(EpochResult.__dataclass_fields__)[1:]
        return [EpochResult(int(float(row["epoch"])), *(float(row[name]) for name in names)) for row in rows]

    def evaluate(self, split: str = "test") -> Metrics:
        """Evaluate the model; see `tfsent.evaluate`."""
        return evaluate(self.path, split)

    def export(self, targets: Sequence[str] = TARGETS, overrides: Any = ()) -> ParityReport:
        """Export and verify the model; see `tfsent.export`."""
        return export(self.path, targets, overrides)

    def load(self) -> Predictor:
        """Open the model; see `tfsent.load`."""
        return load(self.path)


def export(run: str | Path, targets: Sequence[str] = TARGETS, overrides: Any = ()) -> ParityReport:
    """Export a run, run each file through its own runtime on held-out reviews, and publish what agrees.

    Args:
        run: the run directory.
        targets: `serving` (a SavedModel that takes raw text), `mobile` (`.tflite` files), or both.
        overrides: keys below `export.` to change for this call, see `train`.

    Returns:
        What each file costs. `RUN/verify.json` keeps it.

    Raises:
        BudgetError: a file strays from the trained model by more than its budget. Nothing was published. The error's
            `report` is what would have been returned.
        ExportError: a file could not be made or run.
        RunError: the directory holds no finished run.
    """
    from tfsent.storage.run_directory import require_run

    words = as_words(overrides)
    if strange := [word for word in words if not word.startswith("export.")]:
        raise ConfigError(f"The model is trained: only keys below export. can still be set. Received: {strange[0]!r}.")
    if unknown := [target for target in targets if target not in TARGETS]:
        raise ConfigError(f"Unknown target {unknown[0]!r}. Expected {' or '.join(TARGETS)}.")
    path = require_run(run)
    config = load_recipe(path / "config.yaml", words).export
    backend.use("tensorflow")
    from tfsent.exporting import publish

    report = publish.export(path, config, [target for target in TARGETS if target in targets])
    if not report.passed:
        faults = [
            f"{parity.artifact}: {fault}"
            for parity in report.artifacts
            if parity.not_chosen is None
            for fault in parity.faults
        ]
        raise BudgetError("Nothing was published.\n  " + "\n  ".join(faults), report)
    return report


def decide(run: str | Path, *, calibrate: bool = False, threshold: str | None = None) -> Decision:
    """Calibrate a trained run, and choose its decision threshold, on its validation reviews.

    The model changes, so what was measured is removed, and what was exported must be exported again.

    Args:
        run: the run directory.
        calibrate: fit a temperature and fold it into the weights, see `train.calibrate`. False leaves it as it is.
        threshold: an aim, see `train.threshold`; `none` answers the most probable class from now on; None keeps the
            aim that the run has.

    Returns:
        How the model now decides.

    Raises:
        ConfigError: no such aim, not two classes, or no threshold reaches the precision. Nothing was changed.
        RunError: the directory holds no finished run, or cannot be written to.

    Example:
        >>> tfsent.decide("runs/mine", calibrate=True, threshold="precision>=0.95").threshold
        0.8125
    """
    from tfsent.storage.run_directory import require_run

    path = require_run(run)
    if threshold not in (None, "none"):
        load_recipe(path / "config.yaml", {"train.threshold": threshold})  # refuses what is no aim
    backend.use("tensorflow")
    from tfsent.evaluation.report.renew import renew
    from tfsent.training.deciding import decide

    found = decide(path, calibrate=calibrate, threshold=threshold)
    renew(path)
    return found


def report_of(path: str | Path) -> Path | None:
    """Return `report.html` of a run; None where the path is none, or nothing was reported yet."""
    from tfsent.storage.run_directory import is_run, require_run

    report = require_run(path) / "report.html" if is_run(Path(path)) else None
    return report if report is not None and report.is_file() else None


def published_folders(run: str | Path, report: ParityReport) -> list[Path]:
    """Return the folders that an export published.

    Args:
        run: that was exported; of several seeds, the folders are in the best one.
        report: of `export`.
    """
    from tfsent.storage.run_directory import require_run

    path = require_run(run)
    return [path / folder for folder in report.published]
