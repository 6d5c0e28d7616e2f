"""The files of a run → what a report may say. What is missing or damaged is None, with a sentence that says why."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfsent.errors import ArtifactError, ConfigError, RunError
from tfsent.evaluation.analysis import Analysis, read_analysis
from tfsent.evaluation.report.exported import Exports, read_exports
from tfsent.evaluation.report.formats import without_folders
from tfsent.evaluation.report.measured import Measured, number, read_measured, whole
from tfsent.model.decision import Decision, read_decision
from tfsent.recipe.loader import load_config, to_yaml
from tfsent.recipe.schema import Config
from tfsent.storage import run_directory


@dataclass(frozen=True)
class Split:
    """Reviews of one kind."""

    name: str
    reviews: int
    classes: dict[str, int]
    origin: str
    fingerprint: str


@dataclass(frozen=True)
class Encoder:
    """The pretrained encoder of a run, without the folder it was read from."""

    uri: str
    format: str
    revision: str | None
    files: dict[str, str]
    """SHA-256 by file."""


@dataclass(frozen=True)
class Taught:
    """Whom a run learnt from, beside its labels."""

    teachers: tuple[str, ...]
    """Names, without folders."""
    unlabelled: int
    """Texts without labels that they labelled."""


@dataclass(frozen=True)
class Epoch:
    """A row of `history.csv`."""

    number: int
    values: dict[str, float]
    """By the column's name; what is not a number is left out."""


