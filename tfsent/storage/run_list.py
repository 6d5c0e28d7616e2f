"""All runs below a folder, each in a few figures: what they were trained on, how good they are, what ships."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tfsent.errors import RunError
from tfsent.storage import run_directory
from tfsent.storage.run_directory import REPLACED

WITHIN_A_RUN = ("checkpoints", "export", "heldout", "model", "tensorboard")
"""Folders of a run that hold no other run."""
TARGETS = ("serving", "mobile")
"""Folders below `RUN/export`."""


@dataclass
class RunFigures:
    """One run. What is not there, or damaged, is None."""

    run: str
    """Its directory, relative to the folder that was listed."""
    state: str
    """`finished`; `interrupted`: there is a model, as it was then; `unfinished`: there is none yet."""
    date: str
    """When its model was saved, else its recipe; local time, ISO 8601."""
    encoder: str | None = None
    max_tokens: int | None = None
    training_reviews: int | None = None
    epochs: int | None = None
    """That were trained."""
    validation_accuracy: float | None = None
    """After the best epoch, which validation reviews chose: it flatters."""
    selected_by: str = "accuracy"
    """The validation metric that chose the best epoch."""
    test_accuracy: float | None = None
    test_interval: tuple[float, float] | None = None
    """95%."""
    test_reviews: int | None = None
    calibration_error: float | None = None
    exported: dict[str, bool] = field(default_factory=dict)
    """Whether what was exported for `serving` and for `mobile` ships."""
    damaged: list[str] = field(default_factory=list)
    """Files that cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures ready for JSON."""
        return json.loads(json.dumps(asdict(self)))


def list_runs(folder: str | Path = "runs") -> list[RunFigures]:
    """Read the figures of all runs below a folder, those of single seeds included.

    Args:
        folder: where to look. A run that another one replaces (`RUN.old`) is left out.

    Returns:
        The runs: those with the highest test accuracy first, then those with the highest validation accuracy, then
        the others, the newest first.

    Raises:
        RunError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Expected one with runs in it, or one that is a run.")
    found = sorted((_figures(path, folder) for path in _runs_below(folder)), key=lambda one: one.date, reverse=True)
    return sorted(found, key=lambda one: (-(one.test_accuracy or 0), -(one.validation_accuracy or 0)))


def _runs_below(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        path, is_run = Path(name), "config.yaml" in files
        if REPLACED in files:
            folders.clear()
            continue
        skipped = WITHIN_A_RUN if is_run else ()
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in skipped)
        if is_run:
            yield path


def _figures(run: Path, folder: Path) -> RunFigures:
    model = run / "model" / "model.keras"
    has_model = run_directory.has_model(run)
    state = "unfinished" if not has_model else "finished" if run_directory.is_finished(run) else "interrupted"
    changed = (model if has_model else run / "config.yaml").stat().st_mtime
    date = datetime.fromtimestamp(changed).astimezone().isoformat(timespec="seconds")
    found = RunFigures(run.name if run == folder else str(run.relative_to(folder)), state, date)
    readers: dict[str, Callable[[RunFigures, Path], None]] = {
        "config.yaml": _read_config,
        "data.json": _read_data,
        "history.csv": _read_history,
        "metrics.json": _read_metrics,
        "verify.json": _read_verify,
    }
    for name, read in readers.items():
        if (run / name).exists():
            try:
                read(found, run / name)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, YAMLError, csv.Error):
                found.damaged.append(name)
    return found


def _read_config(found: RunFigures, path: Path) -> None:
    tree = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    found.encoder, found.max_tokens = str(tree["encoder"]), int(tree["text"]["max_tokens"])
    default = "balanced_accuracy" if tree["train"].get("class_weight") == "balanced" else "accuracy"
    found.selected_by = tree["train"].get("select_by") or default


def _read_data(found: RunFigures, path: Path) -> None:
    found.training_reviews = int(_json(path)["splits"]["train"]["reviews"])


def _read_history(found: RunFigures, path: Path) -> None:
    """Read the epochs, and the accuracy of the best one by the metric of the recipe."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(handle)]
    metric = found.selected_by
    sign = -1 if metric == "loss" else 1
    best = max(rows, key=lambda row: (sign * row[f"val_{metric}"], -row["val_loss"]))
    found.epochs, found.validation_accuracy = len(rows), best["val_accuracy"]


def _read_metrics(found: RunFigures, path: Path) -> None:
    tree = _json(path)
    low, high = tree["accuracy_interval"]
    accuracy, interval, reviews = float(tree["accuracy"]), (float(low), float(high)), int(tree["reviews"])
    error = tree.get("calibration_error")
    found.calibration_error = None if error is None else float(error)
    found.test_accuracy, found.test_interval, found.test_reviews = accuracy, interval, reviews


def _read_verify(found: RunFigures, path: Path) -> None:
    """Read what the last export published. A run whose other target was exported before still has its folder."""
    tree = _json(path)
    published = [str(place) for place in tree["published"]]
    for target in TARGETS:
        kinds = [one for one in tree["artifacts"] if one["artifact"].startswith("savedmodel") == (target == "serving")]
        there = (path.parent / "export" / target).is_dir()
        if kinds:
            passed = all(one["passed"] for one in kinds if not one["not_chosen"])
            found.exported[target] = passed and there and any(one.startswith(f"export/{target}") for one in published)
        elif there:
            found.exported[target] = True  # of an earlier export, which publishes only what passed


def _json(path: Path) -> Mapping[str, Any]:
    tree = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise ValueError("no object")
    return tree
