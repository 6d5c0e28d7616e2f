"""Trains one recipe with several seeds: how much of a score is chance, and which run is the best.

RUN/recipe.yaml       the recipe; `train.seed` is replaced in each run
    seed-1/, seed-2/  a run per seed
    seeds.json        the scores; `best_run` names the run that `tfsent evaluate RUN` and the others open
"""

from __future__ import annotations

import csv
import logging
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from tfsent.errors import Stopped, TrainingError
from tfsent.recipe.loader import load_config, to_yaml, with_settings
from tfsent.recipe.schema import Config
from tfsent.storage import atomic, run_directory
from tfsent.training.engine.checkpoints import require_same
from tfsent.training.engine.devices import find_devices
from tfsent.training.engine.interrupts import SAME_COMMAND, StopRequest, stop_between_runs
from tfsent.training.finetune import resume, train

logger = logging.getLogger(__name__)

CONTINUE = "Give the same command again, without --overwrite, to continue."


@dataclass(frozen=True)
class SeedRun:
    """A finished training with one seed."""

    seed: int
    run: str
    """Its directory, relative to RUN."""
    score: float
    """The validation value of the selection metric after the best epoch."""
    best_epoch: int
    """Counted from 1."""
    epochs: int


@dataclass(frozen=True)
class FailedSeed:
    """A seed whose training raised a `TrainingError`."""

    seed: int
    why: str


@dataclass(frozen=True)
class SeedsResult:
    """The scores of several seeds, as in `RUN/seeds.json`."""

    metric: str
    """The recipe's selection metric, such as `accuracy`."""
    seeds: tuple[SeedRun, ...]
    failed: tuple[FailedSeed, ...]
    mean: float
    standard_deviation: float | None
    """Of the sample; None when only one seed finished."""
    best_run: str
    """The directory of the best run, relative to RUN."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return asdict(self)


def train_seeds(
    config: Config,
    run: Path,
    seeds: Sequence[int],
    *,
    overwrite: bool = False,
    stop_request: StopRequest | None = None,
) -> SeedsResult:
    """Train a recipe once per seed and name the best run by validation.

    Calling this again continues: finished seeds are kept and unfinished ones are resumed. A seed whose training fails
    is reported, and the other seeds are still trained.

    Args:
        config: the recipe; `train.seed` is replaced.
        run: the directory of all runs.
        seeds: at least two, all different.
        overwrite: train every seed anew. What is at `run` moves to `RUN.old`, which is removed at the end.
        stop_request: see `tfsent.training.finetune.train`.

    Raises:
        Interrupted: the user pressed Ctrl-C; the same call continues.
        Preempted: SIGTERM came; the same call continues.
        RunError: a single run is at `run`, its seeds belong to another recipe, or another process uses it.
        TrainingError: training failed with every seed.

    Example:
        >>> result = train_seeds(load_config("quickstart"), Path("runs/quickstart"), [1, 2, 3])
        >>> result.mean, result.best_run
        (0.8913, "seed-2")
    """
    find_devices(config.train)  # missing devices are reported before anything is written
    finished, failed = [], []
    hint = CONTINUE if overwrite else SAME_COMMAND
    with _folder(config, run, overwrite), stop_between_runs("Training", stop_request, hint=hint) as stop_request:
        for number, seed in enumerate(seeds, 1):
            stop_request.raise_if_any("Training")
            logger.info(f"Seed {seed} ({number} of {len(seeds)})")
            folder = run / f"seed-{seed}"
            try:
                _train_one(with_settings(config, {"train.seed": seed}), folder, stop_request)
                finished.append(_score(seed, folder, config.train.selection_metric))
            except TrainingError as error:
                logger.warning(f"Seed {seed} failed: {error}")
                failed.append(FailedSeed(seed, str(error)))
            keras.backend.clear_session()
        if not finished:
            raise TrainingError(f"Training failed with every seed. Seed {seeds[0]}: {failed[0].why}")
        result = _summary(config.train.selection_metric, finished, failed)
        atomic.write_json(run / "seeds.json", result.to_dict())
    run_directory.remove_old(run)
    return result


@contextmanager
def _folder(config: Config, run: Path, overwrite: bool) -> Iterator[None]:
    """Create or reopen the directory of all runs, for this process alone; remove it when an error leaves it empty."""
    if overwrite or not run_directory.holds_seeds(run):
        run_directory.require_free(run, overwrite)
        run_directory.set_aside(run)
        atomic.write_json(run / "seeds.json", {"best_run": None})
    with atomic.in_use(run):
        recipe = with_settings(config, {"train.seed": 0})
        if (run / "recipe.yaml").is_file():
            require_same(
                load_config(run / "recipe.yaml").model_dump(mode="json"),
                recipe.model_dump(mode="json"),
                f"The recipe of {run}",
                "pass --overwrite to train every seed anew, or choose another --run-dir",
            )
        else:
            atomic.write_text(run / "recipe.yaml", to_yaml(recipe))
        try:
            yield
        except Stopped:
            raise
        except Exception:
            if not any(run_directory.has_checkpoint(one) or run_directory.has_model(one) for one in run.glob("seed-*")):
                run_directory.put_back(run)
            raise


def _train_one(config: Config, run: Path, stop_request: StopRequest) -> None:
    if (run / "config.yaml").is_file():
        resume(run, config, stop_request=stop_request)
        return
    shutil.rmtree(run, ignore_errors=True)  # its process was killed before it had written anything
    train(config, run, stop_request=stop_request)


def _score(seed: int, run: Path, metric: str) -> SeedRun:
    """Read the best epoch from the history; of equal scores the one with the lower loss, as training chooses it."""
    with (run / "history.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    sign = -1 if metric == "loss" else 1
    ranks = [(sign * float(row[f"val_{metric}"]), -float(row["val_loss"])) for row in rows]
    best = max(range(len(rows)), key=ranks.__getitem__)
    return SeedRun(seed, run.name, float(rows[best][f"val_{metric}"]), best + 1, len(rows))


def _summary(metric: str, finished: list[SeedRun], failed: list[FailedSeed]) -> SeedsResult:
    scores = [seed.score for seed in finished]
    best = (min if metric == "loss" else max)(finished, key=lambda seed: seed.score)
    return SeedsResult(
        metric=metric,
        seeds=tuple(finished),
        failed=tuple(failed),
        mean=statistics.mean(scores),
        standard_deviation=statistics.stdev(scores) if len(scores) > 1 else None,
        best_run=best.run,
    )