@dataclass(frozen=True)
class Facts:
    """All that the files of a run say."""

    name: str
    config: Config | None
    config_text: str
    """The recipe, without folders of this machine."""
    environment: dict[str, str]
    splits: tuple[Split, ...]
    encoder: Encoder | None
    taught: Taught | None
    history: tuple[Epoch, ...]
    decision: Decision
    metrics: Measured | None
    """Of the test reviews."""
    validation: Measured | None
    """Of `tfsent evaluate RUN --split validation`."""
    analysis: Analysis | None
    exports: Exports | None
    interrupted: bool
    faults: dict[str, str] = field(default_factory=dict)
    """What is wrong with a file, by its name."""

    @property
    def metric(self) -> str:
        """The validation metric that chose the best epoch."""
        return self.config.train.selection_metric if self.config else "accuracy"

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept, as `training.engine.callbacks` chooses it."""
        sign = -1 if self.metric == "loss" else 1
        key, rows = f"val_{self.metric}", self.history
        ranked = [row for row in rows if key in row.values]
        return max(ranked, key=lambda row: (sign * row.values[key], -row.values.get("val_loss", 0.0)), default=None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        if self.splits:
            return tuple(self.splits[0].classes)
        return tuple(row.name for row in self.metrics.classes) if self.metrics else ()

    def split(self, name: str) -> Split | None:
        """Return a split by its name."""
        return next((split for split in self.splits if split.name == name), None)


def read_facts(run: Path) -> Facts:
    """Read what is in a run directory. Only `config.yaml` must be there, and nothing must be sound.

    Args:
        run: the directory of one finished model.
    """
    faults: dict[str, str] = {}
    data = _json(run, "data.json", faults)
    config, text = _config(run, faults)
    exports = read_exports(_json(run, "verify.json", faults), run)
    splits = _splits(data)
    metrics = read_measured(_json(run, "metrics.json", faults))
    test = next((split for split in splits if split.name == "test"), None)
    if metrics and test and test.fingerprint and metrics.fingerprint and metrics.fingerprint != test.fingerprint:
        faults["metrics.json"] = "metrics.json is of other reviews than this run's test reviews."
    decision = _decision(run, faults)
    if metrics and metrics.threshold != decision.threshold:
        faults["metrics.json"] = "metrics.json is of another threshold than the model has now."
    return Facts(
        name=_name(run),
        config=config,
        config_text=text,
        environment={key: str(value) for key, value in _json(run, "environment.json", faults).items() if value},
        splits=splits,
        encoder=_encoder(data),
        taught=_taught(data),
        history=_history(run, faults),
        decision=decision,
        metrics=metrics,
        validation=read_measured(_json(run, "metrics-validation.json", faults)),
        analysis=_analysis(run, metrics, faults),
        exports=exports,
        interrupted=run_directory.has_checkpoint(run),
        faults=faults,
    )


def _name(run: Path) -> str:
    run = run.resolve()
    return f"{run.parent.name}/{run.name}" if run_directory.holds_seeds(run.parent) else run.name


def _json(run: Path, name: str, faults: dict[str, str]) -> dict[str, Any]:
    """Return a JSON object, empty where there is none."""
    try:
        found = json.loads((run / name).read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        faults[name] = f"{name} cannot be read."
        return {}
    return found


def _config(run: Path, faults: dict[str, str]) -> tuple[Config | None, str]:
    path = run / "config.yaml"
    try:
        config = load_config(str(path))
        return config, to_yaml(Config.model_validate(_hidden(config.model_dump(mode="json"))))
    except (ConfigError, OSError, ValueError):
        faults["config.yaml"] = "config.yaml cannot be read by this version of tfsent."
    try:
        return None, without_folders(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None, ""


def _hidden(tree: Any) -> Any:
    """Return a tree of JSON whose texts name no folder of this machine."""
    if isinstance(tree, dict):
        return {key: _hidden(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_hidden(value) for value in tree]
    return without_folders(tree) if isinstance(tree, str) else tree


def _splits(data: dict[str, Any]) -> tuple[Split, ...]:
    found = data.get("splits")
    rows = found.items() if isinstance(found, dict) else ()
    return tuple(
        Split(
            str(name),
            whole(row.get("reviews")),
            {str(key): whole(value) for key, value in (row.get("classes") or {}).items()},
            without_folders(str(row.get("origin") or "")),
            str(row.get("fingerprint") or ""),
        )
        for name, row in rows
        if isinstance(row, dict)
    )


def _encoder(data: dict[str, Any]) -> Encoder | None:
    found = data.get("encoder")
    if not isinstance(found, dict) or not found.get("uri"):
        return None
    files = found.get("files")
    return Encoder(
        without_folders(str(found["uri"])),
        str(found.get("format") or ""),
        str(found["revision"]) if found.get("revision") else None,
        {str(name): str(value) for name, value in files.items()} if isinstance(files, dict) else {},
    )


def _taught(data: dict[str, Any]) -> Taught | None:
    found = data.get("distil")
    if not isinstance(found, dict):
        return None
    rows, more = found.get("teachers"), found.get("unlabelled")
    named = [str(row.get("path")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    count = whole(more.get("reviews")) if isinstance(more, dict) else 0
    return Taught(tuple(Path(name).name for name in named), count)


def _history(run: Path, faults: dict[str, str]) -> tuple[Epoch, ...]:
    try:
        with (run / "history.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, csv.Error):
        faults["history.csv"] = "history.csv cannot be read."
        return ()
    epochs = []
    for place, row in enumerate(rows, 1):
        values = {str(key): value for key, text in row.items() if (value := _number(text)) is not None}
        epochs.append(Epoch(int(values.pop("epoch", place)), values))
    return tuple(epochs)


def _number(text: Any) -> float | None:
    try:
        return number(float(text))
    except (TypeError, ValueError):
        return None


def _decision(run: Path, faults: dict[str, str]) -> Decision:
    try:
        return read_decision(run / "model")
    except ArtifactError:
        faults["decision.json"] = "model/decision.json cannot be read."
        return Decision()


def _analysis(run: Path, metrics: Measured | None, faults: dict[str, str]) -> Analysis | None:
    if not (run / "analysis.json").is_file():
        return None
    try:
        found = read_analysis(run / "analysis.json")
    except RunError:
        faults["analysis.json"] = "analysis.json cannot be read."
        return None
    if metrics and metrics.fingerprint and found.fingerprint != metrics.fingerprint:
        faults["analysis.json"] = "analysis.json is of other reviews than metrics.json."
        return None
    return found
